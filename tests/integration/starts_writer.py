"""
A process that opens showers, many at a time, until it is killed or has opened all.

    python -m tests.integration.starts_writer URL SECRETS COUNT NOW

The number of each is printed once its caller has the answer.
"""

import sys
import threading
from datetime import datetime
from pathlib import Path

from backend.db import open_database
from backend.water_sessions import service as water_sessions
from backend.water_sessions.context import Context
from tests.fakes.wide_school import start_of

_CALLERS = 12


def main(url: str, secrets_dir: Path, count: int, now: datetime) -> None:
    """Start the showers of all numbers; what was started before is answered as it was."""
    ctx = Context(db=open_database(url), clock=lambda: now, secrets_dir=secrets_dir, providers={})
    numbers = iter(range(count))
    lock = threading.Lock()

    def call() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            started = water_sessions.request_start(ctx, start_of(number))
            with lock:
                sys.stdout.write(f"{number} {started.water_session_id}\n")
                sys.stdout.flush()

    threads = [threading.Thread(target=call) for _ in range(_CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), datetime.fromisoformat(sys.argv[4]))
