"""Ids, time, the end of tasks, and trace points of the gateway."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 26
_CANCEL_AGAIN_S = 0.5

#: Returns milliseconds since 1970, UTC. Passed in, so that tests own the clock.
Clock = Callable[[], int]


def now_ms() -> int:
    """Return the time by this machine's clock, in milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


def new_id(prefix: str) -> str:
    """Return a new id that sorts by creation time: the prefix, an underscore, 48 bits of time and 80 random bits."""
    value = (now_ms() << 80) | secrets.randbits(80)
    return prefix + "_" + "".join(_ALPHABET[value >> shift & 31] for shift in range(5 * (_LENGTH - 1), -1, -5))


def new_u32() -> int:
    """Return a random number from 1 to 2**32 - 1, for the ids that devices keep."""
    return secrets.randbelow(2**32 - 1) + 1


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """
    Cancel tasks and wait until all have ended, however they ended.

    Before Python 3.12 `asyncio.wait_for`, which libraries use, swallows a cancellation that comes in the same instant
    as its answer: the task would go on for ever. So whoever has not ended is asked again.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_CANCEL_AGAIN_S)


class Trace:
    """Timing points for benches, one JSON line each; does nothing when no file is given."""

    def __init__(self, path: Path | None) -> None:
        self._file = path.open("ab", buffering=0) if path else None

    def point(self, point: str, **ids: str) -> None:
        """Write that a point was passed now; `at_ns` is nanoseconds since 1970."""
        if self._file:
            self._file.write(msgspec.json.encode({"at_ns": time.time_ns(), "point": point, **ids}) + b"\n")
