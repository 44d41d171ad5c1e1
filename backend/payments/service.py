"""
The payments' use cases. Authorize, capture and release here; wallets, top-ups and resolving are in their own modules
and offered through this one.

Each function that changes something starts by taking the tenant's ledger lock, so an authorization's state and its
ledger rows always move together and callers never deadlock on it.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from backend.db import Database
from backend.errors import BackendError, Conflict, NotFound
from backend.kit.clock import Clock
from backend.ledger import service as ledger
from backend.ledger.rules import Code, TransferKind
from backend.payments import orders, postings, repository
from backend.payments.capabilities import MATRIX, WALLET
from backend.payments.port import Provider
from backend.payments.resolution import resolve_due
from backend.payments.rules import (
    FIRST_QUERY_AFTER,
    NEVER_SENT_AFTER,
    Authorization,
    Operation,
    State,
    TopUp,
    TopUpState,
)
from backend.payments.top_ups import find_top_up, top_up, top_ups
from backend.payments.wallets import (
    TransferDiffers,
    Wallet,
    credit_wallet,
    record_overrun,
    wallet,
    wallet_entries,
)

__all__ = [
    "Authorization",
    "Operation",
    "State",
    "TopUp",
    "TopUpState",
    "TransferDiffers",
    "Wallet",
    "authorization",
    "capture",
    "credit_wallet",
    "expire_due",
    "find_top_up",
    "late_successes",
    "open_authorization",
    "perform",
    "record_overrun",
    "resolve_due",
    "top_up",
    "top_ups",
    "unknowns",
    "void",
    "wallet",
    "wallet_entries",
]


class MethodUnknown(BackendError):
    """Nobody pays with this method here."""

    code = "method_unknown"


class AuthorizationDiffers(Conflict):
    """This authorization id already stands for something else."""

    code = "authorization_differs"


def open_authorization(
    conn: Connection,
    *,
    tenant_id: str,
    auth_id: str,
    water_session_id: str,
    cardholder_id: str,
    method: str,
    amount_minor: int,
    expires_at: datetime,
    now: datetime,
) -> Authorization:
    """
    Return a new authorization, or the one this id already stands for.

    From the wallet the money is held at once: held, or declined with the reason `insufficient`. With a provider only
    the intent is stored (requested), and `perform` asks. An amount of zero is held without a ledger row.

    :raises MethodUnknown: if the capability matrix has no such method.
    :raises AuthorizationDiffers: if the id stands for another water session, person, method or amount.
    """
    assert amount_minor >= 0
    if method not in MATRIX:
        raise MethodUnknown(method=method)
    ledger.lock(conn, tenant_id)
    opened = Authorization(
        tenant_id=tenant_id,
        auth_id=auth_id,
        water_session_id=water_session_id,
        cardholder_id=cardholder_id,
        method=method,
        amount_minor=amount_minor,
        captured_minor=0,
        state=State.REQUESTED,
        reason="",
        created_at=now,
        expires_at=expires_at,
    )
    if not repository.add_authorization(conn, opened):
        there = authorization(conn, tenant_id, auth_id)
        if _identity(there) != _identity(opened):
            raise AuthorizationDiffers(auth_id=auth_id)
        return there
    if amount_minor == 0:
        return _save(conn, replace(opened, state=State.HELD))
    if method != WALLET:
        intent_due = now + NEVER_SENT_AFTER
        orders.enqueue(
            conn,
            opened,
            kind="authorize",
            operation_id=auth_id,
            next_at=intent_due,
            now=now,
            amount_minor=amount_minor,
        )
        return opened
    result = postings.hold(conn, opened, now)
    if result.stands:
        return _save(conn, replace(opened, state=State.HELD))
    assert result.code is Code.INSUFFICIENT, result
    return _save(conn, replace(opened, state=State.DECLINED, reason="insufficient"))


def _identity(auth: Authorization) -> tuple[str, str, str, int]:
    return auth.water_session_id, auth.cardholder_id, auth.method, auth.amount_minor


def _save(conn: Connection, auth: Authorization) -> Authorization:
    repository.save_authorization(conn, auth)
    return auth


def perform(
    db: Database, providers: Mapping[str, Provider], tenant_id: str, auth_id: str, *, clock: Clock
) -> Authorization:
    """
    Return the authorization after asking its provider: held, declined, or unknown when no answer can be trusted.

    Sends at most once in the authorization's life, whoever calls it how often; no transaction is open meanwhile.

    :raises AuthorizationUnknown: if there is none.
    """
    with db.write() as conn:
        ledger.lock(conn, tenant_id)
        found = authorization(conn, tenant_id, auth_id)
        if found.state is not State.REQUESTED:
            return found
        now = clock()
        _save(conn, replace(found, state=State.UNKNOWN))
        repository.set_operation(conn, tenant_id, auth_id, sent_at=now, next_at=now + FIRST_QUERY_AFTER)
    provider = providers[found.method]
    answer = provider.authorize(merchant_id=tenant_id, order_id=auth_id, amount_minor=found.amount_minor)
    with db.write() as conn:
        settled = orders.apply_answer(conn, tenant_id, auth_id, answer, asked=False, now=clock())
    assert isinstance(settled, Authorization)
    return settled


class AuthorizationNotHeld(Conflict):
    """The authorization holds no money that could be taken."""

    code = "authorization_not_held"


class CaptureExceedsHold(Conflict):
    """More than the hold cannot be taken."""

    code = "capture_exceeds_hold"


class CaptureDiffers(Conflict):
    """The authorization was already captured, otherwise."""

    code = "capture_differs"


def capture(
    conn: Connection, *, tenant_id: str, auth_id: str, capture_id: str, amount_minor: int, now: datetime
) -> Authorization:
    """
    Return the authorization after taking part or all of its hold and releasing the rest.

    The ledger moves at once; a provider is told through the queue. The same capture again changes nothing. Taking
    zero releases the hold and leaves the authorization captured at zero.

    :raises AuthorizationUnknown: if there is none.
    :raises AuthorizationNotHeld: if it is not held: declined, voided, expired or not yet known.
    :raises CaptureExceedsHold: if the amount is above the hold.
    :raises CaptureDiffers: if it was captured by another capture or for another amount.
    """
    assert amount_minor >= 0
    ledger.lock(conn, tenant_id)
    found = authorization(conn, tenant_id, auth_id)
    if found.state is State.CAPTURED:
        if (found.capture_id, found.captured_minor) != (capture_id, amount_minor):
            raise CaptureDiffers(auth_id=auth_id)
        return found
    if found.state is not State.HELD:
        raise AuthorizationNotHeld(auth_id=auth_id, state=found.state.value)
    if amount_minor > found.amount_minor:
        raise CaptureExceedsHold(auth_id=auth_id, held_minor=found.amount_minor, amount_minor=amount_minor)
    if amount_minor > 0:
        results = postings.capture(conn, found, capture_id, amount_minor, now)
        if results[0].code is Code.ALREADY_RESOLVED:
            raise AuthorizationNotHeld(auth_id=auth_id, state="expired")
        assert all(result.stands for result in results), results
        _tell(conn, found, "capture", f"{capture_id}.capture", now, amount_minor)
    else:
        _release(conn, found, TransferKind.VOID, now)
    return _save(
        conn, replace(found, state=State.CAPTURED, capture_id=capture_id, captured_minor=amount_minor, reason="")
    )


def _tell(
    conn: Connection, auth: Authorization, kind: str, operation_id: str, now: datetime, amount_minor: int = 0
) -> None:
    if auth.method != WALLET:
        orders.enqueue(
            conn, auth, kind=kind, operation_id=operation_id, next_at=now, now=now, amount_minor=amount_minor
        )


def _release(conn: Connection, auth: Authorization, kind: TransferKind, now: datetime) -> None:
    if auth.amount_minor == 0:
        return
    result = postings.release(conn, auth, kind, now)
    assert result.stands or result.code is Code.ALREADY_RESOLVED, result
    _tell(conn, auth, "void", f"{auth.auth_id}.void", now)


class AuthorizationCaptured(Conflict):
    """The money was taken already; give it back with a refund."""

    code = "authorization_captured"


def void(conn: Connection, *, tenant_id: str, auth_id: str, now: datetime, reason: str = "voided") -> Authorization:
    """
    Return the authorization after releasing it. One that holds nothing (declined, voided) stays as it is.

    One that is unknown is given up: should the provider have taken the money, it is undone there.

    :raises AuthorizationUnknown: if there is none.
    :raises AuthorizationCaptured: if the money was taken.
    """
    ledger.lock(conn, tenant_id)
    found = authorization(conn, tenant_id, auth_id)
    if found.state is State.CAPTURED:
        raise AuthorizationCaptured(auth_id=auth_id)
    if found.state in (State.DECLINED, State.VOIDED):
        return found
    if found.state is State.HELD:
        _release(conn, found, TransferKind.VOID, now)
    else:
        repository.set_operation(conn, tenant_id, auth_id, status="done", answer="given_up")
    voided = _save(conn, replace(found, state=State.VOIDED, reason=reason))
    if found.state is State.UNKNOWN:
        orders.give_up(conn, voided, now)
    return voided


def expire_due(conn: Connection, tenant_id: str, now: datetime, limit: int) -> list[Authorization]:
    """Return the held authorizations whose time was over, now voided with the reason `expired`; at most `limit`."""
    ledger.lock(conn, tenant_id)
    expired = []
    for found in repository.held_past(conn, tenant_id, now, limit):
        _release(conn, found, TransferKind.EXPIRE, now)
        expired.append(_save(conn, replace(found, state=State.VOIDED, reason="expired")))
    return expired


class AuthorizationUnknown(NotFound):
    """There is no such authorization."""

    code = "authorization_unknown"


def authorization(conn: Connection, tenant_id: str, auth_id: str) -> Authorization:
    """
    Return an authorization as it is now.

    :raises AuthorizationUnknown: if there is none.
    """
    found = repository.authorization(conn, tenant_id, auth_id)
    if found is None:
        raise AuthorizationUnknown(auth_id=auth_id)
    return found


def unknowns(conn: Connection, tenant_id: str) -> list[Operation]:
    """Return what providers were asked and have not settled, refused or never answered, oldest first."""
    return repository.unsettled(conn, tenant_id)


def late_successes(conn: Connection, tenant_id: str) -> int:
    """Return how many orders a provider took after we had given them up; each was undone there."""
    return repository.late_successes(conn, tenant_id)
