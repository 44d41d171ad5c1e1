"""What every gateway of the comparison is given: the same outlets, the same kind of broker, a look at its process."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

WAIT_S = 60.0
_BROKER = """
listener {port} 127.0.0.1
allow_anonymous true
set_tcp_nodelay true
max_inflight_messages 0
max_queued_messages 0
persistence false
"""


class NotPossible(RuntimeError):
    """A gateway cannot be measured here; the message says why."""


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def wait_until(what: str, is_so: Callable[[], Any], timeout_s: float = WAIT_S) -> Any:
    """
    Return the first truth of a condition.

    :raises NotPossible: if it does not come to that.
    """
    deadline = time.monotonic() + timeout_s
    while not (found := is_so()):
        if time.monotonic() > deadline:
            raise NotPossible(f"waited {timeout_s:.0f} s in vain for {what}")
        time.sleep(0.05)
    return found


@contextmanager
def started(command: list[str], log: Path, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, with what it says in a file, and end it and its children."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, **more)
        try:
            yield process
        finally:
            family = [process.pid, *(child.pid for child in _children(process.pid))]
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            for pid in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    psutil.Process(pid).kill()
            process.wait(20)


def _children(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


@contextmanager
def broker(folder: Path) -> Iterator[int]:
    """Run a Mosquitto of its own and give its port."""
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    if not Path(program).exists():
        raise NotPossible("mosquitto is not installed: apt-get install mosquitto")
    port = free_port()
    (folder / "mosquitto.conf").write_text(_BROKER.format(port=port), encoding="utf-8")
    with started([program, "-c", str(folder / "mosquitto.conf")], folder / "mosquitto.log"):
        wait_until("the broker", lambda: _answers(port))
        yield port


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Outlets:
    """The simulated outlets in a process of their own: `lines` ports of `units` each."""

    def __init__(self, ports: list[Any], control: int, units: int) -> None:
        self.ports, self.units = ports, units
        self._control = socket.create_connection(("127.0.0.1", control), timeout=30)
        self._answers = self._control.makefile("rb")

    @property
    def places(self) -> list[tuple[int, int]]:
        """Line number and unit of every outlet."""
        return [(line, unit) for line in range(len(self.ports)) for unit in range(1, self.units + 1)]

    def do(self, what: str, **more: int) -> dict[str, Any]:
        """Return the answer to one request."""
        self._control.sendall(json.dumps({"do": what, **more}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(self._answers.readline())
        return answer

    def close(self) -> None:
        """Hang up."""
        self._answers.close()
        self._control.close()


@contextmanager
def outlets(folder: Path, lines: int, units: int, baud: int = 0) -> Iterator[Outlets]:
    """Run the outlets, on serial lines if they have a speed."""
    out = folder / "outlets.json"
    with (
        out.open("wb") as said,
        (folder / "outlets.log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "tests.bench.edge_devices", str(lines), str(units), str(baud)],
            stdout=said,
            stderr=log,
        ) as process,
    ):
        try:
            wait_until("the outlets", lambda: out.read_bytes().endswith(b"\n"))
            ready = json.loads(out.read_text(encoding="utf-8"))
            found = Outlets(ready["ports"], ready["control"], units)
            yield found
            found.close()
        finally:
            process.kill()


@dataclass(frozen=True, slots=True)
class Use:
    """What a process and its children took over a while."""

    seconds: float
    cpu_s: float
    rss_mib: float


class Meter:
    """Reads what a process and its children have taken."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._began_at = time.monotonic()
        self._began_cpu_s = self._cpu_s()

    def _family(self) -> list[psutil.Process]:
        return [psutil.Process(self._pid), *_children(self._pid)]

    def _cpu_s(self) -> float:
        total = 0.0
        for each in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = each.cpu_times()
                total += times.user + times.system
        return total

    def rss_mib(self) -> float:
        """Return the memory of now."""
        total = 0
        for each in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += each.memory_info().rss
        return total / 1_048_576

    def use(self) -> Use:
        """Return what was taken since the beginning."""
        return Use(time.monotonic() - self._began_at, self._cpu_s() - self._began_cpu_s, self.rss_mib())


@contextmanager
def folder() -> Iterator[Path]:
    """Give a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="campustap-edge-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def taps(
    site: Outlets,
    who: str,
    after: Callable[[int, int], None],
    *,
    count: int,
    pause_s: Callable[[], float],
    places: Sequence[tuple[int, int]] = (),
    patience_s: float = WAIT_S,
) -> list[float]:
    """Hold a card to `count` outlets, one after another, and return how long each opening frame took to come, in ms."""
    site.do("reset")
    places = places or site.places
    step = max(1, len(places) // count)
    for number in range(count):
        line, unit = places[number * step % len(places)]
        time.sleep(pause_s())  # at no particular moment of anybody's round
        site.do("tap", line=line, unit=unit)
        wait_until(
            f"the opening frame of {who} after tap {number + 1}",
            lambda least=number + 1: len(site.do("report")["latencies_ms"]) >= least,  # type: ignore[misc]
            patience_s,
        )
        after(line, unit)
    found: list[float] = site.do("report")["latencies_ms"]
    return found
