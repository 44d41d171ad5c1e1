"""The reference firmware as a process on a pseudo-terminal, with a hand on its tap, its reader and its plug."""

import signal
import subprocess
from pathlib import Path

from tests.patience import PATIENCE_S


class FirmwareOutlet:
    """One unit; `terminal` is where a client finds it, the same over any number of power cuts."""

    def __init__(self, program: Path, folder: Path, *, unit: int = 1, flow_ml_per_s: int = 150) -> None:
        self.terminal = folder / "line"
        self.fram = folder / "fram.bin"
        options = {"--unit": unit, "--flow": flow_ml_per_s}
        self._command = [str(program), f"pty:{self.terminal}", str(self.fram)]
        self._command += [str(part) for option in options.items() for part in option]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Give power; return when the unit listens."""
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def say(self, line: str) -> None:
        """Do something at the outlet: `flow ML_PER_S`, `temp DECIDEGC`, `card HEX`, `stop`."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def cut(self) -> None:
        """Take the power away, at whatever it is doing."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Let the supply fall slowly; harmless without power."""
        if self._process is not None:
            self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.communicate(timeout=PATIENCE_S)
        self._process = None
