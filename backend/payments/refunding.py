"""
Giving captured money back, never more than was captured.

From the campus purses at once, to the person's own money first. With a provider the refund is owed at once and given
back through the queue; one the provider refuses stays owed and is a case.
"""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from backend.errors import BackendError, Conflict, NotFound
from backend.ledger import service as ledger
from backend.payments import orders, postings, refund_repository, repository
from backend.payments.authorizing import authorization
from backend.payments.capabilities import WALLET
from backend.payments.outcomes import outcome
from backend.payments.steps import REFUND_SUFFIX
from backend.payments.types import Authorization, Refund, State


class RefundAmountRefused(BackendError):
    """A refund is more than nothing."""

    code = "refund_amount_refused"


class RefundExceedsCapture(Conflict):
    """No more can be given back than was taken and not given back yet."""

    code = "refund_exceeds_capture"


class RefundDiffers(Conflict):
    """This refund id already stands for something else."""

    code = "refund_differs"


def request_refund(
    conn: Connection, *, tenant_id: str, refund_id: str, auth_id: str, amount_minor: int, reason: str, now: datetime
) -> Refund:
    """
    Return a refund of captured money: done at once to the campus purses, requested from a provider.

    The same refund again changes nothing and is returned as it stands.

    :raises AuthorizationUnknown: if there is no such authorization.
    :raises RefundAmountRefused: if the amount is not positive.
    :raises RefundExceedsCapture: if it is above what was captured and not given back yet.
    :raises RefundDiffers: if the id stands for another authorization or amount.
    """
    if amount_minor <= 0:
        raise RefundAmountRefused(amount_minor=amount_minor)
    ledger.lock(conn, tenant_id)
    found = authorization(conn, tenant_id, auth_id)
    there = refund_repository.refund(conn, tenant_id, refund_id)
    if there is not None:
        if (there.auth_id, there.amount_minor) != (auth_id, amount_minor):
            raise RefundDiffers(refund_id=refund_id)
        return there
    left_minor = _left(conn, found)
    if amount_minor > left_minor:
        raise RefundExceedsCapture(auth_id=auth_id, amount_minor=amount_minor, refundable_minor=left_minor)
    new = Refund(
        tenant_id=tenant_id,
        refund_id=refund_id,
        auth_id=auth_id,
        water_session_id=found.water_session_id,
        cardholder_id=found.cardholder_id,
        method=found.method,
        amount_minor=amount_minor,
        state="requested",
        reason=reason[:64],
        created_at=now,
    )
    if found.method == WALLET:
        _to_purses(conn, found, new, now)
        new = replace(new, state="done")
    else:
        postings.owe_refund(conn, found, new, now)
        orders.enqueue(
            conn,
            found,
            kind="refund",
            operation_id=f"{refund_id}{REFUND_SUFFIX}",
            next_at=now,
            now=now,
            amount_minor=amount_minor,
        )
    refund_repository.add_refund(conn, new)
    return new


def _left(conn: Connection, found: Authorization) -> int:
    if found.state is not State.CAPTURED:
        return 0
    spent_minor = outcome(conn, found.tenant_id, found.auth_id).spent_minor  # nothing, if the provider refused to pay
    return max(spent_minor - refund_repository.refunded_minor(conn, found.tenant_id, found.auth_id), 0)


def _to_purses(conn: Connection, found: Authorization, refund: Refund, now: datetime) -> None:
    """Give back in the reverse of the order of spending, so that the person's own money comes back first."""
    shares, rest = [], refund.amount_minor
    for part, refunded_minor in reversed(repository.parts_and_refunds(conn, found.tenant_id, found.auth_id)):
        share = min(part.captured_minor - refunded_minor, rest)
        if share > 0:
            shares.append((part.purse, share))
            repository.set_part(conn, found, part.purse, refunded_minor=refunded_minor + share)
            rest -= share
    assert rest == 0, "what was captured came from its parts"
    postings.refund_purses(conn, found, refund, shares, now)


def refundable_minor(conn: Connection, tenant_id: str, auth_id: str) -> int:
    """
    Return how much of an authorization can still be given back.

    :raises AuthorizationUnknown: if there is none.
    """
    return _left(conn, authorization(conn, tenant_id, auth_id))


class RefundUnknown(NotFound):
    """There is no such refund."""

    code = "refund_unknown"


def refund(conn: Connection, tenant_id: str, refund_id: str) -> Refund:
    """
    Return a refund as it is now.

    :raises RefundUnknown: if there is none.
    """
    found = refund_repository.refund(conn, tenant_id, refund_id)
    if found is None:
        raise RefundUnknown(refund_id=refund_id)
    return found


def refunds(
    conn: Connection,
    tenant_id: str,
    *,
    auth_id: str | None = None,
    cardholder_id: str | None = None,
    limit: int = 50,
) -> list[Refund]:
    """Return refunds, newest first, of one authorization or cardholder if given."""
    return refund_repository.refunds(conn, tenant_id, auth_id=auth_id, cardholder_id=cardholder_id, limit=limit)
