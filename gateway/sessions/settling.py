"""
How a session's end is told, from a device's log or, when the log is gone, from its register. Pure.

Each session ends once: the caller stores the events, forgets the sessions named in `ended` and moves the log cursor in
one transaction, and only then lets the device forget the records.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from gateway.contract.events import Event, MeterRead, StopReason, WaterSessionEnded
from gateway.devices.ports import LogRecord
from gateway.sessions.reasons import stop_reason
from gateway.uplink.state import SessionMemory

#: how long beyond its grant a session may have taken to close
CLOSING_S_MAX = 60


@dataclass(slots=True)
class Settled:
    """What a stretch of log means."""

    events: list[Event] = field(default_factory=list)
    #: sessions that go on, by the id the device knows, as they are now
    sessions: dict[int, SessionMemory] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    register_pulses: int | None = None
    rebooted: bool = False


def _asked(session: SessionMemory) -> StopReason | None:
    return StopReason(session.asked_stop) if session.asked_stop else None


def _believable_s(session: SessionMemory, duration_s: int) -> int:
    """Return how long a session lasted: a clock that jumped meanwhile makes it neither negative nor hours too long."""
    return min(max(0, duration_s), session.duration_limit_s + CLOSING_S_MAX)


def _ended(session: SessionMemory, record: LogRecord, event_id: str, now_ms: int) -> WaterSessionEnded:
    opening = session.opening_pulses
    if opening is None:
        opening = (record.total_pulses - record.session_pulses) % 2**64
    if session.started_at_ds is None:
        duration_s = (now_ms - session.begun_at_ms) // 1000
    else:
        duration_s = (record.time_ds - session.started_at_ds) // 10
    return WaterSessionEnded(
        event_id=event_id,
        at_ms=now_ms,
        device=session.device_id,
        water_session_id=session.water_session_id,
        stop_reason=stop_reason(device_reason=record.label, asked=_asked(session)),
        opening_pulses=opening,
        closing_pulses=record.total_pulses,
        k_factor_pulses_per_m3=session.k_factor_pulses_per_m3,
        temperature_decidegc=record.temperature_decidegc,
        duration_s=_believable_s(session, duration_s),
        device_log_sequence=record.sequence if record.evidence == "device_log" else None,
        device_boot_id=record.boot_id,
        evidence=record.evidence,
    )


def settle(
    records: Iterable[LogRecord],
    sessions: Mapping[int, SessionMemory],
    *,
    device_id: str,
    k_factor_pulses_per_m3: int,
    now_ms: int,
    new_event_id: Callable[[], str],
) -> Settled:
    """
    Return what records mean for the sessions a gateway remembers.

    An END of a session nobody remembers is water without a grant of ours: it is reported as a moved register.
    """
    result = Settled(sessions=dict(sessions))
    for record in records:
        result.register_pulses = record.total_pulses
        session = result.sessions.get(record.subject_u32)
        if record.kind == "BOOT":
            result.rebooted = True
        elif record.kind == "START" and session is not None:
            result.sessions[record.subject_u32] = msgspec.structs.replace(
                session, opening_pulses=record.total_pulses, started_at_ds=record.time_ds
            )
        elif record.kind == "END" and session is not None:
            result.events.append(_ended(session, record, new_event_id(), now_ms))
            result.ended.append(session.water_session_id)
            del result.sessions[record.subject_u32]
        elif record.kind in ("END", "UNBILLED_FLOW"):
            result.events.append(
                MeterRead(
                    event_id=new_event_id(),
                    at_ms=now_ms,
                    device=device_id,
                    register_pulses=record.total_pulses,
                    k_factor_pulses_per_m3=k_factor_pulses_per_m3,
                    device_boot_id=record.boot_id,
                    cause="unbilled_flow",
                )
            )
    return result


def ended_by_register(
    session: SessionMemory,
    *,
    register_pulses: int,
    temperature_decidegc: int | None,
    boot_id: int,
    now_ms: int,
    event_id: str,
) -> WaterSessionEnded:
    """
    Return the end of a session whose END record does not exist, from the register at hand.

    Where the opening was never seen and no register moved, it never opened.
    """
    opening = session.register_before_pulses if session.opening_pulses is None else session.opening_pulses
    if session.opening_pulses is None and register_pulses == opening:
        reason = StopReason.NOT_OPENED
    else:
        reason = _asked(session) or StopReason.FAULT
    return WaterSessionEnded(
        event_id=event_id,
        at_ms=now_ms,
        device=session.device_id,
        water_session_id=session.water_session_id,
        stop_reason=reason,
        opening_pulses=opening,
        closing_pulses=register_pulses,
        k_factor_pulses_per_m3=session.k_factor_pulses_per_m3,
        temperature_decidegc=temperature_decidegc,
        duration_s=_believable_s(session, (now_ms - session.begun_at_ms) // 1000),
        device_boot_id=boot_id,
        evidence="register_continuity",
    )
