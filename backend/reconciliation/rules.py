"""
What must agree, and what it is called when it does not. Pure: figures in, breaks out.

Water is compared by register values, not by the order of arrival: the sessions of an outlet, in order of time, must
each open where the one before closed. What lies between is a gap: water that no session explains. So for each outlet

    register delta = billed + free + lost + gaps, to the pulse

where *free* ran in sessions that cost nothing, and *lost* in sessions whose charge nobody paid. Where session and
meter reading tell different figures, the pair that agrees with the billed usage is believed for the continuity and the
other one is the break, so that one wrong figure is one break.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from backend.metering.rules import Reading, usage_pulses
from backend.water_sessions.types import WaterSession
from gateway.contract.units import volume_ml

FACILITIES, FINANCE, OPERATOR = "facilities", "finance", "operator"


@dataclass(frozen=True, slots=True)
class Break:
    """Something that does not agree: how much money and water it is about, why, and who looks into it."""

    kind: str
    #: a device, a water session, a hold or a ledger account
    subject: str
    amount_minor: int
    volume_ml: int
    cause: str
    #: facilities, finance or operator
    owner: str
    pulses: int = 0


@dataclass(frozen=True, slots=True)
class RegisterPair:
    """The register a session opened and closed at."""

    opening: int
    closing: int

    @property
    def pulses(self) -> int:
        """Return the pulses between the two."""
        return usage_pulses(self.opening, self.closing).pulses


@dataclass(slots=True)
class DeviceReport:
    """An outlet's water: the register's own delta and what explains it."""

    register_pulses: int = 0
    billed_pulses: int = 0
    free_pulses: int = 0
    lost_pulses: int = 0
    gap_pulses: int = 0
    breaks: list[Break] = field(default_factory=list)


def _own_pair(session: WaterSession) -> RegisterPair:
    assert session.opening_pulses is not None
    assert session.closing_pulses is not None
    return RegisterPair(session.opening_pulses, session.closing_pulses)


def check_readings(
    session: WaterSession, readings: Mapping[tuple[str, str], Reading]
) -> tuple[RegisterPair, Break | None]:
    """
    Return the register pair to believe, and the break if the session's figures and its meter readings differ.

    :param readings: by (cause, water session id).
    """
    own = _own_pair(session)
    opening = readings.get(("opening", session.water_session_id))
    closing = readings.get(("closing", session.water_session_id))
    if opening is None or closing is None:
        return own, Break("reading_missing", session.water_session_id, 0, 0, "a meter reading is missing", OPERATOR)
    read = RegisterPair(opening.register_pulses, closing.register_pulses)
    if read == own:
        return own, None
    believed = own if own.pulses == session.usage_pulses else read
    difference = abs(read.closing - own.closing) + abs(read.opening - own.opening)
    cause = f"session says {own.opening} to {own.closing}, readings say {read.opening} to {read.closing}"
    liters = _volume(difference, session)
    return believed, Break("reading_mismatch", session.water_session_id, 0, liters, cause, OPERATOR, difference)


def _volume(pulses: int, session: WaterSession) -> int:
    assert session.k_factor_pulses_per_m3 is not None
    return volume_ml(pulses=pulses, k_factor_pulses_per_m3=session.k_factor_pulses_per_m3)


def check_figures(session: WaterSession, believed: RegisterPair, expected_charge_minor: int) -> Break | None:
    """Return the first of usage, volume and charge that does not follow from the register pair."""
    subject = session.water_session_id
    pulses = believed.pulses
    if session.usage_pulses != pulses:
        off = (session.usage_pulses or 0) - pulses
        cause = f"billed {session.usage_pulses} pulses, the registers say {pulses}"
        return Break("usage_mismatch", subject, 0, _volume(abs(off), session), cause, OPERATOR, off)
    volume = _volume(pulses, session)
    if session.volume_ml != volume:
        off = (session.volume_ml or 0) - volume
        return Break("volume_mismatch", subject, 0, off, f"billed {session.volume_ml} ml, it was {volume}", OPERATOR)
    if session.charge_minor != expected_charge_minor:
        off = (session.charge_minor or 0) - expected_charge_minor
        cause = f"charged {session.charge_minor}, the tariff says {expected_charge_minor}"
        return Break("charge_mismatch", subject, off, 0, cause, FINANCE)
    return None


def check_money(
    session: WaterSession,
    *,
    ledger_captured: int,
    ledger_overrun: int,
    expected_charge_minor: int,
    ledger_refunded: int = 0,
) -> Break | None:
    """
    Return the first disagreement between what a session says was paid and what the ledger holds under its name.

    What was captured beyond the charge is no break once so much was refunded; a refund may well be more.
    """
    subject, captured, overrun = session.water_session_id, session.captured_minor or 0, session.overrun_minor or 0
    if ledger_captured != captured:
        kind = "session_without_money" if ledger_captured == 0 else "capture_mismatch"
        cause = f"session says {captured} captured, the ledger {ledger_captured}"
        return Break(kind, subject, captured - ledger_captured, session.volume_ml or 0, cause, FINANCE)
    if ledger_overrun != overrun:
        cause = f"session says {overrun} lost, the ledger {ledger_overrun}"
        return Break("overrun_mismatch", subject, overrun - ledger_overrun, session.volume_ml or 0, cause, FINANCE)
    if captured > session.hold_minor:
        cause = f"captured {captured} of a hold of {session.hold_minor}"
        return Break("capture_beyond_hold", subject, captured - session.hold_minor, 0, cause, FINANCE)
    if not expected_charge_minor <= captured + overrun <= expected_charge_minor + ledger_refunded:
        cause = f"captured {captured} and lost {overrun} are not the charge {expected_charge_minor}"
        return Break("split_mismatch", subject, captured + overrun - expected_charge_minor, 0, cause, FINANCE)
    return None


def _between(device_id: str, before: int, after: int, k_factor: int, reported: Sequence[Reading]) -> Break | None:
    """Return the gap between a closing and the next opening, or None if there is none."""
    if before == after:
        return None
    usage = usage_pulses(before, after)
    liters = volume_ml(pulses=usage.pulses, k_factor_pulses_per_m3=k_factor)
    if usage.note == "reset":
        cause = f"the meter fell from {before} to {after}: reset or replaced"
        return Break("register_reset", device_id, 0, liters, cause, FACILITIES, usage.pulses)
    seen = any(before < reading.register_pulses <= after for reading in reported)
    cause = "flow while closed, reported by the gateway" if seen else "flow that nothing reported"
    return Break("register_gap", device_id, 0, liters, f"{cause}: {before} to {after}", FACILITIES, usage.pulses)


def _tail(
    pair: RegisterPair | None, loose: Sequence[Reading], live: WaterSession | None, last_closed_at: datetime | None
) -> int | None:
    """Return the register an outlet stands at after its last session, as far as it is nobody's running water."""
    if live is not None and live.opening_pulses is not None:
        return live.opening_pulses
    blind_from = None if live is None else live.authorized_at or live.requested_at
    after = [
        reading.register_pulses
        for reading in loose
        if (last_closed_at is None or reading.read_at > last_closed_at)
        and (blind_from is None or reading.read_at < blind_from)
    ]
    if not after:
        return None
    if pair is None or after[-1] < pair.opening:
        return after[-1]
    return max(pair.closing, *after)


