"""One measurement: worker processes against a database, and the CPU both sides spent on it."""

import json
import subprocess
import sys
from dataclasses import dataclass

from tests.bench.ledger_server import Run, Server

__all__ = ["SCHOOL", "Run", "Target", "closed", "opened_loop"]

SCHOOL = "school"


@dataclass(frozen=True, slots=True)
class Target:
    """What a worker drives."""

    url: str
    tenant_id: str
    accounts: int
    #: How far SQLite waits for the disk; PostgreSQL always does.
    synchronous: str = "FULL"


def _workers(mode: str, figure: int, seconds: float, targets: list[Target]) -> list[dict[str, float]]:
    """Run one worker for each target, all at once, and return what they saw."""
    running = []
    for seed, target in enumerate(targets):
        what = [mode, target.url, target.tenant_id, str(target.accounts), str(seed), str(seconds), str(figure)]
        command = [sys.executable, "-m", "tests.bench.ledger_worker", *what, target.synchronous]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    found = []
    for process in running:
        said, _ = process.communicate()
        if process.returncode != 0:
            raise RuntimeError("a worker failed")
        found.append(json.loads(said))
    return found


def closed(server: Server, size: int, targets: list[Target], *, seconds: float) -> Run:
    """Return what workers reach that always have batches of this size underway."""
    cpu_began_s = server.cpu_s()
    found = _workers("closed", size, seconds, targets)
    served = sum(one["requests"] for one in found)
    on_server = targets[0].url.startswith("postgresql")
    return Run(
        per_s=sum(one["per_s"] for one in found),
        server_us=(server.cpu_s() - cpu_began_s) / served * 1e6 if on_server else 0.0,
        client_us=sum(one["cpu_us"] * one["requests"] for one in found) / served,
        mean_batch=sum(one["mean_batch"] for one in found) / len(found),
    )


def opened_loop(rate: int, target: Target, *, seconds: float) -> dict[str, float]:
    """Return what single requests wait that arrive at a rate."""
    return _workers("open", rate, seconds, [target])[0]
