"""
Use cases of water sessions: start, stop, look up.

A start with the wallet is one transaction: session, hold and the signed OpenValve exist together or not at all. A start
with an external method is two with the provider's answer between them: first the session (`requested`) and what we are
about to ask, then, by the answer, `authorized` with its OpenValve, or `refused`. When the answer is unknown the session
stays `requested`; the worker asks on and concludes it (`conclude_payment`).
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from backend.cardholders import service as cardholders
from backend.errors import Conflict, Forbidden, NotFound
from backend.fleet import service as fleet
from backend.kit.ids import new_id
from backend.outbox import service as outbox
from backend.payments import service as payments
from backend.protections import service as protections
from backend.water_sessions import machine, repository
from backend.water_sessions.context import Context
from backend.water_sessions.machine import Effect, Event, State
from backend.water_sessions.quoting import WALLET as WALLET
from backend.water_sessions.quoting import CardholderBusy as CardholderBusy
from backend.water_sessions.quoting import InsufficientFunds as InsufficientFunds
from backend.water_sessions.quoting import OutletBusy as OutletBusy
from backend.water_sessions.quoting import OutletFaulty as OutletFaulty
from backend.water_sessions.quoting import OutletOffline as OutletOffline
from backend.water_sessions.quoting import PaymentDeclined as PaymentDeclined
from backend.water_sessions.quoting import Quote as Quote
from backend.water_sessions.quoting import check_outlet as check_outlet
from backend.water_sessions.quoting import quote as quote
from backend.water_sessions.types import StartRequest, WaterSession
from gateway.contract.commands import CloseValve, OpenValve

#: A hold outlives its session by this much: time for a line to come back and the ending to be settled.
HOLD_GRACE_H = 25
#: After this long without an answer a payment is given up: no water minutes after the student walked away.
PAYMENT_WAIT_S = 60
#: A close command that brought no end is sent again after this long.
CLOSE_AGAIN_S = 20
_STAFF = frozenset({"facilities", "admin"})


class WaterSessionUnknown(NotFound):
    """No such water session."""

    code = "water_session_unknown"


def session(conn: Connection, tenant_id: str, water_session_id: str) -> WaterSession:
    """
    Return a water session.

    :raises WaterSessionUnknown: if this tenant has none with this id.
    """
    found = repository.find(conn, tenant_id, water_session_id)
    if found is None:
        raise WaterSessionUnknown(f"no water session {water_session_id!r}")
    return found


def live_of_cardholder(conn: Connection, tenant_id: str, cardholder_id: str) -> WaterSession | None:
    """Return a cardholder's live session or None."""
    return repository.live_of_cardholder(conn, tenant_id, cardholder_id)


def live_of_device(conn: Connection, tenant_id: str, device_id: str) -> WaterSession | None:
    """Return an outlet's live session or None."""
    return repository.live_of_device(conn, tenant_id, device_id)


def live(conn: Connection, tenant_id: str) -> list[WaterSession]:
    """Return a tenant's live sessions, oldest first."""
    return repository.live(conn, tenant_id)


def history(
    conn: Connection, tenant_id: str, cardholder_id: str, limit: int = 50, before: datetime | None = None
) -> list[WaterSession]:
    """Return a cardholder's sessions, newest first; `before` is the last page's oldest `requested_at`."""
    return repository.history(conn, tenant_id, cardholder_id, limit=limit, before=before)


def ended(
    conn: Connection, tenant_id: str, *, device_id: str | None = None, since: datetime | None = None
) -> list[WaterSession]:
    """Return sessions that have a register pair, by closing time."""
    return repository.ended(conn, tenant_id, device_id=device_id, since=since)


def asking(conn: Connection, limit: int) -> list[WaterSession]:
    """Return sessions of all tenants whose payment is being asked, oldest first."""
    return repository.asking(conn, limit)


