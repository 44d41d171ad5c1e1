"""
Showers opened per second through the server's own use case, with and without grouping.

A start is everything the page's form causes: place, price, accepted methods, hold, session and the signed OpenValve. So
many callers (threads, as the server has them) start one shower after another, each at an outlet and for a person of
its own. Beside each rate stands what the same callers reach when each start has a transaction to itself; rounds of
both take turns, so that what else the machine does hits both alike, and medians are reported.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TypeVar

from sqlalchemy import Connection, event

from backend.bootstrap.tables import load_tables
from backend.cardholders import rules as cardholder_rules
from backend.db import Database, open_database
from backend.db.together import Begin
from backend.kit.clock import utc_now
from backend.water_sessions import service as water_sessions
from backend.water_sessions.context import Context
from tests.bench.figures import Figure, percentile
from tests.bench.ledger_server import NeedsPrograms, durable_server
from tests.fakes.wide_school import fill_school, start_of

T = TypeVar("T")
_CALLERS = (1, 8, 32)
_ROUNDS, _STARTS = 3, 64


class _Alone(Database):
    """A database whose work is never grouped: each has a transaction to itself."""

    def together(self, key: str, work: Callable[[Connection], T], *, begin: Begin) -> T:
        """Return what work returns."""
        with self.write() as conn:
            begin(conn)
            return work(conn)


@dataclass
class _School:
    """A database with outlets and people nobody used yet, and how often it was committed."""

    ctx: Context
    used: int = 0
    commits: int = 0
    rates: dict[int, list[float]] = field(default_factory=dict)
    waits_ms: dict[int, list[float]] = field(default_factory=dict)
    per_commit: dict[int, list[float]] = field(default_factory=dict)

    def round(self, callers: int) -> None:
        """Start showers with so many callers at once, and keep the rate, what each waited, and starts per commit."""
        numbers = iter(range(self.used, self.used + _STARTS))
        self.used += _STARTS
        waited: list[float] = []
        lock = threading.Lock()

        def call() -> None:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                began = time.perf_counter()
                water_sessions.request_start(self.ctx, start_of(number))
                waited.append((time.perf_counter() - began) * 1_000)

        threads = [threading.Thread(target=call) for _ in range(callers)]
        before, began = self.commits, time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        spent = time.perf_counter() - began
        assert len(waited) == _STARTS, "a start was refused"
        self.rates.setdefault(callers, []).append(_STARTS / spent)
        self.waits_ms.setdefault(callers, []).extend(waited)
        self.per_commit.setdefault(callers, []).append(_STARTS / (self.commits - before))


def _school(kind: type[Database], url: str, folder: Path) -> _School:
    opened = open_database(url, pool_size=40)
    load_tables().create_all(opened.engine)
    began = utc_now()
    fill_school(opened, len(_CALLERS) * _ROUNDS * _STARTS + _STARTS, began)
    # nothing here says how the outlets are while the rounds last, so they are as they were when it began
    school = _School(Context(db=kind(opened.engine), clock=lambda: began, secrets_dir=folder, providers={}))

    def committed(_conn: Connection) -> None:
        school.commits += 1

    event.listen(opened.engine, "commit", committed)
    return school


def _compared(name: str, together: _School, alone: _School) -> Iterator[Figure]:
    for school in (together, alone):
        school.round(1)  # what is compiled and cached once belongs to neither
        for seen in (school.rates, school.waits_ms, school.per_commit):
            seen.clear()
    for callers in _CALLERS:
        for number in range(_ROUNDS):
            for school in (together, alone) if number % 2 else (alone, together):
                school.round(callers)
        by = f"starts: {name}, {callers} caller{'s' if callers > 1 else ''}"
        conditions = f"{median(together.per_commit[callers]):.1f} starts a commit"
        rate, reference = median(together.rates[callers]), median(alone.rates[callers])
        yield Figure(by, rate, "/s", "each in a transaction of its own", reference, conditions)
        slowest = percentile(together.waits_ms[callers], 0.99)
        slowest_alone = percentile(alone.waits_ms[callers], 0.99)
        yield Figure(f"{by}, p99", slowest, "ms", "each in a transaction of its own", slowest_alone, conditions)


def measure_starts() -> Iterator[Figure]:
    """Yield starts per second and what they wait, together and each alone, on both databases."""
    cardholder_rules._SCRYPT_LOG2_N = 4  # hashing hundreds of passwords well is not what is measured
    with tempfile.TemporaryDirectory(prefix="campustap-bench-") as name:
        folder = Path(name)
        yield from _compared(
            "SQLite",
            _school(Database, f"sqlite:///{folder}/together.db", folder / "one"),
            _school(_Alone, f"sqlite:///{folder}/alone.db", folder / "two"),
        )
        try:
            with durable_server() as server:
                yield from _compared(
                    "PostgreSQL",
                    _school(Database, server.create("together"), folder / "three"),
                    _school(_Alone, server.create("alone"), folder / "four"),
                )
        except NeedsPrograms as error:
            print(f"left out: {error}")
