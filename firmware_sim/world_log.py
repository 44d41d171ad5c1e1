"""
Everything that happens to a site's devices, as it happens, as a file of JSON lines: the steps of the world.

A step is what somebody did (a card, a code, a tap at the mixer, a cut, a clock, a fault, a broken wire), what a device
did (power came back, a valve went open or shut, a record went into its log), and what the line did to a frame. Each
stands in the file before anybody on the bus can hear of it, so whoever reads the bus first and this file second never
knows of a consequence without its cause.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: hears of a step: its name, the device or line it is about, and what else is known
OnStep = Callable[[str, str, dict[str, Any]], None]


def nobody(step: str, where: str, facts: dict[str, Any]) -> None:
    """Hear of a step and do nothing."""


class WorldLog:
    """Appends steps to a file, each with its time in milliseconds since 1970."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def write(self, step: str, where: str, facts: dict[str, Any]) -> None:
        """Append one step."""
        line = {"at_ms": time.time_ns() // 1_000_000, "step": step, "where": where, **facts}
        self._file.write(json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class WorldReader:
    """Reads what has been added to such a file since the last look; a line that is not whole yet waits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._rest = b""

    def take(self) -> list[dict[str, Any]]:
        """Return the steps that are new, in order."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        self._at += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in whole]
