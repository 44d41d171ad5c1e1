"""
Someone taps a card or shows a code at an outlet's reader.

The first tap starts, the same person's next tap stops, and another person's tap takes over: the running session is told
to close with reason `handover` and the new start waits. It is opened by the settlement of the previous session, so that
the two never overlap on one outlet and the register pair of each is its own. A start that waited too long is dropped;
tapping again costs nothing. Before a stranger's tap ends anyone's shower, it must be able to start one itself.
"""

from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Connection

from backend.cardholders import service as cardholders
from backend.errors import BackendError
from backend.kit.money import format_minor
from backend.outbox import service as outbox
from backend.payments import service as payments
from backend.water_sessions import repository, service
from backend.water_sessions.context import Context
from backend.water_sessions.types import StartRequest, WaitingStart, WaterSession
from gateway.contract.messages import CredentialKind, CredentialPresented, Decision

#: How long a tap waits for the previous session to end.
WAIT_S = 15
#: How long an answer is remembered; no tap is delivered so late.
TAP_MEMORY_S = 600
_DISPLAY_MAX = 32

#: What the outlet's display says; both languages within 32 characters.
_DISPLAY = {
    "stopped": "已停止 Stopped",
    "handover": "请稍候 One moment",
    "no_session": "请刷卡 Tap a card",
    "insufficient_funds": "余额不足 Top up",
    "outlet_busy": "使用中 In use",
    "cardholder_busy": "另有用水 Running elsewhere",
    "outlet_faulty": "故障 Out of order",
    "outlet_offline": "离线 Offline",
    "tariff_missing": "未设价 No price set",
    "credential_unknown": "无效卡 Unknown card",
    "credential_frozen": "已挂失 Card frozen",
    "code_expired": "码已过期 Code expired",
    "code_replayed": "码已使用 Code used",
}


def on_presented(ctx: Context, tenant_id: str, presented: CredentialPresented, now: datetime) -> Decision:
    """
    Return the answer to a tap at an outlet; what it starts or stops is committed with it.

    A repeat of a request is answered as before: a tap that stopped must not start when it is delivered twice.
    """
    with ctx.db.write() as conn:
        outbox.take_turn(conn, tenant_id)
        known = repository.tap_answer(conn, tenant_id, presented.request_id)
        if known is not None:
            return msgspec.json.decode(known, type=Decision)
        try:
            with conn.begin_nested():
                person = _shown_by(conn, ctx, tenant_id, presented, now)
            # on its own: a code that was shown is used up, also when what it was shown for is refused
            with conn.begin_nested():
                decision = _decide(conn, ctx, tenant_id, presented, person, now)
        except BackendError as error:
            decision = refused(presented, error)
        answer = msgspec.json.encode(decision).decode()
        repository.store_tap(conn, tenant_id, presented.request_id, answer=answer, now=now)
        return decision


def forget_taps(ctx: Context, now: datetime) -> None:
    """Forget the answers to taps that are too old to be delivered again."""
    with ctx.db.write() as conn:
        repository.delete_taps(conn, before=now - timedelta(seconds=TAP_MEMORY_S))


def _shown_by(
    conn: Connection, ctx: Context, tenant_id: str, presented: CredentialPresented, now: datetime
) -> cardholders.Cardholder | None:
    """Return who showed a card or code; None for a button, which anybody may press."""
    if presented.kind is CredentialKind.BUTTON:
        return None
    return cardholders.resolve(
        conn, ctx.secrets_dir, tenant_id, kind=presented.kind.value, value=presented.value, now=now
    ).cardholder


def _decide(
    conn: Connection,
    ctx: Context,
    tenant_id: str,
    presented: CredentialPresented,
    person: cardholders.Cardholder | None,
    now: datetime,
) -> Decision:
    running = repository.live_of_device(conn, tenant_id, presented.device)
    if person is None:
        if running is None:
            return _answer(presented, "no_session", granted=False)
        service.stop_in(conn, ctx, running, "remote", now)
        return _answer(presented, "stopped")
    request = StartRequest(
        tenant_id=tenant_id,
        request_id=presented.request_id,
        device_id=presented.device,
        cardholder_id=person.cardholder_id,
        method=service.WALLET,
        credential_kind=presented.kind.value,
    )
    if running is not None and running.cardholder_id == person.cardholder_id:
        service.stop_in(conn, ctx, running, "card", now)
        return _answer(presented, "stopped")
    if running is not None:
        _hand_over(conn, ctx, running, request, now)
        return _answer(presented, "handover")
    service.start_in(conn, ctx, request, now)
    wallet = payments.wallet(conn, tenant_id, person.cardholder_id)
    return _answer(presented, "ok", display=format_minor(wallet.posted_minor))


def _hand_over(conn: Connection, ctx: Context, running: WaterSession, request: StartRequest, now: datetime) -> None:
    own = repository.live_of_cardholder(conn, request.tenant_id, request.cardholder_id)
    if own is not None:
        raise service.CardholderBusy(water_session_id=own.water_session_id)
    waiting = repository.waiting(conn, request.tenant_id, request.device_id)
    if waiting is not None and waiting.expires_at > now and waiting.cardholder_id != request.cardholder_id:
        raise service.OutletBusy
    service.quote(conn, request, now)
    start = WaitingStart(
        tenant_id=request.tenant_id,
        device_id=request.device_id,
        request_id=request.request_id,
        cardholder_id=request.cardholder_id,
        credential_kind=request.credential_kind,
        expires_at=now + timedelta(seconds=WAIT_S),
    )
    repository.store_waiting(conn, start)
    after = service.stop_in(conn, ctx, running, "handover", now)
    if not after.is_live:
        open_waiting(conn, ctx, request.tenant_id, request.device_id, now)


def open_waiting(conn: Connection, ctx: Context, tenant_id: str, device_id: str, now: datetime) -> WaterSession | None:
    """
    Start what waited for an outlet's previous session to end, if it still may, and return it.

    A refusal at this moment (a balance spent elsewhere meanwhile) drops the start; the person sees no water and taps.
    """
    waiting = repository.waiting(conn, tenant_id, device_id)
    if waiting is None:
        return None
    repository.remove_waiting(conn, tenant_id, device_id)
    if waiting.expires_at <= now:
        return None
    request = StartRequest(
        tenant_id=tenant_id,
        request_id=waiting.request_id,
        device_id=device_id,
        cardholder_id=waiting.cardholder_id,
        method=service.WALLET,
        credential_kind=waiting.credential_kind,
    )
    try:
        with conn.begin_nested():
            return service.start_in(conn, ctx, request, now)
    except BackendError:
        return None


def _answer(presented: CredentialPresented, reason: str, *, granted: bool = True, display: str = "") -> Decision:
    text = display or _DISPLAY.get(reason, "拒绝 Refused")
    return Decision(
        request_id=presented.request_id,
        device=presented.device,
        granted=granted,
        reason=reason,
        display=text[:_DISPLAY_MAX],
    )


def refused(presented: CredentialPresented, error: BackendError) -> Decision:
    """Return the answer that a refusal means."""
    return _answer(presented, error.code, granted=False)
