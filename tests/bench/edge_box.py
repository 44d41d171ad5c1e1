"""
A small box: our gateway pinned to one core, with eight serial lines of 32 outlets at 38,400 baud.

A quarter of the outlets is open, as in a busy evening, and cards are held to others. The lines are pseudo-terminals on
which every exchange takes as long as on a wire. How long a tap takes is what a student waits; the rest says what is
left of the box.
"""

import os
import random
import time
from collections.abc import Iterator

import psutil

from gateway.commands.local import ask
from gateway.modbus.load import HOST_MS, exchange_ms, read_bytes
from tests.bench.edge_ours import NAME, running
from tests.bench.edge_site import Meter, broker, folder, outlets, taps
from tests.bench.figures import Figure, percentile

_LINES, _UNITS, _BAUD = 8, 32, 38_400
_SECONDS = 20.0
_TAPS = 60
_MEMORY_MIB = 512.0


def measure_box() -> Iterator[Figure]:
    """Yield CPU, memory, sweep time, load of the lines and the time from tap to frame."""
    with (
        folder() as home,
        outlets(home, _LINES, _UNITS, _BAUD) as site,
        broker(home) as port,
        running(home, site, port, baud=_BAUD) as ours,
    ):
        process = psutil.Process(ours.pid)
        for pid in [process.pid, *(thread.id for thread in process.threads())]:
            os.sched_setaffinity(pid, {0})
        places = site.places
        ours.open_some([place for at, place in enumerate(places) if at % 4 == 0])
        ask(home / "state")  # the first look begins the measure of the lines' load
        site.do("reset")
        meter = Meter(ours.pid)
        time.sleep(_SECONDS)
        use, report, lines = meter.use(), site.do("report"), ask(home / "state").lines
        ours.answer_taps()
        chance = random.Random(1)
        waits = taps(
            site,
            NAME,
            lambda line, unit: ours.close(line, unit),
            count=_TAPS,
            pause_s=lambda: 0.2 + chance.random(),
            places=[place for at, place in enumerate(places) if at % 4 == 2],
        )
        peak_mib = _peak_mib(ours.pid)
    conditions = (
        f"one core, {_LINES} serial lines at {_BAUD} baud with {_UNITS} outlets each, a quarter open; {len(waits)} taps"
    )
    loads = [line.load_permille or 0 for line in lines]
    expected = [line.budget_quarter_permille or 0 for line in lines]
    flags_s = _UNITS * exchange_ms(*read_bytes("discrete", 16), _BAUD, host_ms=HOST_MS) / 1_000
    yield Figure("box: CPU", 100 * use.cpu_s / use.seconds, "% of a core", conditions=conditions)
    yield Figure("box: memory, peak", peak_mib, "MiB", "the box has", _MEMORY_MIB, conditions)
    yield Figure("box: requests on all lines", report["requests"] / use.seconds, "/s", conditions=conditions)
    yield Figure("box: busiest line", max(loads) / 10, "%", "as computed from its configuration", max(expected) / 10)
    yield Figure("box: one look at every unit of a line, wire time", flags_s, "s", conditions=conditions)
    for share, word in ((0.5, "p50"), (0.99, "p99")):
        yield Figure(f"box: tap to opening frame, {word}", percentile(waits, share), "ms", conditions=conditions)


def _peak_mib(pid: int) -> float:
    with open(f"/proc/{pid}/status", encoding="ascii") as status:  # noqa: PTH123 - no file of ours
        for line in status:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1_024
    raise AssertionError("a process without memory")
