"""Topping the wallet up through an external provider: one charge, credited exactly once, whenever the answer comes."""

import re
from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import Connection

from backend.db import Database
from backend.errors import BackendError, Conflict, NotFound
from backend.kit.clock import Clock
from backend.payments import orders, repository
from backend.payments.capabilities import MATRIX
from backend.payments.port import Provider
from backend.payments.rules import FIRST_QUERY_AFTER, TopUp, TopUpState

TOP_UP_MINOR_MIN = 100
TOP_UP_MINOR_MAX = 50_000
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
) -> TopUp:
    """
    Return the top-up after asking the provider for the money: succeeded, declined, or checking while nobody knows.

    The same request id again returns the same top-up and asks for nothing. One left checking is resolved later by
    `resolve_due`. Nothing is open towards the database while the provider is called.

    :raises TopUpAmountRefused: outside the limits.
    :raises TopUpMethodRefused: if no provider charges with this method.
    :raises RequestIdMalformed: if the request id is not one.
    :raises TopUpDiffers: if the request id stands for something else.
    """
    if not TOP_UP_MINOR_MIN <= amount_minor <= TOP_UP_MINOR_MAX:
        raise TopUpAmountRefused(amount_minor=amount_minor)
    if method not in providers or method not in MATRIX or not MATRIX[method].charge:
        raise TopUpMethodRefused(method=method)
    if not _REQUEST_ID.fullmatch(request_id):
        raise RequestIdMalformed()
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
    with db.write() as conn:
        if not repository.add_top_up(conn, wanted):
            return _same(conn, wanted)
        now = wanted.created_at
        orders.enqueue(
            conn,
            wanted,
            kind="charge",
            operation_id=wanted.top_up_id,
            next_at=now + FIRST_QUERY_AFTER,
            now=now,
            amount_minor=amount_minor,
        )
        repository.set_operation(conn, tenant_id, wanted.top_up_id, sent_at=now)
    answer = providers[method].charge(merchant_id=tenant_id, order_id=wanted.top_up_id, amount_minor=amount_minor)
    with db.write() as conn:
        settled = orders.apply_answer(conn, tenant_id, wanted.top_up_id, answer, asked=False, now=clock())
    assert isinstance(settled, TopUp)
    return settled


def _same(conn: Connection, wanted: TopUp) -> TopUp:
    there = repository.top_up(conn, wanted.tenant_id, wanted.top_up_id)
    assert there is not None
    as_asked = replace(
        there, state=wanted.state, reason="", created_at=wanted.created_at, late_success=wanted.late_success
    )
    if as_asked != wanted:
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