def silent(
    conn: Connection, *, now: datetime, opening_wait_s: int, ending_wait_s: int, limit: int
) -> list[WaterSession]:
    """Return live sessions of all tenants, each once, whose opening, closing or ending is not heard of in time."""
    found = repository.unopened(conn, authorized_before=now - timedelta(seconds=opening_wait_s), limit=limit)
    found += repository.overdue(conn, now=now, grace_s=ending_wait_s, limit=limit)
    found += repository.unclosed(conn, asked_before=now - timedelta(seconds=CLOSE_AGAIN_S), limit=limit)
    return list({(one.tenant_id, one.water_session_id): one for one in found}.values())


def revoked(conn: Connection, *, since: datetime, now: datetime, limit: int) -> list[WaterSession]:
    """Return sessions requested since a time that are over for us, yet open at the outlet, to be told to close now."""
    return repository.revoked(conn, since=since, asked_before=now - timedelta(seconds=CLOSE_AGAIN_S), limit=limit)


class RequestConflict(Conflict):
    """The id of this request belongs to somebody else's."""

    code = "request_conflict"


def _check_free(conn: Connection, request: StartRequest) -> None:
    own = repository.live_of_cardholder(conn, request.tenant_id, request.cardholder_id)
    if own is not None:
        raise CardholderBusy(water_session_id=own.water_session_id)
    if repository.live_of_device(conn, request.tenant_id, request.device_id) is not None:
        raise OutletBusy


def start_in(conn: Connection, ctx: Context, request: StartRequest, now: datetime) -> WaterSession:
    """
    Start a session in the caller's transaction, which holds the tenant's turn.

    With the wallet the result is `authorized`; with an external method it is `requested` and the caller asks the
    provider after committing. A request that is known already returns its session as it stands.

    :raises RequestConflict: if the request is another person's; and BackendError as `request_start`.
    """
    return _known(conn, request) or _start_new(conn, ctx, request, now)


def _known(conn: Connection, request: StartRequest) -> WaterSession | None:
    known = repository.by_request(conn, request.tenant_id, request.request_id)
    if known is not None and known.cardholder_id != request.cardholder_id:
        raise RequestConflict(f"request {request.request_id!r} is another person's")
    return known


def _start_new(conn: Connection, ctx: Context, request: StartRequest, now: datetime) -> WaterSession:
    _check_free(conn, request)
    terms = quote(conn, request, now)
    new = WaterSession(
        tenant_id=request.tenant_id,
        water_session_id=new_id("ws"),
        request_id=request.request_id,
        device_id=request.device_id,
        gateway_id=terms.device.gateway_id,
        cardholder_id=request.cardholder_id,
        state=State.REQUESTED,
        method=request.method,
        credential_kind=request.credential_kind,
        auth_id=new_id("auth"),
        tariff_id=terms.tariff.tariff_id,
        tariff_version=terms.tariff.version,
        hold_minor=terms.hold.hold_minor,
        volume_limit_ml=terms.hold.volume_limit_ml,
        duration_limit_s=terms.tariff.duration_limit_s,
        idle_limit_s=terms.tariff.idle_limit_s,
        requested_at=now,
    )
    repository.store(conn, new)
    authorization = payments.open_authorization(
        conn,
        tenant_id=new.tenant_id,
        auth_id=new.auth_id,
        water_session_id=new.water_session_id,
        cardholder_id=new.cardholder_id,
        method=new.method,
        amount_minor=new.hold_minor,
        expires_at=now + timedelta(seconds=new.duration_limit_s, hours=HOLD_GRACE_H),
        now=now,
    )
    if authorization.state == payments.State.HELD:
        return _authorize(conn, ctx, new, now)
    if authorization.state == payments.State.DECLINED:
        raise InsufficientFunds(needed_minor=new.hold_minor)
    return new


def _authorize(conn: Connection, ctx: Context, asked: WaterSession, now: datetime) -> WaterSession:
    """Move to `authorized` and store the OpenValve, in one transaction."""
    body = OpenValve(
        water_session_id=asked.water_session_id,
        volume_limit_ml=asked.volume_limit_ml,
        duration_limit_s=asked.duration_limit_s,
        idle_limit_s=asked.idle_limit_s,
    )
    cmd_id = _command(conn, ctx, asked, body, now)
    return advance(conn, asked, Event.HOLD_PLACED, authorized_at=now, open_cmd_id=cmd_id)[0]


