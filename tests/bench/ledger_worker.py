"""
One process that drives the ledger and prints what it saw as JSON.

    python -m tests.bench.ledger_worker closed URL TENANT ACCOUNTS SEED SECONDS SIZE SYNCHRONOUS
    python -m tests.bench.ledger_worker open   URL TENANT ACCOUNTS SEED SECONDS RATE SYNCHRONOUS

Both through a `Batcher`. Closed: three submissions of SIZE requests are always underway (one, if SIZE is 1: no
batching at all). Open: single requests arrive at RATE per second, whether or not it keeps up; latency counts from when
each was due.
"""

import gc
import json
import os
import sys
import time
from collections import deque
from concurrent.futures import Future

from backend.db import Database
from backend.kit.clock import utc_now
from backend.ledger.batcher import Batcher, LedgerBusy, Results
from backend.ledger.rules import TransferRequest
from tests.bench.figures import percentile
from tests.bench.ledger_load import Traffic, opened

_WARM_UP_S = 1.0
_UNDERWAY = 3
_TICK_S = 0.001


def closed(database: Database, tenant_id: str, traffic: Traffic, seconds: float, size: int) -> dict[str, float]:
    """Return requests per second, the mean batch, and CPU per request of this process."""
    underway: deque[tuple[list[TransferRequest], Future[Results]]] = deque()
    count = 0
    with Batcher(database, tenant_id, clock=utc_now) as batcher:
        warm = time.perf_counter() + _WARM_UP_S
        began, cpu_began = 0.0, 0.0
        while not began or count == 0 or time.perf_counter() < began + seconds:
            if not began and time.perf_counter() > warm:
                began, cpu_began, count = time.perf_counter(), time.process_time(), 0
            while len(underway) < (1 if size == 1 else _UNDERWAY):
                requests = traffic.batch(size)
                underway.append((requests, batcher.submit(requests)))
            requests, promise = underway.popleft()
            for request, result in zip(requests, promise.result(), strict=True):
                traffic.heard(request, result.stands)
            count += size
        spent, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    return {
        "per_s": count / spent,
        "cpu_us": cpu / count * 1e6,
        "mean_batch": batcher.request_count / batcher.batch_count,
        "requests": batcher.request_count,
    }


def opened_loop(database: Database, tenant_id: str, traffic: Traffic, seconds: float, rate: int) -> dict[str, float]:
    """Return latency percentiles, the mean batch and how many were turned away."""
    latencies: list[float] = []
    busy = 0
    with Batcher(database, tenant_id, clock=utc_now) as batcher:
        began = time.perf_counter() + 0.05
        warm = began + _WARM_UP_S

        def send(request: TransferRequest, due: float) -> None:
            def told(kept: Future[Results]) -> None:
                if due > warm:
                    latencies.append((time.perf_counter() - due) * 1_000)
                traffic.heard(request, kept.result()[0].stands)

            batcher.submit([request]).add_done_callback(told)

        number = 0
        while number < rate * (seconds + _WARM_UP_S):
            due = began + number / rate
            wait = due - time.perf_counter()
            if wait > 0:
                time.sleep(max(wait, _TICK_S))  # those who are due meanwhile are sent one after the other
            request = traffic.capture() if number % 2 and traffic.standing else traffic.hold()
            try:
                send(request, due)
            except LedgerBusy:
                busy += 1
            number += 1
        sent_in = time.perf_counter() - began
    return {
        "p50_ms": percentile(latencies, 0.5),
        "p99_ms": percentile(latencies, 0.99),
        "mean_batch": batcher.request_count / batcher.batch_count,
        "busy": busy,
        "offered_per_s": number / sent_in,
    }


def main(
    mode: str, url: str, tenant_id: str, accounts: str, seed: str, seconds: str, figure: str, synchronous: str
) -> None:
    """Run, and print the figures."""
    traffic = Traffic(account_count=int(accounts), seed=int(seed) * 100_000 + os.getpid() % 100_000)
    gc.freeze()
    run = closed if mode == "closed" else opened_loop
    print(json.dumps(run(opened(url, synchronous), tenant_id, traffic, float(seconds), int(figure))))


if __name__ == "__main__":
    main(*sys.argv[1:])
