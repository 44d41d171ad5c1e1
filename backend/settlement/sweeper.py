"""
No hold lives forever: what the sweeper does with sessions that nothing is heard of.

- `requested`: concluded as soon as the payment's answer is known, given up after a minute.
- The opening is not reported after 45 s: given up, if the command never left or the gateway is connected and has had
  its time to report. While the gateway is away the hold waits for its journal, a day at most.
- Asked to close and not heard to have closed: asked again every 20 s while its gateway is connected. The person wants
  the water to stop and a command lives only as long.
- Open beyond its time limit without an ending: settled from the latest register reading once the gateway, though
  connected, has said nothing for ten minutes, or after a day.

What a gateway reports after that is not lost: the machine turns it into the operator's loss, never into a charge.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from backend.fleet import service as fleet
from backend.kit.clock import epoch_ms
from backend.kit.ids import new_id
from backend.metering import service as metering
from backend.outbox import service as outbox
from backend.payments import service as payments
from backend.settlement import service
from backend.water_sessions import service as water_sessions
from backend.water_sessions import taps
from backend.water_sessions.context import Context
from backend.water_sessions.machine import Event, State
from backend.water_sessions.types import WaterSession
from gateway.contract.events import StopReason, WaterSessionEnded

OPENING_WAIT_S = 45
ENDING_WAIT_S = 600
AWAY_MAX_H = 24
#: How many are looked at, and how many acted on, per sweep.
_LIMIT = 5_000
_ACTS_MAX = 200


@dataclass(frozen=True, slots=True)
class Swept:
    """What was done with a session: `concluded`, `refused`, `voided`, `closed_again` or `settled_from_register`."""

    tenant_id: str
    water_session_id: str
    action: str


def sweep(ctx: Context, now: datetime) -> list[Swept]:
    """Return what was done with sessions whose time is up: a bounded number, each in a transaction of its own."""
    with ctx.db.read() as conn:
        due = [one for one in water_sessions.asking(conn, _LIMIT) if _is_concludable(conn, one, now)]
        silent = water_sessions.silent(
            conn, now=now, opening_wait_s=OPENING_WAIT_S, ending_wait_s=ENDING_WAIT_S, limit=_LIMIT
        )
        due += [one for one in silent if _verdict(conn, one, now) != "wait"]
    done = []
    for one in due[:_ACTS_MAX]:
        with ctx.db.write() as conn:
            outbox.take_turn(conn, one.tenant_id)
            action = _act(conn, ctx, one, now)
        if action:
            done.append(Swept(one.tenant_id, one.water_session_id, action))
    return done


def _is_concludable(conn: Connection, one: WaterSession, now: datetime) -> bool:
    if now - one.requested_at >= timedelta(seconds=water_sessions.PAYMENT_WAIT_S):
        return True
    state = payments.authorization(conn, one.tenant_id, one.auth_id).state
    return state in (payments.State.HELD, payments.State.DECLINED, payments.State.VOIDED)


def _verdict(conn: Connection, one: WaterSession, now: datetime) -> str:
    """Return `wait`, `void`, `close` or `settle`."""
    gateway = fleet.gateway(conn, one.tenant_id, one.gateway_id)
    since = one.authorized_at or one.requested_at
    is_long_gone = now - since >= timedelta(hours=AWAY_MAX_H)
    if one.opened_at is None:
        command = outbox.command(conn, one.tenant_id, one.open_cmd_id)
        never_left = command is None or (command.sent_at is None and command.not_after <= now)
        patience = timedelta(seconds=OPENING_WAIT_S)
        has_spoken = gateway.connected and gateway.last_seen_at is not None and gateway.last_seen_at >= since + patience
        is_due = now - since >= patience and (never_left or has_spoken)
        if is_due or is_long_gone:
            return "void"
        return "close" if _is_close_due(one, now) and gateway.connected else "wait"
    limit_at = one.opened_at + timedelta(seconds=one.duration_limit_s + ENDING_WAIT_S)
    is_overdue = now >= limit_at and gateway.connected
    if is_overdue or is_long_gone:
        return "settle"
    return "close" if _is_close_due(one, now) and gateway.connected else "wait"


def _is_close_due(one: WaterSession, now: datetime) -> bool:
    if one.state is not State.CLOSING or one.close_requested_at is None:
        return False
    return now - one.close_requested_at >= timedelta(seconds=water_sessions.CLOSE_AGAIN_S)


def _act(conn: Connection, ctx: Context, seen: WaterSession, now: datetime) -> str:
    """Look again under the lock, act, and return what was done; empty when there is nothing to do any more."""
    one = water_sessions.locked(conn, seen.tenant_id, seen.water_session_id)
    if one.state is State.REQUESTED:
        after = water_sessions.conclude_payment(conn, ctx, one.tenant_id, one.water_session_id, now)
        if after.is_live:
            return "concluded" if after.state is not State.REQUESTED else ""
        taps.open_waiting(conn, ctx, one.tenant_id, one.device_id, now)
        return "refused"
    if not one.is_live:
        return ""
    verdict = _verdict(conn, one, now)
    if verdict == "void":
        payments.void(conn, tenant_id=one.tenant_id, auth_id=one.auth_id, now=now)
        water_sessions.advance(conn, one, Event.EXPIRED, refusal="not_opened", stop_reason="not_opened", closed_at=now)
        taps.open_waiting(conn, ctx, one.tenant_id, one.device_id, now)
        return "voided"
    if verdict == "close":
        water_sessions.stop_in(conn, ctx, one, one.stop_reason or "remote", now)
        return "closed_again"
    if verdict == "settle":
        service.on_ended(conn, ctx, one.tenant_id, _ending_from_register(conn, one, now), now)
        return "settled_from_register"
    return ""


def _ending_from_register(conn: Connection, one: WaterSession, now: datetime) -> WaterSessionEnded:
    """Return the ending the latest known register reading amounts to; no reading since the opening means no pulses."""
    assert one.opening_pulses is not None
    assert one.k_factor_pulses_per_m3 is not None
    device = fleet.device(conn, one.tenant_id, one.device_id)
    latest = metering.latest(conn, one.tenant_id, one.device_id)
    known = [one.opening_pulses]
    known += [latest.register_pulses] if latest is not None else []
    known += [device.register_pulses] if device.register_pulses is not None else []
    return WaterSessionEnded(
        event_id=new_id("ev"),
        at_ms=epoch_ms(now),
        device=one.device_id,
        water_session_id=one.water_session_id,
        stop_reason=StopReason.TIME_LIMIT,
        opening_pulses=one.opening_pulses,
        closing_pulses=max(known),
        k_factor_pulses_per_m3=one.k_factor_pulses_per_m3,
        temperature_decidegc=device.temperature_decidegc,
        duration_s=one.duration_limit_s,
        evidence="latest_reading",
    )
