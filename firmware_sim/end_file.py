"""The END records of a site as a file of JSON lines: what the devices themselves say was dispensed."""

import json
from collections.abc import Mapping
from pathlib import Path

from firmware_sim.device import LogEntry


class EndFile:
    """
    Appends every END record, each exactly once over any number of restarts.

    A crash between a device's memory and this file leaves a record out, or a line cut short: the line is taken away at
    the next start, and whoever starts offers again what the log rings still hold.
    """

    def __init__(self, path: Path, reasons: Mapping[int, str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._reasons = reasons
        self._last: dict[str, int] = {}
        self._file = path.open("a+b", buffering=0)
        self._file.seek(0)
        whole, _, cut_short = self._file.read().rpartition(b"\n")
        if cut_short:
            self._file.truncate(len(whole) + 1 if whole else 0)
        for line in whole.splitlines():
            entry = json.loads(line)
            self._last[entry["device_id"]] = max(entry["log_seq"], self._last.get(entry["device_id"], 0))

    def write(self, device_id: str, entry: LogEntry) -> None:
        """Append an END that is not there yet; other records are none of this file's business."""
        record = entry.record
        if entry.type_name != "END" or record.seq <= self._last.get(device_id, 0):
            return
        self._last[device_id] = record.seq
        line = {
            "device_id": device_id,
            "session_u32": record.subject_id,
            "opening_pulses": record.total - record.count,
            "closing_pulses": record.total,
            "sess_pulses": record.count,
            "reason": self._reasons[record.aux].lower(),
            "log_seq": record.seq,
            "at": record.unix_time * 1000 + record.deciseconds * 100,
        }
        self._file.write(json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
