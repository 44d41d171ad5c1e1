"""The firmware's library behind a terminal: what the conformance suite asks of the simulator is asked of it, too."""

import ctypes
import os
import select
import threading
import tty
from collections.abc import Callable
from typing import Any, TypeVar

from hardware.firmware_ref.host import Firmware, Label, PowerLost, Sample
from tests.contract.conformance.targets import GAP_S, OUTLET
from tests.contract.conformance.wire import crc
from tests.contract.firmware.steps import MAP, Frame, long, read, write

K_FACTOR, UNIX_MS, STEP_MS = 450_000, 1_795_348_800_000, 50
T = TypeVar("T")


class FirmwareBench:
    """One outlet with its water, and a voice on the bus that nobody hears."""

    def __init__(self, library: ctypes.CDLL) -> None:
        label = Label(model="HWO-1", serial="HW-00001", device_uid=1, k_factor_pulses_per_m3=K_FACTOR, unit=OUTLET)
        self.firmware = Firmware(library, label)
        self.now_ms = 1_000
        self.lpm, self.temp, self.mixer_open, self.leak_lpm, self.stuck_open = 8.5, 400, True, 0.0, False
        self._fraction = 0.0
        self.power_up()
        self.run(300)
        self.ask(write(64, *long(self.value("log_head"))))

    @property
    def outlet(self) -> "FirmwareBench":
        """Return who drives the valve."""
        return self

    @property
    def valve_drive(self) -> bool:
        """Return whether the valve is driven open."""
        return self.firmware.valve

    @property
    def coils(self) -> dict[str, bool]:
        """Return the coils by name."""
        return {name: bool(self.value(name)) for name in ("identify", "mute")}

    def value(self, name: str) -> int:
        """Return a number point."""
        point = MAP.points[name]
        words = self.firmware.peek(point.table, point.address, point.words)
        return int.from_bytes(b"".join(word.to_bytes(2, "big") for word in words), "big")

    def ask(self, pdu: bytes) -> None:
        """Send a frame and forget the answer."""
        self.firmware.send(Frame(pdu, unit=OUTLET).adu(), self.now_ms)

    def _sample(self, pulses: int = 0) -> Sample:
        return Sample(pulses=pulses, temp=self.temp, temp_in=-32768, temp_mcu=310, supply_mv=24_000, backup_mv=3_300)

    def power_up(self) -> None:
        """Give power."""
        self.firmware.power_up(self.now_ms, UNIX_MS + self.now_ms, self._sample())

    def run(self, ms: int, *, polled: bool = False) -> None:
        """Let time pass; water flows while the valve is driven and the mixer open."""
        for _ in range(ms // STEP_MS):
            self.now_ms += STEP_MS
            if polled:
                self.ask(read(2, 0, 1))
            flowing = (self.firmware.valve or self.stuck_open) and self.mixer_open
            lpm = (self.lpm if flowing else 0.0) + self.leak_lpm
            self._fraction += lpm * STEP_MS / 60_000 * K_FACTOR / 1_000
            pulses = int(self._fraction)
            self._fraction -= pulses
            self.firmware.tick(self.now_ms, self._sample(pulses))


class FirmwareTarget:
    """The bench behind a terminal, served by a thread of its own. Its time passes only in `run`."""

    transport = "pty"

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self.bench = FirmwareBench(library)
        self.has_power = True
        self._replies_lost = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="firmware target")
        self._near, self._far = os.openpty()
        for fd in (self._near, self._far):
            tty.setraw(fd)

    @property
    def address(self) -> str:
        """Return where a client finds it."""
        return os.ttyname(self._far)

    @property
    def line(self) -> "FirmwareTarget":
        """Return who says whether there is power: the outlet is alone on its line."""
        return self

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """End, and free what it used."""
        self._stopping.set()
        self._thread.join()
        self.bench.firmware.close()
        os.close(self._near)
        os.close(self._far)

    def _serve(self) -> None:
        pending = b""
        while not self._stopping.is_set():
            if select.select([self._near], [], [], GAP_S)[0]:
                pending += os.read(self._near, 4_096)
                if pending[-2:] != crc(pending[:-2]):
                    continue  # the rest may be under way
            if pending:
                answer = self.do(lambda frame=pending: self._answer(frame))  # type: ignore[misc]
                os.write(self._near, answer)
            pending = b""

    def _answer(self, frame: bytes) -> bytes:
        if not self.has_power:
            return b""
        try:
            answer = self.bench.firmware.send(frame, self.bench.now_ms)
        except PowerLost:
            self.has_power = False
            return b""
        if answer and self._replies_lost:
            self._replies_lost -= 1
            return b""
        return answer

    # -- hands

    def do(self, work: Callable[[], T]) -> T:
        """Run work between two frames."""
        with self._lock:
            return work()

    def run(self, ms: int, *, polled: bool = False) -> None:
        """Let the outlet's time pass, with somebody polling it or without."""
        with self._lock:
            try:
                if self.has_power:
                    self.bench.run(ms, polled=polled)
            except PowerLost:
                self.has_power = False

    def set(self, **changes: Any) -> None:
        """Change what surrounds the outlet: `lpm`, `temp`, `mixer_open`, `leak_lpm`, `stuck_open`."""
        with self._lock:
            for name, value in changes.items():
                setattr(self.bench, name, value)

    def lose_replies(self, count: int) -> None:
        """Let the next answers get lost on the line."""
        with self._lock:
            self._replies_lost = count

    def renew(self) -> None:
        """Replace the outlet by a new one that has booted and whose log is acknowledged."""
        with self._lock:
            self.bench.firmware.close()
            self.bench, self.has_power = FirmwareBench(self._library), True

    def cut_power_at(self, save: int, *, keep: bool) -> None:
        """Have the power fail in the n-th save from now on, before its bytes are kept or just after."""
        with self._lock:
            self.bench.firmware.cut_at_save(save, 0xFFFF if keep else 100)

    def cut_power(self) -> None:
        """Have the power fail now, between two saves."""
        with self._lock:
            self.has_power = False
            self.bench.firmware.pull_the_plug()

    def power_up(self) -> None:
        """Give the outlet its power back and let it boot."""
        with self._lock:
            self.bench.firmware.cut_at_save(0, 0)
            self.bench.power_up()
            self.has_power = True
        self.run(500)
