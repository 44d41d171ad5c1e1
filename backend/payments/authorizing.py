"""
The life of an authorization: open, perform, capture, void, expire.

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
from backend.ledger.rules import TransferKind
from backend.payments import orders, payers, postings, queue_repository, repository
from backend.payments.capabilities import MATRIX, WALLET
from backend.payments.port import Payer, Provider
from backend.payments.rules import FIRST_QUERY_AFTER, NEVER_SENT_AFTER, Source, split_capture, spread
from backend.payments.turns import in_turn
from backend.payments.types import Authorization, State, TopUp
from backend.payments.wallets import purses


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

    From the campus purses the money is held at once: held, or declined with the reason `insufficient`. With a provider
    only the intent is stored (requested), and `perform` asks. An amount of zero is held without a ledger row.

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
    if method == WALLET:
        return _hold_purses(conn, opened, now)
    orders.enqueue(
        conn,
        opened,
        kind="authorize" if MATRIX[method].flow == "provider_hold" else "charge",
        operation_id=auth_id,
        next_at=now + NEVER_SENT_AFTER,
        now=now,
        amount_minor=amount_minor,
    )
    return opened


def _hold_purses(conn: Connection, opened: Authorization, now: datetime) -> Authorization:
    available = {each.purse: each.available_minor for each in purses(conn, opened.tenant_id, opened.cardholder_id)}
    shares = spread(opened.amount_minor, available)
    if shares is None:
        return _save(conn, replace(opened, state=State.DECLINED, reason="insufficient"))
    postings.hold_purses(conn, opened, shares, now)
    repository.add_parts(conn, opened, shares)
    return _save(conn, replace(opened, state=State.HELD))


def _identity(auth: Authorization) -> tuple[str, str, str, int]:
    return auth.water_session_id, auth.cardholder_id, auth.method, auth.amount_minor


def _save(conn: Connection, auth: Authorization) -> Authorization:
    repository.save_authorization(conn, auth)
    return auth


def perform(
    db: Database,
    providers: Mapping[str, Provider],
    tenant_id: str,
    auth_id: str,
    *,
    clock: Clock,
    payer_code: str = "",
) -> Authorization:
    """
    Return the authorization after asking its provider: held, declined, or unknown when no answer can be trusted.

    Sends at most once in the authorization's life, whoever calls it how often; no transaction is open meanwhile. The
    payer is who shows the code, or whose agreement is kept; with neither it is declined (`payer_unbound`) unsent. The
    code is handed on and kept nowhere.

    :raises AuthorizationUnknown: if there is none.
    :raises PayerCodeMalformed: if the code cannot be one of the method's; nothing is sent or changed.
    """

    def send(conn: Connection) -> tuple[Authorization, Payer | None]:
        found = authorization(conn, tenant_id, auth_id)
        if found.state is not State.REQUESTED:
            return found, None
        payers.check_code(found.method, payer_code)
        payer = payers.payer_of(conn, tenant_id, found.cardholder_id, found.method, payer_code)
        if payer is None:
            declined = orders.decline_unsent(conn, found, "payer_unbound")
            assert isinstance(declined, Authorization)
            return declined, None
        now = clock()
        _save(conn, replace(found, state=State.UNKNOWN))
        queue_repository.change(conn, tenant_id, auth_id, sent_at=now, asked_at=now, next_at=now + FIRST_QUERY_AFTER)
        return found, payer

    found, payer = in_turn(db, tenant_id, send)
    if payer is None:
        return found
    provider, order = providers[found.method], orders.order_of(found)
    answer = provider.authorize(order, payer) if order.kind == "hold" else provider.charge(order, payer)

    def settle(conn: Connection) -> Authorization | TopUp:
        return orders.apply_answer(conn, tenant_id, auth_id, answer, source=Source.CALL, now=clock())

    settled = in_turn(db, tenant_id, settle)
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
    conn: Connection,
    *,
    tenant_id: str,
    auth_id: str,
    capture_id: str,
    amount_minor: int,
    now: datetime,
    at: datetime | None = None,
) -> Authorization:
    """
    Return the authorization after taking part or all of its hold and releasing the rest.

    It stands in the books where it happened: `at` (of `rules.happened_at`), or now. The ledger moves at once; a
    provider is told through the queue, which also has it give back the rest of a deposit.
    The same capture again changes nothing. Taking zero releases the hold and leaves the authorization captured at zero.

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
        _take(conn, found, capture_id, amount_minor, now, at)
    else:
        _release(conn, found, TransferKind.VOID, now, at)
    return _save(
        conn, replace(found, state=State.CAPTURED, capture_id=capture_id, captured_minor=amount_minor, reason="")
    )


def _take(
    conn: Connection, found: Authorization, capture_id: str, amount_minor: int, now: datetime, at: datetime | None
) -> None:
    held = repository.parts(conn, found.tenant_id, found.auth_id)
    if not postings.capture(conn, found, held, capture_id, amount_minor, now, at):
        raise AuthorizationNotHeld(auth_id=found.auth_id, state="expired")
    flow = postings.flow_of(found)
    if flow == "ledger_hold":
        for part, share in split_capture(held, amount_minor):
            repository.set_part(conn, found, part.purse, captured_minor=share)
    elif flow == "provider_hold":
        _tell(conn, found, "capture", f"{capture_id}.capture", now, amount_minor)
    elif amount_minor < found.amount_minor:
        _tell(conn, found, "refund", f"{capture_id}.rest", now, found.amount_minor - amount_minor)


def _tell(
    conn: Connection, auth: Authorization, kind: str, operation_id: str, now: datetime, amount_minor: int
) -> None:
    orders.enqueue(conn, auth, kind=kind, operation_id=operation_id, next_at=now, now=now, amount_minor=amount_minor)


def _release(
    conn: Connection, auth: Authorization, kind: TransferKind, now: datetime, at: datetime | None = None
) -> None:
    if auth.amount_minor == 0:
        return
    postings.release(conn, auth, repository.parts(conn, auth.tenant_id, auth.auth_id), kind, now, at)
    if auth.method != WALLET:
        _tell(conn, auth, "void", f"{auth.auth_id}.void", now, auth.amount_minor)


class AuthorizationCaptured(Conflict):
    """The money was taken already; give it back with a refund."""

    code = "authorization_captured"


def void(
    conn: Connection,
    *,
    tenant_id: str,
    auth_id: str,
    now: datetime,
    reason: str = "voided",
    at: datetime | None = None,
) -> Authorization:
    """
    Return the authorization after releasing it. One that holds nothing (declined, voided) stays as it is.

    It stands in the books where it happened: `at` (of `rules.happened_at`), or now.

    A deposit is given back whole. One that is unknown is given up: should the provider have taken the money, it is
    undone there.

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
        _release(conn, found, TransferKind.VOID, now, at)
    else:
        queue_repository.change(conn, tenant_id, auth_id, status="done", answer="given_up")
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


def holds(conn: Connection, tenant_id: str, limit: int) -> list[Authorization]:
    """Return the authorizations that hold money now, oldest first."""
    return repository.in_state(conn, tenant_id, State.HELD, limit)
