"""
Holds and captures per second beside pgbench TPC-B on the same server in the same run, and what they wait.

A request is one hold or one capture. Rounds are interleaved and medians reported, so that what else the machine does
hits both sides alike. CPU per request stands beside each rate, because a busy machine distorts it least: pgbench's 32
processes claim a far bigger share of a busy machine than one writer and its server process do.

One part alone: `make bench ONLY="ledger --part open"`. `--full` takes the history to ten million rows.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median

from tests.bench import ledger_peer
from tests.bench.figures import Figure
from tests.bench.ledger_fill import fill
from tests.bench.ledger_growth import growth
from tests.bench.ledger_runs import SCHOOL, Run, Target, closed, opened_loop
from tests.bench.ledger_server import NeedsPrograms, Server, durable_server

_ACCOUNTS, _HISTORY = 100_000, 300_000
_ROUNDS, _SECONDS = 3, 2.0
#: On a machine so busy that a part's rounds take longer than this, it does with fewer.
_ROUNDS_S = 45.0
_TPCB = "pgbench TPC-B, 32 clients"
_TPCB_CPU = "pgbench TPC-B, CPU of server and pgbench"
_OTHER_SCHOOL = "other"


@dataclass
class _Bench:
    """A running server, and what several parts need of it, made when the first of them asks."""

    server: Server
    folder: Path
    has_tpcb: bool = False

    def tpcb(self) -> Run:
        """Return one more round of pgbench."""
        if not self.has_tpcb:
            self.server.prepare_tpcb()
            self.has_tpcb = True
        return self.server.tpcb(round(_SECONDS))

    @cached_property
    def postgres(self) -> str:
        """Return the address of a database with a filled school."""
        url = self.server.create("ledger")
        fill(url, SCHOOL, accounts=_ACCOUNTS, history=_HISTORY)
        return url

    @cached_property
    def sqlite(self) -> str:
        """Return the address of a file with one filled school."""
        url = f"sqlite:///{self.folder}/ledger.db"
        fill(url, SCHOOL, accounts=_ACCOUNTS, history=_HISTORY)
        return url


def _load() -> str:
    return f"load average {os.getloadavg()[0]:.1f}"


def _beside(bench: _Bench, cases: dict[str, tuple[int, list[Target]]], conditions: str) -> Iterator[Figure]:
    """Yield rates and CPU of cases, in rounds with pgbench between them."""
    runs: dict[str, list[Run]] = {name: [] for name in cases}
    references: list[Run] = []
    began = time.monotonic()
    while len(references) < _ROUNDS and (not references or time.monotonic() < began + _ROUNDS_S):
        references.append(bench.tpcb())
        for name, (size, targets) in cases.items():
            runs[name].append(closed(bench.server, size, targets, seconds=_SECONDS))
    tpcb = median(run.per_s for run in references)
    tpcb_cpu = median(run.cpu_us for run in references)
    for name, found in runs.items():
        rate = median(run.per_s for run in found)
        seen = f"{conditions}, median of {len(found)} rounds, mean batch {found[0].mean_batch:.0f}, {_load()}"
        yield Figure(f"ledger: {name}", rate, "/s", _TPCB, tpcb, seen)
        server = median(run.server_us for run in found)
        client = median(run.client_us for run in found)
        parts = f"{server:.1f} us in PostgreSQL, {client:.1f} us in Python, {_load()}"
        yield Figure(f"ledger: {name}, CPU", median(run.cpu_us for run in found), "us", _TPCB_CPU, tpcb_cpu, parts)


def _throughput(bench: _Bench) -> Iterator[Figure]:
    """Yield what one and two workers reach."""
    fill(bench.postgres, _OTHER_SCHOOL, accounts=_ACCOUNTS, history=_HISTORY)
    one, other = Target(bench.postgres, SCHOOL, _ACCOUNTS), Target(bench.postgres, _OTHER_SCHOOL, _ACCOUNTS)
    cases = {
        "PostgreSQL, one worker, batches of 256": (256, [one]),
        "PostgreSQL, one worker, batches of 1024": (1_024, [one]),
        "PostgreSQL, two workers of one school, batches of 1024": (1_024, [one, one]),
        "PostgreSQL, two workers of two schools, batches of 1024": (1_024, [one, other]),
    }
    yield from _beside(bench, cases, f"holds and captures, 2 x {_ACCOUNTS} accounts, 2 x {_HISTORY} rows of history")


def _sqlite(bench: _Bench) -> Iterator[Figure]:
    """Yield what SQLite reaches, durable and a little less so."""
    full = Target(bench.sqlite, SCHOOL, _ACCOUNTS)
    normal = Target(bench.sqlite, SCHOOL, _ACCOUNTS, synchronous="NORMAL")
    cases = {
        f"SQLite ({target.synchronous}), one worker, batches of {size}": (size, [target])
        for target in (full, normal)
        for size in (256, 1_024)
    }
    yield from _beside(bench, cases, f"holds and captures, {_ACCOUNTS} accounts, {_HISTORY} rows of history")


def _sizes(bench: _Bench) -> Iterator[Figure]:
    """Yield what small batches reach."""
    target = Target(bench.postgres, SCHOOL, _ACCOUNTS)
    tpcb = bench.tpcb().per_s
    for size in (1, 4, 16, 64):
        run = closed(bench.server, size, [target], seconds=2)
        name = f"ledger: PostgreSQL, batches of {size} ({'no batching' if size == 1 else 'closed loop'})"
        cpu = f"CPU {run.server_us:.0f} us in PostgreSQL, {run.client_us:.0f} us in Python, {_load()}"
        yield Figure(name, run.per_s, "/s", _TPCB, tpcb, cpu)


def _open(bench: _Bench) -> Iterator[Figure]:
    """Yield what single requests wait that arrive at a rate, whoever else waits."""
    target = Target(bench.postgres, SCHOOL, _ACCOUNTS)
    half = round(3 * bench.tpcb().per_s)
    for rate in (1_000, 5_000, 10_000, 20_000, half):
        seen = opened_loop(rate, target, seconds=_SECONDS)
        name = f"ledger: open loop, {f'{half} (3 x TPC-B)' if rate == half else rate}/s"
        conditions = (
            f"{seen['offered_per_s']:.0f}/s offered, mean batch {seen['mean_batch']:.1f},"
            f" {seen['busy']:.0f} turned away, {_load()}"
        )
        yield Figure(f"{name}, p50", seen["p50_ms"], "ms", conditions=conditions)
        yield Figure(f"{name}, p99", seen["p99_ms"], "ms", conditions=conditions)


def _peer(bench: _Bench) -> Iterator[Figure]:
    """Yield what a double-entry library reaches on the same server."""
    size = 256
    python = ledger_peer.prepare()
    bench.server.create("peer")
    tpcb = bench.tpcb().per_s
    seen = ledger_peer.per_s(python, "peer", bench.server, 3, size)
    yield Figure("peer: django-hordak, one movement at a time", seen["one"], "/s", _TPCB, tpcb, _load())
    yield Figure(f"peer: django-hordak, bulk of {size}", seen["bulk"], "/s", _TPCB, tpcb, _load())


def _growth(bench: _Bench) -> Iterator[Figure]:
    """Yield what a request costs as accounts and history grow."""
    return growth(bench.server, full=bool(os.environ.get("CAMPUSTAP_BENCH_FULL")))


_PARTS: dict[str, Callable[[_Bench], Iterator[Figure]]] = {
    "throughput": _throughput,
    "sqlite": _sqlite,
    "sizes": _sizes,
    "open": _open,
    "peer": _peer,
    "growth": _growth,
}


def measure_ledger() -> Iterator[Figure]:
    """Yield the figures of all parts, or of those named in CAMPUSTAP_BENCH_PART."""
    names = os.environ.get("CAMPUSTAP_BENCH_PART", "").split(",")
    chosen = [name for name in names if name] or list(_PARTS)
    unknown = [name for name in chosen if name not in _PARTS]
    if unknown:
        raise SystemExit(f"the ledger's bench has no part {', '.join(unknown)}; there are: {', '.join(_PARTS)}")
    try:
        with durable_server() as server, tempfile.TemporaryDirectory(prefix="campustap-bench-") as folder:
            bench = _Bench(server, Path(folder))
            for name in chosen:
                yield from _PARTS[name](bench)
    except NeedsPrograms as error:
        print(f"left out: {error}")
