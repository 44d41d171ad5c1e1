"""
What settlement writes beside the capture: readings, losses, and the correction of a bill that stood on a reading.

Each line of unbilled water is written once per session and cause, so a repeated report changes nothing.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from backend.ledger import service as ledger
from backend.metering import service as metering
from backend.payments import service as payments
from backend.settlement import repository, rules
from backend.tariffs import service as tariffs
from backend.water_sessions import service as water_sessions
from backend.water_sessions.types import WaterSession

log = logging.getLogger(__name__)


def happened_at(of: WaterSession, now: datetime) -> datetime:
    """
    Return where a session's money stands in the books: when its valve closed, never before its money was held.

    `payments.happened_at` says how far a device's clock is believed.
    """
    return payments.happened_at(of.closed_at, not_before=of.authorized_at or of.requested_at, now=now)


def read(
    conn: Connection,
    of: WaterSession,
    cause: str,
    at: datetime,
    pulses: int,
    k_factor: int,
    *,
    store: Callable[[Connection, metering.Reading], object] = metering.record,
) -> None:
    """Store what a session's register said at one of its ends."""
    store(
        conn,
        metering.Reading(
            tenant_id=of.tenant_id,
            device_id=of.device_id,
            read_at=at,
            register_pulses=pulses,
            k_factor_pulses_per_m3=k_factor,
            cause=cause,
            reference=of.water_session_id,
        ),
    )


def billed(conn: Connection, of: WaterSession, held_minor: int) -> rules.Bill:
    """Return what a session's water costs by the tariff it was started under, split at what is held."""
    assert of.opening_pulses is not None
    assert of.closing_pulses is not None
    assert of.k_factor_pulses_per_m3 is not None
    return rules.bill(
        tariffs.version(conn, of.tenant_id, of.tariff_id, of.tariff_version),
        opening_pulses=of.opening_pulses,
        closing_pulses=of.closing_pulses,
        k_factor_pulses_per_m3=of.k_factor_pulses_per_m3,
        held_minor=held_minor,
    )


def lose(conn: Connection, ended: WaterSession, now: datetime) -> WaterSession:
    """Write water down as the operator's loss whose hold was given back before its ending was known."""
    bill = billed(conn, ended, 0)
    if bill.pulses > 0:
        write_loss(conn, ended, "after_release", bill.volume_ml, bill.overrun_minor, now)
    return water_sessions.amend(
        conn,
        ended,
        volume_ml=bill.volume_ml,
        charge_minor=bill.charge_minor,
        captured_minor=0,
        overrun_minor=bill.overrun_minor,
    )


def correct(conn: Connection, settled: WaterSession, evidence: dict[str, Any], now: datetime) -> WaterSession:
    """
    Put the true ending in place of the reading that stood in for it; nobody is charged a second time.

    More water is the operator's loss. Less water is taken off the loss that was booked from the reading, if any; what
    was charged beyond that is given back at once, and is a case for a person to look at: why did the reading that stood
    in say more?
    """
    was_volume_ml, captured = settled.volume_ml or 0, settled.captured_minor or 0
    lost = settled.overrun_minor or 0
    after = water_sessions.amend(conn, settled, **evidence)
    assert after.closed_at is not None
    assert after.opening_pulses is not None
    assert after.closing_pulses is not None
    assert after.k_factor_pulses_per_m3 is not None
    k_factor = after.k_factor_pulses_per_m3
    started_at = min(settled.opened_at or after.closed_at, after.closed_at)
    for cause, at, pulses in (
        ("opening", started_at, after.opening_pulses),
        ("closing", after.closed_at, after.closing_pulses),
    ):
        read(conn, after, cause, at, pulses, k_factor, store=metering.correct)
    bill = billed(conn, after, 0)
    more_minor = bill.charge_minor - captured - lost
    if more_minor > 0 or bill.volume_ml > was_volume_ml:
        more_ml = bill.volume_ml - was_volume_ml
        write_loss(conn, after, "after_reading", max(more_ml, 0), max(more_minor, 0), now)
    elif more_minor < 0:
        less_ml, back_minor = was_volume_ml - bill.volume_ml, min(lost, -more_minor)
        if back_minor > 0:
            _take_loss_back(conn, after, less_ml, back_minor, now)
        if bill.charge_minor < captured:
            log.error("charged too much from a reading", extra={"session": after.water_session_id})
            _give_back(conn, after, less_ml, captured - bill.charge_minor, now)
        lost -= back_minor
    return water_sessions.amend(
        conn,
        after,
        volume_ml=bill.volume_ml,
        charge_minor=bill.charge_minor,
        overrun_minor=lost + max(more_minor, 0),
    )


def _give_back(conn: Connection, of: WaterSession, volume_ml: int, amount_minor: int, now: datetime) -> None:
    """Refund what was charged too much, once per session; less if some of it was refunded before."""
    if not _write_down(conn, of, "overcharged", volume_ml, amount_minor, now):
        return
    payments.open_case(
        conn,
        tenant_id=of.tenant_id,
        kind="overcharged",
        subject_id=of.water_session_id,
        amount_minor=amount_minor,
        evidence={"auth_id": of.auth_id, "device_id": of.device_id, "volume_ml": volume_ml},
        now=now,
    )
    ledger.lock(conn, of.tenant_id)
    refund_minor = min(amount_minor, payments.refundable_minor(conn, of.tenant_id, of.auth_id))
    if refund_minor > 0:
        payments.request_refund(
            conn,
            tenant_id=of.tenant_id,
            refund_id=f"rf_{of.water_session_id.removeprefix('ws_')}_overcharged",
            auth_id=of.auth_id,
            amount_minor=refund_minor,
            reason="overcharged",
            now=now,
        )


def _take_loss_back(conn: Connection, of: WaterSession, volume_ml: int, amount_minor: int, now: datetime) -> None:
    """Take off the operator's loss what a reading had said too much, by an entry of its own, once per session."""
    if _write_down(conn, of, "loss_taken_back", volume_ml, amount_minor, now):
        payments.take_overrun_back(
            conn,
            tenant_id=of.tenant_id,
            water_session_id=of.water_session_id,
            amount_minor=amount_minor,
            transfer_id=f"tr_{of.water_session_id.removeprefix('ws_')}.loss_taken_back",
            now=now,
        )


def _write_down(
    conn: Connection, of: WaterSession, cause: str, volume_ml: int, amount_minor: int, now: datetime
) -> bool:
    assert of.closed_at is not None
    return repository.store_unbilled(
        conn,
        {
            "tenant_id": of.tenant_id,
            "water_session_id": of.water_session_id,
            "cause": cause,
            "device_id": of.device_id,
            "opening_pulses": of.opening_pulses,
            "closing_pulses": of.closing_pulses,
            "volume_ml": volume_ml,
            "amount_minor": amount_minor,
            "event_at": of.closed_at,
            "recorded_at": now,
        },
    )


def write_loss(
    conn: Connection, of: WaterSession, cause: str, volume_ml: int, amount_minor: int, now: datetime
) -> None:
    """Write water down that nobody pays for, and book it as the operator's loss, once per session and cause."""
    is_new = _write_down(conn, of, cause, volume_ml, amount_minor, now)
    if is_new and amount_minor > 0:
        log.warning("water beyond its hold", extra={"session": of.water_session_id, "amount": amount_minor})
        payments.record_overrun(
            conn,
            tenant_id=of.tenant_id,
            water_session_id=of.water_session_id,
            amount_minor=amount_minor,
            transfer_id=f"tr_{of.water_session_id.removeprefix('ws_')}.{cause}",
            now=now,
            at=happened_at(of, now),
        )
