"""Optional time marks for benchmarks: one JSON line each in the file that CAMPUSTAP_TRACE_FILE names."""

import json
import os
import time
from pathlib import Path


class Trace:
    """Appends time marks to a file, or does nothing."""

    def __init__(self, path: Path | None) -> None:
        self._file = None if path is None else path.open("a", encoding="utf-8", buffering=1)

    @classmethod
    def from_environment(cls) -> "Trace":
        """Return the trace the environment asks for."""
        name = os.environ.get("CAMPUSTAP_TRACE_FILE", "")
        return cls(Path(name) if name else None)

    def mark(self, point: str, **ids: str) -> None:
        """Note that a point was reached now."""
        if self._file is not None:
            self._file.write(json.dumps({"at_ns": time.time_ns(), "point": point, **ids}) + "\n")
