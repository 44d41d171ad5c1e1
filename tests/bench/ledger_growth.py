"""Whether a request costs the same when accounts and history are a thousand times as many: one database that grows."""

import os
import time
from collections.abc import Iterator
from statistics import median

from tests.bench.figures import Figure
from tests.bench.ledger_fill import fill
from tests.bench.ledger_runs import SCHOOL, Target, closed
from tests.bench.ledger_server import Server

_ACCOUNTS = (1_000, 10_000, 100_000, 1_000_000)
_HISTORY = (100_000, 1_000_000)
_HISTORY_FULL = (*_HISTORY, 10_000_000)
_ROUNDS, _SECONDS = 3, 1.0
#: On a machine so busy that the rounds of one size take longer than this, it does with fewer.
_ROUNDS_S = 8.0
_BATCH = 256


def growth(server: Server, *, full: bool) -> Iterator[Figure]:
    """Yield time and CPU per request, each beside that of the smallest of its row."""
    rows = _HISTORY_FULL if full else _HISTORY
    accounts = [(count, rows[0]) for count in _ACCOUNTS]
    history = [(_ACCOUNTS[-1], count) for count in rows]
    for what, sizes in (("accounts", accounts), ("rows of history", history)):
        smallest: tuple[float, float] | None = None
        url = server.create(f"grown_{what[:4]}") if what == "accounts" else server.url("grown_acco")
        for account_count, row_count in sizes:
            fill(url, SCHOOL, accounts=account_count, history=row_count)
            target = Target(url, SCHOOL, account_count)
            began = time.monotonic()
            runs = [closed(server, _BATCH, [target], seconds=_SECONDS)]
            while len(runs) < _ROUNDS and time.monotonic() < began + _ROUNDS_S:
                runs.append(closed(server, _BATCH, [target], seconds=_SECONDS))
            took_us, cpu_us = median(1e6 / run.per_s for run in runs), median(run.cpu_us for run in runs)
            smallest = (took_us, cpu_us) if smallest is None else smallest
            grown = account_count if what == "accounts" else row_count
            name = f"ledger: a request with {grown} {what}"
            conditions = f"{account_count} accounts, {row_count} rows, load average {os.getloadavg()[0]:.1f}"
            yield Figure(name, took_us, "us", f"fewest {what}", smallest[0], conditions)
            yield Figure(f"{name}, CPU", cpu_us, "us", f"fewest {what}", smallest[1], conditions)
