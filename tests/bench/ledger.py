"""
Holds and captures per second beside pgbench TPC-B on the same server in the same run, and what they wait.

A request is one hold or one capture. Rounds are interleaved and medians reported, so that what else the machine does
hits both sides alike. `--full` takes the history to ten million rows.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench import ledger_peer
from tests.bench.figures import Figure
from tests.bench.ledger_load import fill
from tests.bench.ledger_server import Server, durable_server

_ACCOUNTS, _HISTORY = 200_000, 600_000
_ROUNDS, _SECONDS = 3, 4
_BATCH = 256
_TPCB = "pgbench TPC-B, 32 clients"
_SCHOOL, _OTHER_SCHOOL = "school", "other"


def _workers(mode: str, figure: int, seconds: float, *targets: tuple[str, str, int]) -> list[dict[str, float]]:
    """Run one worker for each (address, tenant, accounts), all at once, and return what they saw."""
    running = []
    for seed, (url, tenant_id, accounts) in enumerate(targets):
        what = [mode, url, tenant_id, str(accounts), str(seed), str(seconds), str(figure)]
        command = [sys.executable, "-m", "tests.bench.ledger_worker", *what]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    found = []
    for process in running:
        said, _ = process.communicate()
        if process.returncode != 0:
            raise RuntimeError("a worker failed")
        found.append(json.loads(said))
    return found


def _closed(size: int, *targets: tuple[str, str, int], seconds: float = _SECONDS) -> float:
    return sum(found["per_s"] for found in _workers("closed", size, seconds, *targets))


def measure_ledger() -> Iterator[Figure]:
    """Yield throughput by batch and workers, latency by rate, a peer, and how cost grows."""
    full = bool(os.environ.get("CAMPUSTAP_BENCH_FULL"))
    peer = ledger_peer.prepare()
    with durable_server() as server, tempfile.TemporaryDirectory(prefix="campustap-bench-") as folder:
        sqlite = f"sqlite:///{folder}/ledger.db"
        fill(sqlite, _SCHOOL, account_count=_ACCOUNTS, history=_HISTORY)
        url = server.create("ledger")
        for tenant_id in (_SCHOOL, _OTHER_SCHOOL):
            fill(url, tenant_id, account_count=_ACCOUNTS, history=_HISTORY // 2)
        server.prepare_tpcb()
        found = _throughput(server, url, sqlite)
        yield from found
        tpcb = found[0].reference_value
        assert tpcb is not None
        yield from _by_size(url, tpcb)
        yield from _waiting(url, tpcb)
        yield from _beside(server, peer, tpcb)
        yield from _growth(server, full)


def _throughput(server: Server, url: str, sqlite: str) -> list[Figure]:
    one = (url, _SCHOOL, _ACCOUNTS)
    other = (url, _OTHER_SCHOOL, _ACCOUNTS)
    cases: dict[str, tuple[Any, ...]] = {
        "PostgreSQL, one worker, batches of 256": (256, one),
        "PostgreSQL, one worker, batches of 1024": (1_024, one),
        "PostgreSQL, two workers of one school, batches of 1024": (1_024, one, one),
        "PostgreSQL, two workers of two schools, batches of 1024": (1_024, one, other),
        "SQLite (FULL), one worker, batches of 256": (256, (sqlite, _SCHOOL, _ACCOUNTS)),
    }
    rounds: dict[str, list[float]] = {name: [] for name in (_TPCB, *cases)}
    for _ in range(_ROUNDS):
        rounds[_TPCB].append(server.tpcb_per_s(_SECONDS))
        for name, (size, *targets) in cases.items():
            rounds[name].append(_closed(size, *targets))
    tpcb = median(rounds.pop(_TPCB))
    conditions = f"holds and captures, {_ACCOUNTS} accounts, {_HISTORY} rows of history, median of {_ROUNDS} rounds"
    return [Figure(f"ledger: {name}", median(values), "/s", _TPCB, tpcb, conditions) for name, values in rounds.items()]


def _by_size(url: str, tpcb: float) -> list[Figure]:
    return [
        Figure(
            f"ledger: PostgreSQL, batches of {size} ({'no batching' if size == 1 else 'closed loop'})",
            _closed(size, (url, _SCHOOL, _ACCOUNTS), seconds=2),
            "/s",
            _TPCB,
            tpcb,
        )
        for size in (1, 4, 16, 64)
    ]


def _waiting(url: str, tpcb: float) -> list[Figure]:
    found = []
    half = round(3 * tpcb)
    for rate in (1_000, 5_000, 10_000, 20_000, half):
        seen = _workers("open", rate, 3, (url, _SCHOOL, _ACCOUNTS))[0]
        name = f"ledger: open loop, {'3 x TPC-B' if rate == half else rate}/s"
        conditions = (
            f"{seen['offered_per_s']:.0f}/s offered, mean batch {seen['mean_batch']:.1f}, {seen['busy']:.0f} refused"
        )
        found.append(Figure(f"{name}, p50", seen["p50_ms"], "ms", conditions=conditions))
        found.append(Figure(f"{name}, p99", seen["p99_ms"], "ms", conditions=conditions))
    return found


def _beside(server: Server, peer: Path, tpcb: float) -> list[Figure]:
    server.create("peer")
    seen = ledger_peer.per_s(peer, "peer", server.folder, 3, _BATCH)
    return [
        Figure("peer: django-hordak, one movement at a time", seen["one"], "/s", _TPCB, tpcb),
        Figure(f"peer: django-hordak, bulk of {_BATCH}", seen["bulk"], "/s", _TPCB, tpcb),
    ]


def _growth(server: Server, full: bool) -> list[Figure]:
    """Return µs per request as accounts and history grow, each beside the smallest of its row."""
    accounts = [(count, 100_000) for count in (1_000, 10_000, 100_000, 1_000_000)]
    history = [(10_000, rows) for rows in (10_000, 100_000, 1_000_000, *([10_000_000] if full else []))]
    found = []
    for what, sizes in (("accounts", accounts), ("rows of history", history)):
        smallest: float | None = None
        for account_count, rows in sizes:
            name = f"grown_{account_count}_{rows}"
            url = server.create(name)
            fill(url, _SCHOOL, account_count=account_count, history=rows)
            took_us = 1e6 / median(_closed(_BATCH, (url, _SCHOOL, account_count), seconds=2) for _ in range(3))
            server.run("dropdb", "-h", str(server.folder), "-U", "postgres", name)
            smallest = took_us if smallest is None else smallest
            grown = account_count if what == "accounts" else rows
            found.append(Figure(f"ledger: a request with {grown} {what}", took_us, "us", f"fewest {what}", smallest))
    return found
