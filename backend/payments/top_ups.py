"""Topping the wallet up through an external provider: one charge, credited exactly once, whenever the answer comes."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection

from backend.db import Database
from backend.errors import BackendError, Conflict, NotFound
from backend.kit.clock import Clock
from backend.payments import cases, orders, payers, queue_repository, repository
from backend.payments.capabilities import MATRIX
from backend.payments.port import Payer, Provider
from backend.payments.rules import FIRST_QUERY_AFTER, Source
from backend.payments.turns import in_turn
from backend.payments.types import Authorization, Operation, TopUp, TopUpState

TOP_UP_MINOR_MIN = 100
TOP_UP_MINOR_MAX = 50_000
#: From when on a person looks at a top-up that nobody knows the fate of, if its owner asks for it.
REPORT_AFTER = timedelta(minutes=10)
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


class TopUpAmountRefused(BackendError):
    """A top-up must be between ¥1 and ¥500."""

    code = "top_up_amount_refused"


class TopUpMethodRefused(BackendError):
    """The wallet cannot be topped up with this method."""

    code = "top_up_method_refused"


class TopUpDiffers(Conflict):
    """This request already stands for another amount, method or person."""

    code = "top_up_differs"


class RequestIdMalformed(BackendError):
    """A request id is 8 to 64 letters, digits, hyphens or underscores."""

    code = "request_id_malformed"


def top_up(
    db: Database,
    providers: Mapping[str, Provider],
    tenant_id: str,
    cardholder_id: str,
    method: str,
    amount_minor: int,
    request_id: str,
    clock: Clock,
    payer_code: str = "",
) -> TopUp:
    """
    Return the top-up after asking the provider for the money: succeeded, declined, or checking while nobody knows.

    The same request id again returns the same top-up and asks for nothing. One left checking is resolved later by
    `resolve_due`. Nothing is open towards the database while the provider is called. The payer is who shows the code,
    or whose agreement is kept; with neither it is declined (`payer_unbound`) and nothing is sent.

    :raises TopUpAmountRefused: outside the limits.
    :raises TopUpMethodRefused: if no provider charges with this method.
    :raises RequestIdMalformed: if the request id is not one.
    :raises PayerCodeMalformed: if the code cannot be one of the method's.
    :raises TopUpDiffers: if the request id stands for something else, also OrderNumberTaken: to the provider.
    """
    if not TOP_UP_MINOR_MIN <= amount_minor <= TOP_UP_MINOR_MAX:
        raise TopUpAmountRefused(amount_minor=amount_minor)
    if method not in providers or method not in MATRIX or not MATRIX[method].charge:
        raise TopUpMethodRefused(method=method)
    if not _REQUEST_ID.fullmatch(request_id):
        raise RequestIdMalformed()
    payers.check_code(method, payer_code)
    wanted = TopUp(
        tenant_id=tenant_id,
        top_up_id=f"{orders.TOP_UP_PREFIX}{request_id}",
        cardholder_id=cardholder_id,
        method=method,
        amount_minor=amount_minor,
        state=TopUpState.CHECKING,
        reason="",
        created_at=clock(),
    )

    def settle(conn: Connection) -> Authorization | TopUp:
        return orders.apply_answer(conn, tenant_id, wanted.top_up_id, answer, source=Source.CALL, now=clock())

    made, payer = in_turn(db, tenant_id, lambda conn: _send(conn, wanted, payer_code))
    if payer is None:
        return made
    answer = providers[method].charge(orders.order_of(wanted), payer)
    settled = in_turn(db, tenant_id, settle)
    assert isinstance(settled, TopUp)
    return settled


def _send(conn: Connection, wanted: TopUp, payer_code: str) -> tuple[TopUp, Payer | None]:
    """Return the top-up as stored before it is sent, and who pays; nobody, if it is known already or stays unsent."""
    if not repository.add_top_up(conn, wanted):
        return _same(conn, wanted), None
    now = wanted.created_at
    orders.enqueue(
        conn,
        wanted,
        kind="charge",
        operation_id=wanted.top_up_id,
        next_at=now + FIRST_QUERY_AFTER,
        now=now,
        amount_minor=wanted.amount_minor,
    )
    payer = payers.payer_of(conn, wanted.tenant_id, wanted.cardholder_id, wanted.method, payer_code)
    if payer is None:
        unsent = orders.decline_unsent(conn, wanted, "payer_unbound")
        assert isinstance(unsent, TopUp)
        return unsent, None
    queue_repository.change(conn, wanted.tenant_id, wanted.top_up_id, sent_at=now, asked_at=now)
    return wanted, payer


def _same(conn: Connection, wanted: TopUp) -> TopUp:
    there = repository.top_up(conn, wanted.tenant_id, wanted.top_up_id)
    assert there is not None
    if (there.cardholder_id, there.method, there.amount_minor) != (
        wanted.cardholder_id,
        wanted.method,
        wanted.amount_minor,
    ):
        raise TopUpDiffers(top_up_id=wanted.top_up_id)
    return there


class TopUpUnknown(NotFound):
    """There is no such top-up."""

    code = "top_up_unknown"


def find_top_up(conn: Connection, tenant_id: str, top_up_id: str) -> TopUp:
    """
    Return a top-up as it is now.

    :raises TopUpUnknown: if there is none.
    """
    found = repository.top_up(conn, tenant_id, top_up_id)
    if found is None:
        raise TopUpUnknown(top_up_id=top_up_id)
    return found


def top_ups(conn: Connection, tenant_id: str, cardholder_id: str, limit: int) -> list[TopUp]:
    """Return a cardholder's newest top-ups, newest first."""
    return repository.top_ups_of(conn, tenant_id, cardholder_id, limit)


def question(conn: Connection, tenant_id: str, top_up_id: str) -> Operation | None:
    """Return what is being asked about a top-up: when last, when next, what was answered; None when there is none."""
    return queue_repository.find(conn, tenant_id, top_up_id)


class ReportTooEarly(Conflict):
    """Most answers come by themselves within minutes; after that a person looks."""

    code = "report_too_early"


def report_missing(conn: Connection, tenant_id: str, top_up_id: str, now: datetime) -> cases.Case | None:
    """
    Return the case about a top-up that does not arrive, opened once; None when it was settled meanwhile.

    :raises TopUpUnknown: if there is no such top-up.
    :raises ReportTooEarly: less than `REPORT_AFTER` after it was made.
    """
    found = find_top_up(conn, tenant_id, top_up_id)
    if found.state is not TopUpState.CHECKING:
        return None
    if now - found.created_at < REPORT_AFTER:
        raise ReportTooEarly(top_up_id=top_up_id)
    asked = question(conn, tenant_id, top_up_id)
    evidence = {
        "method": found.method,
        "cardholder_id": found.cardholder_id,
        "number": asked.number if asked is not None else "",
        "answer": asked.answer if asked is not None else "",
        "attempts": asked.attempts if asked is not None else 0,
    }
    return cases.open_case(
        conn,
        tenant_id=tenant_id,
        kind="top_up_missing",
        subject_id=top_up_id,
        amount_minor=found.amount_minor,
        evidence=evidence,
        now=now,
    )
