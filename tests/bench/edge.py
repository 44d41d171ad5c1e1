"""
Our gateway beside ThingsBoard's and Node-RED, one after another on the same simulated outlets, in the same run.

All poll the same 28 status registers of every outlet over Modbus TCP, and each sends what it makes of them through a
Mosquitto of its own. Two things are told apart, and each is given for a second of CPU: what was polled (read, and with
ours checked, decoded and held against limits and leases), and what came out at the broker. ThingsBoard's sends each
poll decoded, one request per value; Node-RED sends each poll undecoded. Ours, with all outlets open, sends one sample a
second per outlet as it is installed, and is run a second time with a sample of each poll (`sample_period_ms`): six
values out of the 28 registers.

A tap is a card that shows in a register; the clock stops when the opening frame is on the wire. Ours until then also
verifies a signature, writes to disk and reads the outlet.

`--part 32,256,1000` is that comparison at three sizes, `--part rtu` our exchanges on a serial line beside what the wire
takes at least, and `--part box` eight lines of 32 on one core.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from tests.bench.edge_box import measure_box
from tests.bench.edge_ours import NAME, measured, running
from tests.bench.edge_peers import NODE_RED, THINGSBOARD, node_red, thingsboard
from tests.bench.edge_rtu import measure_rtu
from tests.bench.edge_site import NotPossible, Outlets, Use, broker, folder, outlets, taps
from tests.bench.figures import Figure, percentile

TELLING_ALL = f"{NAME}, each poll told"
#: how often ours tells a sample as it is installed
SAMPLE_MS = 900
_SETTLE_S = 4.0
_SECONDS = 8.0
_TAPS = 40
_TAPS_SLOW = 10
#: an opening that takes longer is none
_PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Size:
    """So many outlets on so many ports, each polled so often."""

    lines: int
    units: int
    period_ms: int

    @property
    def devices(self) -> int:
        """How many outlets."""
        return self.lines * self.units


SIZES = (Size(1, 32, 100), Size(8, 32, 250), Size(8, 125, 1_000))


@dataclass(frozen=True, slots=True)
class Found:
    """What one gateway did at one size."""

    registers_per_s: float
    #: polls of an outlet that came out at the broker, in whatever form
    told_per_s: float
    use: Use
    taps_ms: list[float]

    @property
    def per_cpu_s(self) -> float:
        """Registers polled for a second of CPU."""
        return self.registers_per_s * self.use.seconds / max(self.use.cpu_s, 0.01)

    @property
    def told_per_cpu_s(self) -> float:
        """Polls that came out at the broker for a second of CPU."""
        return self.told_per_s * self.use.seconds / max(self.use.cpu_s, 0.01)


def _pause(chance: random.Random, size: Size) -> Callable[[], float]:
    return lambda: 0.15 + chance.random() * size.period_ms / 1_000


def _ours(size: Size, site: Outlets, *, telling_all: bool) -> Found:
    """Measure ours with a sample a second or, told to tell all, with one of each poll; taps only the first time."""
    sample_ms = size.period_ms // 2 if telling_all else 0
    with (
        folder() as home,
        broker(home) as port,
        running(home, site, port, period_ms=size.period_ms, sample_ms=sample_ms) as ours,
    ):
        found_ms: list[float] = []
        if not telling_all:
            ours.answer_taps()
            try:
                found_ms = taps(site, NAME, ours.close, count=_TAPS, pause_s=_pause(random.Random(1), size))
            except NotPossible as error:
                print(
                    f"a tap among {size.devices} devices opened nothing: {error}; refused: {ours.refused()}", flush=True
                )
            ours.all_ended()
        ours.open_all()
        time.sleep(_SETTLE_S)
        return Found(*measured(ours, site, _SECONDS), found_ms)


def _peer(name: str, size: Size, site: Outlets) -> Found:
    start = thingsboard if name == THINGSBOARD else node_red
    with folder() as home, broker(home) as port, start(home, site, port, period_ms=size.period_ms) as peer:
        time.sleep(_SETTLE_S)
        registers, values, use = peer.measured(_SECONDS)
        # a poller that is behind answers late or never, and each tap would wait for it
        count = _TAPS if registers * size.period_ms / 1_000 > 0.8 * 28 * size.devices else _TAPS_SLOW
        peer.listener.answers = True
        pause = _pause(random.Random(1), size)
        try:
            found_ms = taps(site, name, lambda line, unit: None, count=count, pause_s=pause, patience_s=_PATIENCE_S)
        except NotPossible as error:
            print(f"no time from tap to frame with {size.devices} devices: {error}", flush=True)
            found_ms = []
        return Found(registers, values / 28, use, found_ms)


def _figures(size: Size, found: dict[str, Found]) -> Iterator[Figure]:
    asked = 28_000 * size.devices // size.period_ms
    conditions = f"{size.devices} devices on {size.lines} ports, polled every {size.period_ms} ms ({asked} registers/s)"
    at = f"{size.devices} devices"
    for name, each in found.items():
        own = f"{conditions}; {len(each.taps_ms)} taps; load average {os.getloadavg()[0]:.1f}"
        beside = [(other, found[other]) for other in found if not other.startswith(NAME)]
        if not name.startswith(NAME):
            beside = [("", each)]
        yield Figure(f"{name}: registers polled, {at}", each.registers_per_s, "/s", conditions=own)
        yield Figure(f"{name}: polls, {at}", each.registers_per_s / 28, "/s", conditions=own)
        yield Figure(f"{name}: polls told through the broker, {at}", each.told_per_s, "/s", conditions=own)
        yield Figure(f"{name}: CPU, {at}", 100 * each.use.cpu_s / each.use.seconds, "% of a core", conditions=own)
        yield Figure(f"{name}: memory, {at}", each.use.rss_mib, "MiB", conditions=own)
        for other, theirs in beside:
            end = f"{at}, beside {other.split(',')[0]}" if other else at
            polled, told = (theirs.per_cpu_s, theirs.told_per_cpu_s) if other else (None, None)
            yield Figure(f"{name}: registers per CPU-second, {end}", each.per_cpu_s, "/CPU-s", other, polled, own)
            yield Figure(f"{name}: polls told per CPU-second, {end}", each.told_per_cpu_s, "/CPU-s", other, told, own)
        for share, word in ((0.5, "p50"), (0.99, "p99")) if each.taps_ms else ():
            yield Figure(
                f"{name}: tap to opening frame, {at}, {word}", percentile(each.taps_ms, share), "ms", "", None, own
            )


def measure_peers(size: Size) -> Iterator[Figure]:
    """Yield the comparison at one size."""
    found: dict[str, Found] = {}
    for name in (NAME, TELLING_ALL):
        if name == NAME or size.period_ms < SAMPLE_MS:  # else a sample a second is one of each poll
            with folder() as home, outlets(home, size.lines, size.units) as site:
                found[name] = _ours(size, site, telling_all=name == TELLING_ALL)
    for name in (NODE_RED, THINGSBOARD):
        try:
            with folder() as home, outlets(home, size.lines, size.units) as site:
                found[name] = _peer(name, size, site)
        except NotPossible as error:
            print(f"{name} is not measured with {size.devices} devices: {error}", flush=True)
    yield from _figures(size, found)


PARTS: dict[str, Callable[[], Iterator[Figure]]] = {
    **{str(size.devices): partial(measure_peers, size) for size in SIZES},
    "rtu": measure_rtu,
    "box": measure_box,
}


def measure_edge() -> Iterator[Figure]:
    """Yield the figures of all parts, or of those that are asked for."""
    wanted = os.environ.get("CAMPUSTAP_BENCH_PART", "")
    for name in wanted.split(",") if wanted else list(PARTS):
        if name not in PARTS:
            raise SystemExit(f"edge has no part {name!r}; there are: {', '.join(PARTS)}")
        yield from PARTS[name]()
