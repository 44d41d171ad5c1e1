"""
Disputing a water session: settled → disputed while finance looks at it → settled when they have decided.

What is kept of a dispute and what it does to money is in `backend.payments.disputes`; here its session moves along, in
the same transaction. A refund that the second person then refuses leaves the dispute open again and the session
settled: what the water was and cost is not in question any more, only what is given back.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from backend.outbox import service as outbox
from backend.payments import disputes as records
from backend.payments import people_rules
from backend.payments.disputes import Dispute, DisputeNotPossible, DisputeOpen, dispute, disputes
from backend.water_sessions import service
from backend.water_sessions.machine import Event, State
from backend.water_sessions.types import WaterSession

__all__ = ["Dispute", "decide_dispute", "dispute", "disputes", "evidence_of", "open_dispute"]

_EVIDENCE = (
    "device_id",
    "stop_reason",
    "evidence",
    "device_log_sequence",
    "opening_pulses",
    "closing_pulses",
    "k_factor_pulses_per_m3",
    "usage_pulses",
    "usage_note",
    "volume_ml",
    "charge_minor",
    "captured_minor",
    "duration_s",
    "temperature_decidegc",
)


def evidence_of(session: WaterSession, reason: str) -> dict[str, Any]:
    """Return what the meter and the device's log say about a session, with what that makes the dispute worth."""
    suggested = people_rules.suggested_minor(
        reason,
        captured_minor=session.captured_minor or 0,
        volume_ml=session.volume_ml,
        temperature_decidegc=session.temperature_decidegc,
    )
    return {**{name: getattr(session, name) for name in _EVIDENCE}, "suggested_minor": suggested}


def open_dispute(
    conn: Connection,
    *,
    tenant_id: str,
    dispute_id: str,
    water_session_id: str,
    cardholder_id: str,
    reason: str,
    text: str,
    now: datetime,
) -> Dispute:
    """
    Return a new dispute about a settled session, or the one this id already stands for.

    :raises backend.water_sessions.service.WaterSessionUnknown: if the person has none with this id; that somebody
        else has one is told to nobody.
    :raises DisputeNotPossible: if it is not settled; and the other refusals of `payments.disputes.record_dispute`.
    """
    outbox.take_turn(conn, tenant_id)
    session = service.locked(conn, tenant_id, water_session_id)
    if session.cardholder_id != cardholder_id:
        raise service.WaterSessionUnknown(f"no water session {water_session_id!r}")
    if session.state not in (State.SETTLED, State.DISPUTED) or session.settled_at is None:
        raise DisputeNotPossible(water_session_id=water_session_id)
    opened, is_new = records.record_dispute(
        conn,
        tenant_id=tenant_id,
        dispute_id=dispute_id,
        water_session_id=water_session_id,
        cardholder_id=cardholder_id,
        reason=reason,
        text=text,
        settled_at=session.settled_at,
        evidence=evidence_of(session, reason),
        now=now,
    )
    if is_new:
        if session.state is State.DISPUTED:
            raise DisputeOpen(water_session_id=water_session_id)
        service.advance(conn, session, Event.DISPUTE_OPENED)
    return opened


def decide_dispute(
    conn: Connection,
    *,
    tenant_id: str,
    dispute_id: str,
    upheld_minor: int,
    answer: str,
    decided_by: str,
    entry_id: str,
    now: datetime,
) -> Dispute:
    """
    Return the dispute after deciding it: an amount upholds it and proposes the refund `entry_id`, zero rejects it.

    :raises BackendError: as `payments.disputes.record_decision` does; nothing is changed.
    """
    outbox.take_turn(conn, tenant_id)
    found = dispute(conn, tenant_id, dispute_id)
    session = service.locked(conn, tenant_id, found.water_session_id)
    decided = records.record_decision(
        conn,
        tenant_id=tenant_id,
        dispute_id=dispute_id,
        upheld_minor=upheld_minor,
        answer=answer,
        decided_by=decided_by,
        entry_id=entry_id,
        now=now,
    )
    if session.state is State.DISPUTED and decided.state != "open":
        service.advance(conn, session, Event.DISPUTE_CLOSED)
    return decided