def check_continuity(
    device_id: str,
    sessions: Sequence[tuple[WaterSession, RegisterPair]],
    loose: Sequence[Reading],
    live: WaterSession | None,
) -> DeviceReport:
    """
    Return an outlet's water with a break for each gap, overlap and reset.

    :param sessions: ended sessions with the pair to believe, by closing time.
    :param loose: readings that belong to no session, by time.
    :param live: the session running now; water after its opening is its own.
    """
    report = DeviceReport()
    first_at = sessions[0][0].opened_at or sessions[0][0].closed_at if sessions else None
    head = [
        reading.register_pulses
        for reading in loose
        if first_at is not None and reading.read_at < first_at and reading.register_pulses <= sessions[0][1].opening
    ]
    if not sessions and loose:
        head = [loose[0].register_pulses]
    flow_reports = [reading for reading in loose if reading.cause == "unbilled_flow"]
    cursor = min(head) if head else sessions[0][1].opening if sessions else None
    k_factor = loose[-1].k_factor_pulses_per_m3 if loose else 0
    before: RegisterPair | None = None
    for session, pair in sessions:
        assert cursor is not None
        k_factor = session.k_factor_pulses_per_m3 or k_factor
        if before is not None and before.opening <= pair.opening < before.closing:
            off = before.closing - pair.opening
            cause = f"opened at {pair.opening}, the one before closed at {before.closing}"
            overlap = Break(
                "register_overlap", session.water_session_id, 0, _volume(off, session), cause, OPERATOR, -off
            )
            report.breaks.append(overlap)
            report.gap_pulses -= off
            report.register_pulses -= off
        elif found := _between(device_id, cursor, pair.opening, k_factor, flow_reports):
            report.breaks.append(found)
            report.gap_pulses += found.pulses
            report.register_pulses += found.pulses
        report.register_pulses += pair.pulses
        _count_usage(report, session)
        cursor, before = pair.closing, pair
    end = _tail(before, loose, live, sessions[-1][0].closed_at if sessions else None)
    if cursor is not None and end is not None and k_factor > 0:
        found = _between(device_id, cursor, end, k_factor, flow_reports)
        if found is not None:
            report.breaks.append(found)
            report.gap_pulses += found.pulses
            report.register_pulses += found.pulses
    return report


def _count_usage(report: DeviceReport, session: WaterSession) -> None:
    pulses = session.usage_pulses or 0
    if session.captured_minor:
        report.billed_pulses += pulses
    elif session.overrun_minor:
        report.lost_pulses += pulses
    else:
        report.free_pulses += pulses


def check_sum(device_id: str, report: DeviceReport) -> Break | None:
    """Return a break if an outlet's register delta is not what is billed and explained, to the pulse."""
    explained = report.billed_pulses + report.free_pulses + report.lost_pulses + report.gap_pulses
    if explained == report.register_pulses:
        return None
    off = explained - report.register_pulses
    cause = f"billed and explained {explained} pulses, the register moved {report.register_pulses}"
    return Break("register_sum", device_id, 0, 0, cause, OPERATOR, off)