def _command(conn: Connection, ctx: Context, of: WaterSession, body: OpenValve | CloseValve, now: datetime) -> str:
    return outbox.enqueue_command(
        conn,
        signing=ctx.signing(of.tenant_id),
        tenant_id=of.tenant_id,
        gateway_id=of.gateway_id,
        device_id=of.device_id,
        sequence=fleet.next_command_sequence(conn, of.tenant_id, of.device_id),
        body=body,
        now=now,
    )


def advance(conn: Connection, current: WaterSession, event: Event, **values: Any) -> tuple[WaterSession, Effect]:
    """
    Apply an event to a session as the machine says and return it with what is left to do.

    `values` are stored only when the session moves; an ignored event is counted.

    :raises UnexpectedEvent: if the machine lacks it.
    """
    after, effect = machine.step(current.state, event)
    stored: dict[str, Any] = {"ignored_events": current.ignored_events + 1}
    if effect is Effect.MOVE:
        stored = {**values, "state": after.value}
    repository.change(conn, current.tenant_id, current.water_session_id, **stored)
    return replace(current, **{**stored, "state": after}), effect


def amend(conn: Connection, current: WaterSession, **values: Any) -> WaterSession:
    """Store further facts of a session without moving it."""
    repository.change(conn, current.tenant_id, current.water_session_id, **values)
    return replace(current, **values)


def request_start(ctx: Context, request: StartRequest, *, payer_code: str = "") -> WaterSession:
    """
    Start a water session, once per (tenant, request): asking again returns the session as it stands.

    `payer_code` is the one-time code the payer shows for an external method. It is handed to the provider and kept
    nowhere.

    :raises OutletBusy: also CardholderBusy, OutletOffline, OutletFaulty, TariffMissing, MethodNotAccepted,
        InsufficientFunds, PayerCodeMalformed and PaymentDeclined; nothing opens and nothing stays held.
    """
    now = ctx.clock()
    payments.check_code(request.method, payer_code)

    def start(conn: Connection) -> tuple[WaterSession, bool]:
        known = _known(conn, request)
        return (known, True) if known is not None else (_start_new(conn, ctx, request, now), False)

    try:
        started, is_repeat = payments.in_turn(ctx.db, request.tenant_id, start)
    except protections.MethodNotAccepted as refusal:
        _count_refused_method(ctx, request, refusal.decision, now)
        raise
    if started.state is State.REQUESTED and not is_repeat:
        payments.perform(
            ctx.db, ctx.providers, started.tenant_id, started.auth_id, clock=ctx.clock, payer_code=payer_code
        )
        asked_id = started.water_session_id

        def conclude(conn: Connection) -> WaterSession:
            return conclude_payment(conn, ctx, request.tenant_id, asked_id, ctx.clock())

        started = payments.in_turn(ctx.db, request.tenant_id, conclude)
    if started.refusal == PaymentDeclined.code:
        with ctx.db.read() as conn:
            why = payments.authorization(conn, started.tenant_id, started.auth_id).reason
        raise PaymentDeclined(water_session_id=started.water_session_id, reason=why)
    return started


def _count_refused_method(
    ctx: Context, request: StartRequest, decision: protections.MethodDecision, now: datetime
) -> None:
    """Count a refused attempt as the grant's evidence; the transaction it was refused in is gone."""
    with ctx.db.write() as conn:
        device = fleet.device(conn, request.tenant_id, request.device_id)
        person = cardholders.cardholder(conn, request.tenant_id, request.cardholder_id)
        protections.count_refused(
            conn,
            request.tenant_id,
            decision,
            place_id=device.place_id,
            scenario=device.scenario,
            person_class=person.person_class,
            at=now,
        )


