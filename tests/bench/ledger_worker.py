"""
One process that drives the ledger and prints what it saw as JSON.

    python -m tests.bench.ledger_worker closed URL TENANT ACCOUNTS SEED SECONDS SIZE
    python -m tests.bench.ledger_worker open   URL TENANT ACCOUNTS SEED SECONDS RATE

Closed: batches of SIZE one after another through `service.execute`; making the requests is not timed. Open: single
requests arrive at RATE per second at a `Batcher`, whether or not it keeps up; latency counts from when each was due.
"""

import gc
import json
import os
import sys
import time
from concurrent.futures import Future

from backend.kit.clock import utc_now
from backend.ledger import service
from backend.ledger.batcher import Batcher, LedgerBusy, Results
from backend.ledger.memory import Memory
from backend.ledger.rules import TransferRequest
from tests.bench.figures import percentile
from tests.bench.ledger_load import Traffic, opened

_WARM_UP_S = 1.0


def closed(url: str, tenant_id: str, traffic: Traffic, seconds: float, size: int) -> dict[str, float]:
    """Return requests per second, and CPU per request of this process."""
    database = opened(url)
    memory = Memory()
    spent = cpu = 0.0
    count = 0
    times: list[float] = []
    end = time.perf_counter() + _WARM_UP_S + seconds
    while time.perf_counter() < end:
        requests = traffic.batch(size)
        began, cpu_began = time.perf_counter(), time.process_time()
        with database.write() as conn:
            results = service.execute(conn, tenant_id, requests, now=utc_now(), memory=memory)
        took, used = time.perf_counter() - began, time.process_time() - cpu_began
        for request, result in zip(requests, results, strict=True):
            traffic.heard(request, result.stands)
        if began > end - seconds:
            spent, cpu, count = spent + took, cpu + used, count + size
            times.append(took * 1_000)
    return {"per_s": count / spent, "cpu_us": cpu / count * 1e6, "batch_p99_ms": percentile(times, 0.99)}


def opened_loop(url: str, tenant_id: str, traffic: Traffic, seconds: float, rate: int) -> dict[str, float]:
    """Return latency percentiles, the mean batch and how many were turned away."""
    latencies: list[float] = []
    busy = 0
    with Batcher(opened(url), tenant_id, clock=utc_now) as batcher:
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
                time.sleep(wait)
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


def main(mode: str, url: str, tenant_id: str, accounts: str, seed: str, seconds: str, figure: str) -> None:
    """Run, and print the figures."""
    gc.freeze()
    traffic = Traffic(account_count=int(accounts), seed=int(seed) * 100_000 + os.getpid() % 100_000)
    run = closed if mode == "closed" else opened_loop
    print(json.dumps(run(url, tenant_id, traffic, float(seconds), int(figure))))


if __name__ == "__main__":
    main(*sys.argv[1:])
