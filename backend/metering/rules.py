"""Rules of metering: usage between two readings, and when within the time between them it was used. Pure integers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from backend.kit.clock import epoch_ms, from_epoch_ms
from gateway.contract.units import volume_ml

WRAP = 1 << 64
_HOUR_MS = 3_600_000


class InvalidRegister(ValueError):
    """A register lies outside what its meter can show."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Pulses between two readings; `note` is empty, `rollover` or `reset`."""

    pulses: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """A register seen at a time. `cause` is opening, closing, scheduled, boot or unbilled_flow."""

    tenant_id: str
    device_id: str
    read_at: datetime
    register_pulses: int
    k_factor_pulses_per_m3: int
    cause: str
    #: the water session or event it belongs to
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Movement:
    """What a register moved between two readings that follow each other."""

    earlier: Reading
    later: Reading
    usage: Usage
    #: the water session it lies in, from its opening to its closing; empty between sessions
    water_session_id: str = ""

    @property
    def volume_ml(self) -> int:
        """Return the volume by the later reading's K-factor, in millilitres, rounded down."""
        return volume_ml(pulses=self.usage.pulses, k_factor_pulses_per_m3=self.later.k_factor_pulses_per_m3)


def usage_pulses(opening: int, closing: int, *, wrap: int = WRAP) -> Usage:
    """
    Return the pulses between two readings of a register that counts up to `wrap - 1`. Never negative.

    A register that went down has rolled over if a quarter of its range at most lies between the two, going forward;
    otherwise it was reset, and only what it counted since, the closing reading, is known to have been used.

    :raises InvalidRegister: if a reading is not below `wrap`, or negative.
    """
    if not (0 <= opening < wrap and 0 <= closing < wrap):
        raise InvalidRegister(f"readings {opening} and {closing} must lie in 0..{wrap - 1}")
    if closing >= opening:
        return Usage(closing - opening)
    forward = closing - opening + wrap
    if forward <= wrap // 4:
        return Usage(forward, "rollover")
    return Usage(closing, "reset")


def hour_of(moment: datetime) -> datetime:
    """Return the start of the UTC hour a time lies in."""
    return from_epoch_ms(epoch_ms(moment) // _HOUR_MS * _HOUR_MS)


def split_by_hour(pulses: int, earlier_at: datetime, later_at: datetime) -> list[tuple[datetime, int]]:
    """
    Return (hour, pulses) in order, each hour's share by the time of it that lies between the readings.

    Whole pulses by largest remainder, the earlier hour first when equal, so that the parts sum to the whole.
    """
    start_ms, end_ms = epoch_ms(earlier_at), epoch_ms(later_at)
    assert start_ms <= end_ms, "readings are in order"
    first = start_ms // _HOUR_MS
    last = first if start_ms == end_ms else (end_ms - 1) // _HOUR_MS
    if first == last:
        return [(from_epoch_ms(first * _HOUR_MS), pulses)]
    spans = [min(end_ms, (hour + 1) * _HOUR_MS) - max(start_ms, hour * _HOUR_MS) for hour in range(first, last + 1)]
    shares = [pulses * span // (end_ms - start_ms) for span in spans]
    remainders = [pulses * span % (end_ms - start_ms) for span in spans]
    by_remainder = sorted(range(len(spans)), key=lambda index: (-remainders[index], index))
    for index in by_remainder[: pulses - sum(shares)]:
        shares[index] += 1
    return [(from_epoch_ms((first + index) * _HOUR_MS), share) for index, share in enumerate(shares)]


def _sessions_of_steps(readings: Sequence[Reading]) -> list[str]:
    """Return for each step between two neighbors the session it lies in; one without a closing claims nothing."""
    opened = {each.reference: index for index, each in enumerate(readings) if each.cause == "opening"}
    steps = [""] * max(0, len(readings) - 1)
    for index, each in enumerate(readings):
        if each.cause == "closing" and each.reference and each.reference in opened:
            for step in range(opened[each.reference], index):
                steps[step] = each.reference
    return steps


def movements(readings: Sequence[Reading]) -> list[Movement]:
    """Return what one device's register moved between each two neighbors; `readings` are ordered."""
    return [
        Movement(earlier, later, usage_pulses(earlier.register_pulses, later.register_pulses), water_session_id)
        for (earlier, later), water_session_id in zip(pairwise(readings), _sessions_of_steps(readings), strict=True)
    ]


def in_order(readings: Sequence[Reading]) -> list[Reading]:
    """
    Return one device's readings as they happened: by time; at one instant the lower register first, and a session's
    opening before its closing. A closing and the next opening show the same register, so the closing comes first then.
    """
    rank = {"boot": 0, "closing": 1, "unbilled_flow": 2, "scheduled": 3, "opening": 4}
    ordered = sorted(readings, key=lambda each: (each.read_at, each.register_pulses, rank.get(each.cause, 3)))
    for index in range(len(ordered) - 1):  # a session without any flow opens and closes on the same figures
        one, two = ordered[index], ordered[index + 1]
        is_empty_session = (one.cause, two.cause) == ("closing", "opening") and one.reference == two.reference
        if is_empty_session and one.reference:
            ordered[index], ordered[index + 1] = two, one
    return ordered


def volumes_by_hour(movement: Movement) -> list[tuple[datetime, int]]:
    """Return (hour, millilitres) of a movement; the parts sum to the movement's volume."""
    k_factor = movement.later.k_factor_pulses_per_m3
    rows: list[tuple[datetime, int]] = []
    pulses_before, volume_before = 0, 0
    for hour, pulses in split_by_hour(movement.usage.pulses, movement.earlier.read_at, movement.later.read_at):
        pulses_before += pulses
        volume_after = volume_ml(pulses=pulses_before, k_factor_pulses_per_m3=k_factor)
        rows.append((hour, volume_after - volume_before))
        volume_before = volume_after
    return rows
