"""
The voltage at the far end of a feed, and what its supply must deliver.

Outlets hang on one pair of cores at equal distances. Worst case: the valves that are open are the farthest ones.
Nothing limits how many valves are open at once, so a feed that is built carries all of its valves. The computer in the
gateway box hangs on the same supply and the same fuse; its current does not flow through the pair. Readers have a fuse
and a pair of their own on the same supply.
"""

import math
from dataclasses import dataclass

#: copper at 20 °C
RESISTIVITY_OHM_MM2_PER_M = 0.0175
#: 24 V less 15 %: what valve and controller still work at
END_VOLTAGE_V_MIN = 20.4
SUPPLY_RESERVE = 1.2
#: what a fuse carries for long, of its rating; also the share of every current in the parts lists
FUSE_SHARE = 0.70
#: the listed supply and fuse; the check of the parts lists compares them
SUPPLY_W, FUSE_A = 240.0, 8.0
#: the computer with its USB devices: 20 W
GATEWAY_A = 0.83
OUTLETS_MAX = 16
#: a reader ACR-1 at its most, the fuse of their pair, and how many there may be; they lie 5 m apart at most
READER_A, READER_FUSE_A, READERS_MAX, READER_SPACING_M = 0.15, 2.0, 8, 5.0
CORES_MM2 = (0.5, 0.75, 1.0, 1.5, 2.5, 4.0)
#: what a core of the usual cross-sections carries for long, in amperes; a choice on the safe side of what makers of
#: flexible cables state, 15 A as in the parts lists; the next thinner one counts for a core between them
CORE_CARRIES_A = {0.5: 3.0, 0.75: 6.0, 1.0: 10.0, 1.5: 15.0, 2.5: 20.0, 4.0: 25.0}


@dataclass(frozen=True, slots=True)
class Feed:
    """One supply with the outlets on its pair of cores."""

    outlets: int
    open_at_once: int
    core_mm2: float
    supply_w: float = SUPPLY_W
    supply_v: float = 24.0
    spacing_m: float = 3.0
    idle_a: float = 0.040
    valve_a: float = 0.250
    fuse_a: float = FUSE_A
    gateway_a: float = GATEWAY_A
    #: on a pair of their own
    readers: int = 0

    def __post_init__(self) -> None:
        if self.readers < 0:
            raise ValueError(f"there cannot be {self.readers} readers")
        if self.outlets < 1 or not 0 <= self.open_at_once <= self.outlets:
            raise ValueError(f"of {self.outlets} outlets {self.open_at_once} cannot be open")
        figures = (self.core_mm2, self.supply_w, self.supply_v, self.spacing_m, self.idle_a, self.valve_a, self.fuse_a)
        if not all(math.isfinite(each) for each in (*figures, self.gateway_a)):
            raise ValueError("cross-section, supply, spacing and currents must be finite numbers")
        if min(figures) <= 0 or self.gateway_a < 0:
            raise ValueError("cross-section, supply, spacing and currents must be positive")


def load_a(feed: Feed) -> float:
    """Return what flows into the pair in the worst case, in amperes."""
    return feed.outlets * feed.idle_a + feed.open_at_once * feed.valve_a


def fused_a(feed: Feed) -> float:
    """Return what flows through the feed's fuse in the worst case, the gateway's computer included, in amperes."""
    return load_a(feed) + feed.gateway_a


def readers_a(feed: Feed) -> float:
    """Return what flows into the readers' pair and its fuse in the worst case, in amperes."""
    return feed.readers * READER_A


def supply_a(feed: Feed) -> float:
    """Return what the supply delivers in the worst case: outlets, computer and readers, in amperes."""
    return fused_a(feed) + readers_a(feed)


def end_voltage_v(feed: Feed) -> float:
    """Return the voltage at the farthest outlet, in volts; both cores of the pair count."""
    segment_ohm = 2 * feed.spacing_m * RESISTIVITY_OHM_MM2_PER_M / feed.core_mm2
    drop_v = 0.0
    for beyond in range(1, feed.outlets + 1):  # outlets at and behind the far end of this segment
        current_a = beyond * feed.idle_a + min(beyond, feed.open_at_once) * feed.valve_a
        drop_v += current_a * segment_ohm
    return feed.supply_v - drop_v


def reader_voltage_v(feed: Feed) -> float:
    """Return the voltage at the farthest reader, in volts; their pair has the cross-section of the feed's."""
    segment_ohm = 2 * READER_SPACING_M * RESISTIVITY_OHM_MM2_PER_M / feed.core_mm2
    return feed.supply_v - READER_A * segment_ohm * feed.readers * (feed.readers + 1) / 2


def core_carries_a(core_mm2: float) -> float:
    """Return what a core carries for long, in amperes; nothing is known of one thinner than the usual."""
    return max((carried_a for usual_mm2, carried_a in CORE_CARRIES_A.items() if usual_mm2 <= core_mm2), default=0.0)


def refusals(feed: Feed) -> list[str]:
    """Return why a feed must not be built like this; nothing if it may."""
    found = []
    if feed.outlets > OUTLETS_MAX:
        found.append(f"{feed.outlets} outlets on one feed: at most {OUTLETS_MAX}; make another feed")
    end_v = end_voltage_v(feed)
    if end_v < END_VOLTAGE_V_MIN:
        found.append(
            f"{end_v:.1f} V at the farthest outlet: at least {END_VOLTAGE_V_MIN} V is needed; {_thicker(feed)}"
        )
    all_a = supply_a(feed)
    available_a, needed_a = feed.supply_w / feed.supply_v, all_a * SUPPLY_RESERVE
    if available_a < needed_a:
        found.append(
            f"the supply gives {available_a:.2f} A: {all_a:.2f} A × {SUPPLY_RESERVE} = {needed_a:.2f} A "
            f"are needed, {needed_a * feed.supply_v:.0f} W or more"
        )
    if fused_a(feed) > feed.fuse_a * FUSE_SHARE + 1e-9:
        found.append(f"{fused_a(feed):.2f} A is over {FUSE_SHARE:.0%} of the fuse, {feed.fuse_a:g} A")
    carried_a = core_carries_a(feed.core_mm2)
    for whose, fuse_a in (("fuse", feed.fuse_a), ("readers' fuse", READER_FUSE_A if feed.readers else 0.0)):
        if fuse_a > carried_a:
            found.append(
                f"a core of {feed.core_mm2:g} mm² carries {carried_a:g} A for long: the {whose} of {fuse_a:g} A "
                "does not protect it"
            )
    return [*found, *_readers(feed)]


def _readers(feed: Feed) -> list[str]:
    found = []
    if feed.readers > READERS_MAX:
        found.append(f"{feed.readers} readers on one feed: at most {READERS_MAX}")
    if readers_a(feed) > READER_FUSE_A * FUSE_SHARE + 1e-9:
        found.append(f"{readers_a(feed):.2f} A is over {FUSE_SHARE:.0%} of the readers' fuse, {READER_FUSE_A:g} A")
    if reader_voltage_v(feed) < END_VOLTAGE_V_MIN:
        found.append(f"{reader_voltage_v(feed):.1f} V at the farthest reader: at least {END_VOLTAGE_V_MIN} V is needed")
    return found


def _thicker(feed: Feed) -> str:
    for core_mm2 in CORES_MM2:
        drop_v = (feed.supply_v - end_voltage_v(feed)) * feed.core_mm2 / core_mm2
        if core_mm2 > feed.core_mm2 and feed.supply_v - drop_v >= END_VOLTAGE_V_MIN:
            return f"{core_mm2:g} mm² would do"
    return "no usual core is thick enough: shorten or divide the feed"
