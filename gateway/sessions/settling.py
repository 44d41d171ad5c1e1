"""
How a session's end is told, from a device's log or, when the log is gone, from its register. Pure.

Each session ends once: the caller stores the events, forgets the sessions named in `ended` and moves the log cursor in
one transaction, and only then lets the device forget the records.

Water is billed only where our own evidence says whose it was. What the register counted beyond that is told as water
nobody ordered: billed and explained together are always what the register moved.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from gateway.contract.events import Event, MeterRead, StopReason, WaterSessionEnded
from gateway.devices.ports import LogRecord, OutletStatus
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
                session,
                opening_pulses=record.total_pulses,
                started_at_ds=record.time_ds,
                foreign_from_pulses=None,  # whoever was there was there before
            )
        elif record.kind in ("CHECKPOINT", "LOCAL_CLOSE") and session is not None:
            result.sessions[record.subject_u32] = with_sight(session, record.total_pulses, now_ms)
        elif record.kind == "END" and session is not None:
            result.events.append(_ended(session, record, new_event_id(), now_ms))
            result.ended.append(session.water_session_id)
            del result.sessions[record.subject_u32]
        elif record.kind in ("START", "END", "UNBILLED_FLOW"):
            began = record.total_pulses - (0 if record.kind == "START" else record.session_pulses)
            result.sessions = {u32: _disputed(each, began) for u32, each in result.sessions.items()}
            if record.kind != "START":
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


def with_sight(session: SessionMemory, register_pulses: int, at_ms: int) -> SessionMemory:
    """Return a session with a register that the device counted for it; an older sight changes nothing."""
    if session.seen_pulses is not None and register_pulses < session.seen_pulses:
        return session
    return msgspec.structs.replace(session, seen_pulses=register_pulses, seen_at_ms=at_ms)


def _disputed(session: SessionMemory, began_pulses: int) -> SessionMemory:
    """Return a session as it is once somebody else's use has been found that began at a register."""
    if session.opening_pulses is not None and began_pulses < session.opening_pulses:
        return session  # before ours
    known = session.foreign_from_pulses
    began = began_pulses if known is None else min(began_pulses, known)
    return msgspec.structs.replace(session, foreign_from_pulses=max(began, _opening(session)))


def _opening(session: SessionMemory) -> int:
    return session.register_before_pulses if session.opening_pulses is None else session.opening_pulses


def _covered(session: SessionMemory, found: OutletStatus, now_ms: int) -> int:
    """
    Return the register up to which our own evidence says that the water was the session's.

    The device's own word for the session counts first. Where it has none, the register counts as long as our valve may
    have been open: until the lease has run out that was last known to be there. After that, or when the log tells of
    somebody else, only what was seen counts.
    """
    opening = _opening(session)
    limit = found.total_pulses if session.foreign_from_pulses is None else session.foreign_from_pulses
    limit = min(limit, found.total_pulses)
    if limit < opening:
        return found.total_pulses  # it started over: the backend judges such a pair
    if found.session_u32 == session.session_u32 and session.opening_pulses is not None and found.session_pulses:
        return min(limit, opening + found.session_pulses)
    seen = opening if session.seen_pulses is None else session.seen_pulses
    since_ms = now_ms - (session.seen_at_ms or session.begun_at_ms)
    is_ours_alone = 0 <= since_ms <= 1_000 * (session.lease_s + CLOSING_S_MAX)
    if session.foreign_from_pulses is None and found.session_u32 == session.session_u32:
        return limit  # nobody has been served there since
    return limit if is_ours_alone else min(limit, max(seen, opening))


def end_by_register(
    sessions: Iterable[SessionMemory],
    found: OutletStatus,
    *,
    device_id: str,
    k_factor_pulses_per_m3: int,
    now_ms: int,
    new_event_id: Callable[[], str],
) -> list[Event]:
    """
    Return the ends of sessions whose END records do not exist, and what the register counted beyond them.

    `found` is what their device shows, closed, with the last session it knows of and what it counted for that. Each
    pulse is billed once: where more than one session is left, an earlier one ends where the next began.
    """
    events: list[Event] = []
    ordered = sorted(sessions, key=lambda each: (each.begun_at_ms, _opening(each)))
    closed_at = None
    for session, following in itertools.zip_longest(ordered, ordered[1:]):
        closing = _covered(session, found, now_ms)
        if following is not None and _opening(session) <= _opening(following) < closing:
            closing = _opening(following)
        events.append(_ended_at(session, closing, found, now_ms, new_event_id()))
        closed_at = closing
    if closed_at is not None and closed_at < found.total_pulses:
        events.append(
            MeterRead(
                event_id=new_event_id(),
                at_ms=now_ms,
                device=device_id,
                register_pulses=found.total_pulses,
                k_factor_pulses_per_m3=k_factor_pulses_per_m3,
                device_boot_id=found.boot_id,
                cause="unbilled_flow",
            )
        )
    return events


def _ended_at(
    session: SessionMemory, closing: int, found: OutletStatus, now_ms: int, event_id: str
) -> WaterSessionEnded:
    """Return the end of a session at a register. Where the opening was never seen and none moved, it never opened."""
    opening = _opening(session)
    is_untouched = session.opening_pulses is None and closing == opening
    reason = StopReason.NOT_OPENED if is_untouched else _asked(session) or StopReason.FAULT
    return WaterSessionEnded(
        event_id=event_id,
        at_ms=now_ms,
        device=session.device_id,
        water_session_id=session.water_session_id,
        stop_reason=reason,
        opening_pulses=opening,
        closing_pulses=closing,
        k_factor_pulses_per_m3=session.k_factor_pulses_per_m3,
        temperature_decidegc=found.temperature_decidegc,
        duration_s=_believable_s(session, (now_ms - session.begun_at_ms) // 1000),
        device_boot_id=found.boot_id,
        evidence="register_continuity",
    )
