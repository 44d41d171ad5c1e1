"""
No hold lives forever: what the sweeper does with sessions that nothing is heard of.

- `requested`: concluded as soon as the payment's answer is known, given up after a minute.
- The opening is not reported after 45 s: given up, if the command never left or the gateway is connected and has had
  its time to report. While the gateway is away the hold waits for its journal, a day at most.
- Asked to close and not heard to have closed: asked again every 20 s while its gateway is connected. The person wants
  the water to stop and a command lives only as long.
- Open beyond its time limit without an ending: settled from the latest register reading since the opening once the
  gateway, though connected, has said nothing for ten minutes, or after a day.
- Given up, yet reported open and not heard to have ended: told to close again every 20 s, a day at most.

A gateway that comes back first tells what happened meanwhile. So its silence counts only when its connection is as old
as our patience and its journal, as far as we know of it, is empty. What it reports later still is not lost: the machine
turns it into the operator's loss, never into a charge, and a true ending replaces the reading that stood in for it.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from backend.errors import BackendError
from backend.fleet import service as fleet
from backend.kit.clock import epoch_ms
from backend.kit.ids import new_id
from backend.metering import service as metering
from backend.metering.rules import InvalidRegister
from backend.outbox import service as outbox
from backend.payments import service as payments
from backend.settlement import rules, service
from backend.water_sessions import service as water_sessions
from backend.water_sessions import taps
from backend.water_sessions.context import Context
from backend.water_sessions.machine import Event, State
from backend.water_sessions.types import WaterSession
from gateway.contract.events import StopReason, WaterSessionEnded
from gateway.contract.units import InvalidKFactor

log = logging.getLogger(__name__)

OPENING_WAIT_S = 45
ENDING_WAIT_S = 600
AWAY_MAX_H = 24
#: How many are looked at, and how many acted on, per sweep.
_LIMIT = 5_000
_ACTS_MAX = 200
#: What one session can cause and the others must survive.
_POISON = (BackendError, InvalidKFactor, InvalidRegister)


@dataclass(frozen=True, slots=True)
class Swept:
    """
    What was done with a session: `concluded`, `refused`, `voided`, `closed_again`, `revoked_again` or
    `settled_from_register`.
    """

    tenant_id: str
    water_session_id: str
    action: str


def sweep(ctx: Context, now: datetime) -> list[Swept]:
    """Return what was done with sessions whose time is up: a bounded number, each in a transaction of its own."""
    with ctx.db.read() as conn:
        found = water_sessions.asking(conn, _LIMIT)
        found += water_sessions.silent(
            conn, now=now, opening_wait_s=OPENING_WAIT_S, ending_wait_s=ENDING_WAIT_S, limit=_LIMIT
        )
        found += water_sessions.revoked(conn, since=now - timedelta(hours=AWAY_MAX_H), now=now, limit=_LIMIT)
        due = [one for one in found if _is_due(conn, one, now)]
    done: list[Swept] = []
    for one in due:
        if len(done) == _ACTS_MAX:
            break
        try:
            with ctx.db.write() as conn:
                outbox.take_turn(conn, one.tenant_id)
                action = _act(conn, ctx, one, now)
        except _POISON as error:
            log.error("session not swept", extra={"session": one.water_session_id, "reason": repr(error)})
            continue
        if action:
            done.append(Swept(one.tenant_id, one.water_session_id, action))
    return done


def _is_due(conn: Connection, one: WaterSession, now: datetime) -> bool:
    try:
        if one.state is State.REQUESTED:
            return _is_concludable(conn, one, now)
        return _verdict(conn, one, now) != "wait"
    except _POISON as error:
        log.error("session not looked at", extra={"session": one.water_session_id, "reason": repr(error)})
        return False


def _is_concludable(conn: Connection, one: WaterSession, now: datetime) -> bool:
    if now - one.requested_at >= timedelta(seconds=water_sessions.PAYMENT_WAIT_S):
        return True
    state = payments.authorization(conn, one.tenant_id, one.auth_id).state
    return state in (payments.State.HELD, payments.State.DECLINED, payments.State.VOIDED)


def _verdict(conn: Connection, one: WaterSession, now: datetime) -> str:
    """Return `wait`, `void`, `close`, `revoke` or `settle`."""
    gateway = fleet.gateway(conn, one.tenant_id, one.gateway_id)
    if not one.is_live:
        is_open = one.opened_at is not None and one.closing_pulses is None
        return "revoke" if is_open and gateway.connected and _is_asked_long_ago(one, now) else "wait"
    since = one.authorized_at or one.requested_at
    is_long_gone = now - since >= timedelta(hours=AWAY_MAX_H)
    if one.opened_at is None:
        command = outbox.command(conn, one.tenant_id, one.open_cmd_id)
        never_left = command is None or (command.sent_at is None and command.not_after <= now)
        patience = timedelta(seconds=OPENING_WAIT_S)
        is_heard = gateway.last_seen_at is not None and gateway.last_seen_at >= since + patience
        has_spoken = is_heard and _has_told_all(conn, gateway, patience, now)
        is_due = now - since >= patience and (never_left or has_spoken)
        if is_due or is_long_gone:
            return "void"
        return "close" if _is_close_due(one, now) and gateway.connected else "wait"
    limit_at = one.opened_at + timedelta(seconds=one.duration_limit_s + ENDING_WAIT_S)
    is_overdue = now >= limit_at and _has_told_all(conn, gateway, timedelta(seconds=ENDING_WAIT_S), now)
    if is_overdue or is_long_gone:
        return "settle"
    return "close" if _is_close_due(one, now) and gateway.connected else "wait"


def _has_told_all(conn: Connection, gateway: fleet.Gateway, patience: timedelta, now: datetime) -> bool:
    """Return whether a gateway is connected for as long as our patience and has nothing left in its journal."""
    born_at = gateway.hello_received_at
    if not gateway.connected or born_at is None or now - born_at < patience:
        return False
    told = outbox.stored_through(conn, gateway.tenant_id, gateway.gateway_id, gateway.journal_epoch)
    return told >= gateway.journal_sequence and gateway.journal_waiting == 0


def _is_close_due(one: WaterSession, now: datetime) -> bool:
    return one.state is State.CLOSING and _is_asked_long_ago(one, now)


def _is_asked_long_ago(one: WaterSession, now: datetime) -> bool:
    if one.close_requested_at is None:
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
    verdict = _verdict(conn, one, now)
    if verdict == "revoke":
        water_sessions.close(conn, ctx, one, "revoked", now)
        water_sessions.amend(conn, one, close_requested_at=now)
        return "revoked_again"
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
    """
    Return the ending the latest known register reading amounts to; no reading since the opening means no pulses.

    Never more than the volume limit: a mere reading does not say that it was this session that moved the register.
    """
    assert one.opened_at is not None
    assert one.opening_pulses is not None
    assert one.k_factor_pulses_per_m3 is not None
    device = fleet.device(conn, one.tenant_id, one.device_id)
    latest = metering.latest(conn, one.tenant_id, one.device_id)
    known = [one.opening_pulses]
    if latest is not None and latest.read_at > one.opened_at:
        known.append(latest.register_pulses)
    if device.register_pulses is not None and device.health_at is not None and device.health_at > one.opened_at:
        known.append(device.register_pulses)
    pulses, evidence = rules.believable_pulses(
        max(known) - one.opening_pulses,
        volume_limit_ml=one.volume_limit_ml,
        k_factor_pulses_per_m3=one.k_factor_pulses_per_m3,
    )
    if evidence == rules.CUT_READING:
        log.error("absurd reading cut", extra={"session": one.water_session_id, "register_pulses": max(known)})
    return WaterSessionEnded(
        event_id=new_id("ev"),
        at_ms=epoch_ms(now),
        device=one.device_id,
        water_session_id=one.water_session_id,
        stop_reason=StopReason.TIME_LIMIT,
        opening_pulses=one.opening_pulses,
        closing_pulses=one.opening_pulses + pulses,
        k_factor_pulses_per_m3=one.k_factor_pulses_per_m3,
        temperature_decidegc=device.temperature_decidegc,
        duration_s=one.duration_limit_s,
        evidence=evidence,
    )
