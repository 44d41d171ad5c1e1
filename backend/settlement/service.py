"""
What a gateway reports on a session, settled in the transaction that hears of it.

Repeats and late events change nothing: `water_sessions/machine.py` says which events still count in which state. All
functions run in a transaction whose caller holds the tenant's turn (`outbox.service.take_turn`).
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from backend.errors import BackendError
from backend.fleet import service as fleet
from backend.fleet.types import Device, Place
from backend.kit.clock import from_epoch_ms
from backend.ledger import service as ledger
from backend.metering import service as metering
from backend.metering.rules import usage_pulses
from backend.payments import service as payments
from backend.settlement import accounting, repository, rules
from backend.settlement.rules import live_charge as live_charge
from backend.tariffs import service as tariffs
from backend.tariffs.rules import TariffVersion
from backend.water_sessions import service as water_sessions
from backend.water_sessions import taps
from backend.water_sessions.context import Context
from backend.water_sessions.machine import Effect, Event
from backend.water_sessions.types import WaterSession
from gateway.contract.events import CommandRefused, MeterRead, ValveOpened, WaterSessionEnded
from gateway.contract.units import InvalidKFactor

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Receipt:
    """Everything a bill rests on: the register pair and K-factor, the tariff version, the times, and who paid."""

    session: WaterSession
    tariff: TariffVersion
    device: Device
    #: root first
    places: tuple[Place, ...]
    #: what was really held or taken, spent, and goes back
    money: payments.Outcome
    #: whether the hold was a deposit that the provider took at the start
    is_deposit: bool = False
    #: which purse paid what
    parts: tuple[payments.Part, ...] = ()
    #: what was given back of the charge afterwards
    refunds: tuple[payments.Refund, ...] = ()


@dataclass(frozen=True, slots=True)
class UnbilledWater:
    """Water that ran and was not charged, or the reverse; `cause` is one of those of the table."""

    tenant_id: str
    water_session_id: str
    cause: str
    device_id: str
    opening_pulses: int
    closing_pulses: int
    volume_ml: int
    amount_minor: int
    event_at: datetime
    recorded_at: datetime


class WrongDevice(BackendError):
    """A gateway reports a session on another device than the one it was started on."""

    code = "wrong_device"
    status = 409


def _reported(conn: Connection, tenant_id: str, water_session_id: str, device_id: str) -> WaterSession:
    """
    Return the session an event is about, locked.

    :raises WaterSessionUnknown: if this tenant has none with this id.
    :raises WrongDevice: if it runs elsewhere.
    """
    found = water_sessions.locked(conn, tenant_id, water_session_id)
    if found.device_id != device_id:
        raise WrongDevice(water_session_id=water_session_id, device_id=device_id)
    return found


def _check_k_factor(event: ValveOpened | WaterSessionEnded) -> None:
    """
    Refuse a report that cannot be billed; it is parked with its bytes until somebody has looked at the meter.

    :raises InvalidKFactor: if the K-factor is not positive.
    """
    if event.k_factor_pulses_per_m3 <= 0:
        log.error("meter without a K-factor", extra={"device": event.device, "session": event.water_session_id})
        raise InvalidKFactor(f"K-factor must be positive, not {event.k_factor_pulses_per_m3}")


def on_valve_opened(conn: Connection, ctx: Context, tenant_id: str, event: ValveOpened, now: datetime) -> WaterSession:
    """
    Note an opening with its register reading. One without a grant is told to close.

    :raises WaterSessionUnknown: also WrongDevice, UnexpectedEvent and InvalidKFactor; nothing is changed.
    """
    current = _reported(conn, tenant_id, event.water_session_id, event.device)
    _check_k_factor(event)
    opened_at = from_epoch_ms(event.at_ms)
    after, effect = water_sessions.advance(
        conn,
        current,
        Event.VALVE_OPENED,
        opened_at=opened_at,
        opening_pulses=event.opening_pulses,
        k_factor_pulses_per_m3=event.k_factor_pulses_per_m3,
    )
    if effect is Effect.MOVE:
        accounting.read(conn, after, "opening", opened_at, event.opening_pulses, event.k_factor_pulses_per_m3)
    if effect is Effect.IGNORE and after.opened_at is None:
        after = water_sessions.amend(conn, after, opened_at=opened_at)
    if effect is Effect.REVOKE and after.closing_pulses is None:
        after = water_sessions.amend(conn, after, opened_at=after.opened_at or opened_at, close_requested_at=now)
        log.error("outlet open without a grant", extra={"tenant": tenant_id, "session": event.water_session_id})
        water_sessions.close(conn, ctx, after, "revoked", now)
    return after


def on_ended(conn: Connection, ctx: Context, tenant_id: str, event: WaterSessionEnded, now: datetime) -> WaterSession:
    """
    Settle a session from its register pair and start what waits at its outlet; a repeat changes nothing.

    :raises WaterSessionUnknown: also WrongDevice, UnexpectedEvent, InvalidRegister and InvalidKFactor; nothing changes.
    """
    current = _reported(conn, tenant_id, event.water_session_id, event.device)
    _check_k_factor(event)
    usage = usage_pulses(event.opening_pulses, event.closing_pulses)
    closed_at = from_epoch_ms(event.at_ms)
    evidence = {
        "closed_at": closed_at,
        "opening_pulses": event.opening_pulses,
        "closing_pulses": event.closing_pulses,
        "k_factor_pulses_per_m3": event.k_factor_pulses_per_m3,
        "usage_pulses": usage.pulses,
        "usage_note": usage.note,
        "stop_reason": event.stop_reason.value,
        "evidence": event.evidence[:32],
        "device_log_sequence": event.device_log_sequence,
        "duration_s": event.duration_s,
        "temperature_decidegc": event.temperature_decidegc,
    }
    if rules.is_provisional(current.evidence) and not rules.is_provisional(event.evidence):
        return accounting.correct(conn, current, evidence, now)
    after, effect = water_sessions.advance(conn, current, Event.ENDED, **evidence)
    is_first_end = effect is Effect.MOVE or (effect is Effect.LOSS and current.closing_pulses is None)
    if not is_first_end:
        return after
    k_factor = event.k_factor_pulses_per_m3
    started_at = current.opened_at or closed_at - timedelta(seconds=max(event.duration_s, 0))
    accounting.read(conn, after, "opening", min(started_at, closed_at), event.opening_pulses, k_factor)
    accounting.read(conn, after, "closing", closed_at, event.closing_pulses, k_factor)
    if effect is Effect.LOSS:
        return accounting.lose(conn, water_sessions.amend(conn, after, **evidence), now)
    settled = _settle(conn, after, now)
    taps.open_waiting(conn, ctx, tenant_id, event.device, now)
    return settled


def _settle(conn: Connection, metered: WaterSession, now: datetime) -> WaterSession:
    """Capture what the water costs and release the rest; no water gives the hold back."""
    tenant_id, auth_id = metered.tenant_id, metered.auth_id
    ledger.lock(conn, tenant_id)  # or the hold could lapse between the look at it and the capture
    authorization = payments.authorization(conn, tenant_id, auth_id)
    is_held = authorization.state == payments.State.HELD
    bill = accounting.billed(conn, metered, authorization.amount_minor if is_held else 0)
    at = accounting.happened_at(metered, now)
    if bill.captured_minor > 0:
        capture_id = f"cap_{metered.water_session_id.removeprefix('ws_')}"
        payments.capture(
            conn,
            tenant_id=tenant_id,
            auth_id=auth_id,
            capture_id=capture_id,
            amount_minor=bill.captured_minor,
            now=now,
            at=at,
        )
    elif is_held:
        payments.void(conn, tenant_id=tenant_id, auth_id=auth_id, now=now, at=at)
    if bill.overrun_minor > 0:
        cause = "overrun" if is_held else "hold_gone"
        accounting.write_loss(conn, metered, cause, bill.volume_ml, bill.overrun_minor, now)
    return water_sessions.advance(
        conn,
        metered,
        Event.CHARGED if bill.pulses > 0 else Event.NOTHING_FLOWED,
        settled_at=now,
        volume_ml=bill.volume_ml,
        charge_minor=bill.charge_minor,
        captured_minor=bill.captured_minor,
        overrun_minor=bill.overrun_minor,
    )[0]


def on_refused(
    conn: Connection, ctx: Context, tenant_id: str, event: CommandRefused, now: datetime
) -> WaterSession | None:
    """
    Refuse a session whose opening the outlet would not do, give its hold back, and return it.

    Any other refusal (of a close, of a copy of a command) is counted on its session. None if it is about no session.
    """
    if not event.subject_id.startswith("ws_"):
        return None
    current = _reported(conn, tenant_id, event.subject_id, event.device)
    if event.cmd_id != current.open_cmd_id or event.code not in rules.FINAL_REFUSALS:
        return water_sessions.amend(conn, current, ignored_events=current.ignored_events + 1)
    after, effect = water_sessions.advance(
        conn, current, Event.COMMAND_REFUSED, refusal=event.code.value, closed_at=from_epoch_ms(event.at_ms)
    )
    if effect is Effect.MOVE:
        at = accounting.happened_at(after, now)
        payments.void(conn, tenant_id=tenant_id, auth_id=after.auth_id, now=now, at=at)
        taps.open_waiting(conn, ctx, tenant_id, after.device_id, now)
    return after


def on_meter_read(conn: Connection, tenant_id: str, event: MeterRead) -> None:
    """Keep a reading between sessions: at boot, on a schedule, or because the register moved while closed."""
    metering.record(
        conn,
        metering.Reading(
            tenant_id=tenant_id,
            device_id=event.device,
            read_at=from_epoch_ms(event.at_ms),
            register_pulses=event.register_pulses,
            k_factor_pulses_per_m3=event.k_factor_pulses_per_m3,
            cause=event.cause,
            reference=event.event_id,
        ),
    )


def receipt(conn: Connection, tenant_id: str, water_session_id: str) -> Receipt:
    """
    Return a session's receipt; while it runs, what is known so far.

    :raises WaterSessionUnknown: if this tenant has none with this id.
    """
    of = water_sessions.session(conn, tenant_id, water_session_id)
    device = fleet.device(conn, tenant_id, of.device_id)
    return Receipt(
        session=of,
        tariff=tariffs.version(conn, tenant_id, of.tariff_id, of.tariff_version),
        device=device,
        places=tuple(fleet.place_path(conn, tenant_id, device.place_id)),
        money=payments.outcome(conn, tenant_id, of.auth_id),
        is_deposit=payments.is_deposit(of.method),
        parts=tuple(payments.parts(conn, tenant_id, of.auth_id)),
        refunds=tuple(payments.refunds(conn, tenant_id, auth_id=of.auth_id)),
    )


def unbilled(conn: Connection, tenant_id: str, since: datetime | None = None) -> list[UnbilledWater]:
    """Return water that ran in sessions and was not charged, with its cause; oldest first."""
    return [UnbilledWater(**row) for row in repository.unbilled(conn, tenant_id, since)]