def conclude_payment(
    conn: Connection, ctx: Context, tenant_id: str, water_session_id: str, now: datetime
) -> WaterSession:
    """
    Move a `requested` session on by what is known of its payment: authorize, refuse, or leave it to be asked again.

    A payment that is known too late, or not known in time, is voided; a success the provider reports even later is
    voided there too.
    """
    asked = locked(conn, tenant_id, water_session_id)
    if asked.state is not State.REQUESTED:
        return asked
    state = payments.authorization(conn, tenant_id, asked.auth_id).state
    is_late = now - asked.requested_at >= timedelta(seconds=PAYMENT_WAIT_S)
    if state == payments.State.HELD and not is_late:
        return _authorize(conn, ctx, asked, now)
    if state in (payments.State.DECLINED, payments.State.VOIDED):
        return advance(conn, asked, Event.HOLD_DECLINED, refusal=PaymentDeclined.code, closed_at=now)[0]
    if is_late:
        payments.void(conn, tenant_id=tenant_id, auth_id=asked.auth_id, now=now)
        return advance(conn, asked, Event.EXPIRED, refusal="payment_unknown", closed_at=now)[0]
    return asked


def locked(conn: Connection, tenant_id: str, water_session_id: str) -> WaterSession:
    """
    Return a water session that nobody else changes until this transaction ends.

    :raises WaterSessionUnknown: if this tenant has none with this id.
    """
    found = repository.find(conn, tenant_id, water_session_id, lock=True)
    if found is None:
        raise WaterSessionUnknown(f"no water session {water_session_id!r}")
    return found


def request_stop(
    ctx: Context, tenant_id: str, water_session_id: str, by_cardholder_id: str, reason: str = "remote"
) -> WaterSession:
    """
    Ask for the end of a session; asking again changes nothing. The end itself is what the gateway reports.

    :raises WaterSessionUnknown: if this tenant has none with this id.
    :raises Forbidden: if it is neither the person's own nor are they staff.
    """

    def stop(conn: Connection) -> WaterSession:
        current = locked(conn, tenant_id, water_session_id)
        if current.cardholder_id != by_cardholder_id:
            person = cardholders.cardholder(conn, tenant_id, by_cardholder_id)
            if not person.roles & _STAFF:
                raise Forbidden("only its owner or staff may stop a session")
        return stop_in(conn, ctx, current, reason, ctx.clock())

    return payments.in_turn(ctx.db, tenant_id, stop)


def stop_in(conn: Connection, ctx: Context, current: WaterSession, reason: str, now: datetime) -> WaterSession:
    """
    Ask for the end of a session in the caller's transaction, which holds the tenant's turn.

    A session whose payment is still being asked is voided at once. A close that brought no end is sent again after
    CLOSE_AGAIN_S, not before.
    """
    if current.state is State.REQUESTED:
        payments.void(conn, tenant_id=current.tenant_id, auth_id=current.auth_id, now=now)
        return advance(conn, current, Event.CLOSE_REQUESTED, stop_reason=reason, closed_at=now)[0]
    if current.state is State.CLOSING:
        asked_at = current.close_requested_at
        if asked_at is not None and now - asked_at < timedelta(seconds=CLOSE_AGAIN_S):
            return current
        close(conn, ctx, current, reason, now)
        return amend(conn, current, close_requested_at=now)
    if not current.is_live:
        return current
    close(conn, ctx, current, reason, now)
    # what was asked for; the ending says what it was
    return advance(conn, current, Event.CLOSE_REQUESTED, close_requested_at=now, stop_reason=reason)[0]


def close(conn: Connection, ctx: Context, current: WaterSession, reason: str, now: datetime) -> str:
    """Store a CloseValve for a session's outlet and return its id."""
    body = CloseValve(water_session_id=current.water_session_id, stop_reason=reason)
    return _command(conn, ctx, current, body, now)


def on_command_sent(conn: Connection, tenant_id: str, water_session_id: str) -> None:
    """Note that the broker took a session's OpenValve. Late and repeated notes change nothing."""
    current = repository.find(conn, tenant_id, water_session_id, lock=True)
    if current is not None and current.state is State.AUTHORIZED:
        advance(conn, current, Event.COMMAND_SENT)
