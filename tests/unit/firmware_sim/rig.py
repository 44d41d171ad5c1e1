"""A test bench for one device: a memory that can lose power, a hand on the flow, and a voice on the bus."""

import random
from collections.abc import Sequence

from firmware_sim.access_reader import AccessReader
from firmware_sim.device import Identity
from firmware_sim.event_log import Record, unpack
from firmware_sim.nvm import MemoryNvm
from firmware_sim.water_outlet import WaterOutlet
from hardware.points import load

K_FACTOR = 450_000
UNIX_MS = 1_795_348_800_000
LABEL = Identity(device_id="dev_t", serial="HW-00001", device_uid=1, model="HWO-1", k_factor_pulses_per_m3=K_FACTOR)
OPEN = {
    "session": 7, "limit_volume": 10_000, "limit_time": 600, "lease": 60, "idle": 30, "temp_max": 0, "token_tag": 99,
}  # fmt: skip


class PowerCut(Exception):
    """The supply failed in the middle of a save."""


class FailingNvm(MemoryNvm):
    """Loses power at the n-th save: before the bytes are kept, or just after."""

    def __init__(self) -> None:
        super().__init__()
        self.saves_left: int | None = None
        self.keep_last = False

    def save(self, body: bytes) -> None:
        if self.saves_left is not None:
            self.saves_left -= 1
            if self.saves_left <= 0:
                if self.keep_last:
                    super().save(body)
                self.saves_left = None
                raise PowerCut
        super().save(body)


class Bench:
    """Moves an outlet through time; every bus access goes through its registers."""

    def __init__(self, *, unix_ms: int | None = UNIX_MS) -> None:
        self.map = load("chw.hwo1")
        self.nvm = FailingNvm()
        self.now_ms = 1_000
        self.lpm = 8.5
        self.temp: int | None = 400
        self.mixer_open = True
        self.polled = True
        self.leak_lpm = 0.0
        self.stuck_open = False
        self._fraction = 0.0
        self._tokens = random.Random(1)
        self._unix_offset_ms = None if unix_ms is None else unix_ms - self.now_ms
        self.outlet = self.power_up()

    def power_up(self) -> WaterOutlet:
        unix_ms = None if self._unix_offset_ms is None else self.now_ms + self._unix_offset_ms
        self.outlet = WaterOutlet(self.map, LABEL, self.nvm, now_ms=self.now_ms, unix_ms=unix_ms)
        return self.outlet

    def ready(self) -> "Bench":
        """Wait out the boot and take its log records."""
        self.run(300)
        self.acknowledge()
        return self

    def run(self, ms: int, *, step_ms: int = 50) -> None:
        """Let time pass; water flows while the valve is driven and the mixer open."""
        for _ in range(ms // step_ms):
            self.now_ms += step_ms
            if self.polled:
                self.outlet.frame_seen(self.now_ms)
            flowing = (self.outlet.valve_drive or self.stuck_open) and self.mixer_open
            self._fraction += ((self.lpm if flowing else 0.0) + self.leak_lpm) * step_ms / 60_000 * K_FACTOR / 1000
            pulses = int(self._fraction)
            self._fraction -= pulses
            self.outlet.tick(self.now_ms, pulses=pulses, temp_decidegc=self.temp)

    def run_until(self, *states: str, within_ms: int = 120_000, step_ms: int = 50) -> int:
        """Let time pass until one of the states; return how long it took."""
        started = self.now_ms
        while self.outlet.state not in states:
            assert self.now_ms - started < within_ms, f"still {self.outlet.state} after {within_ms} ms"
            self.run(step_ms, step_ms=step_ms)
        return self.now_ms - started

    def value(self, name: str) -> int:
        """Return an integer point as the bus reads it."""
        point = self.map.points[name]
        words = self.outlet.read(point.table, point.address, point.words)
        if point.type == "bit":
            return words[0]
        data = b"".join(word.to_bytes(2, "big") for word in words)
        return int.from_bytes(data, "big", signed=point.type.startswith("i"))

    def write(self, name: str, value: int) -> None:
        """Write an integer point over the bus."""
        point = self.map.points[name]
        data = value.to_bytes(point.words * 2, "big")
        self.outlet.write(
            point.table, point.address, [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
        )

    def frame(self, opcode: str, *, token: int | None = None, **fields: int) -> list[int]:
        """Return the 19 registers of a command."""
        token = token or self._tokens.randint(1, 0xFFFF)
        values = {"token": token, "opcode": self.map.code("opcode", opcode), "commit": 0xA5C3 ^ token, **fields}
        words: list[int] = []
        for point in self.map.block("cmd").points:
            data = values.get(point.name.removeprefix("cmd_"), 0).to_bytes(point.words * 2, "big")
            words += [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
        return words

    def send(self, frame: Sequence[int]) -> tuple[str, int]:
        """Write a command frame and return its result label and detail."""
        self.outlet.frame_seen(self.now_ms)
        self.outlet.write("holding", 256, frame)
        token, code, detail = self.outlet.read("holding", 288, 3)
        assert token == frame[0]
        return self.map.enums["result"][code], detail

    def command(self, opcode: str, **fields: int) -> tuple[str, int]:
        """Send a command with a fresh token."""
        return self.send(self.frame(opcode, **fields))

    def open(self, **changes: int) -> tuple[str, int]:
        """Open with generous limits."""
        return self.command("OPEN", **{**OPEN, **changes})

    def records(self, type_name: str | None = None) -> list[Record]:
        """Return what the log ring holds, oldest first."""
        held = [unpack(self.outlet.log.records[seq]) for seq in sorted(self.outlet.log.records)]
        return [r for r in held if type_name is None or r.type == self.map.code("record_type", type_name)]

    def ends(self) -> list[tuple[int, str, int]]:
        """Return session, reason and pulses of every END."""
        return [(r.subject_id, self.map.enums["close_reason"][r.aux], r.count) for r in self.records("END")]

    def acknowledge(self) -> None:
        """Acknowledge the whole log."""
        self.write("log_ack", self.outlet.log.head)


class DoorBench:
    """The same for a reader, as far as doors need it."""

    def __init__(self) -> None:
        self.map = load("chw.acr1")
        self.nvm = FailingNvm()
        self.now_ms = 1_000
        label = Identity(device_id="dev_d", serial="AC-00001", device_uid=2, model="ACR-1")
        self.reader = AccessReader(self.map, label, self.nvm, now_ms=self.now_ms, unix_ms=UNIX_MS)
        self._tokens = random.Random(2)

    def run(self, ms: int) -> None:
        """Let time pass."""
        for _ in range(ms // 50):
            self.now_ms += 50
            self.reader.frame_seen(self.now_ms)
            self.reader.tick(self.now_ms)

    def command(self, opcode: str, *, token: int | None = None, **fields: int) -> tuple[str, int]:
        """Send a command with a fresh token unless one is given."""
        token = token or self._tokens.randint(1, 0xFFFF)
        values = {"token": token, "opcode": self.map.code("opcode", opcode), "commit": 0xA5C3 ^ token, **fields}
        words: list[int] = []
        for point in self.map.block("cmd").points:
            data = values.get(point.name.removeprefix("cmd_"), 0).to_bytes(point.words * 2, "big")
            words += [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
        self.reader.write("holding", 256, words)
        _, code, detail = self.reader.read("holding", 288, 3)
        return self.map.enums["result"][code], detail

    def events(self) -> list[tuple[str, int, int]]:
        """Return type, grant and aux of every record but the boot's."""
        held = [unpack(self.reader.log.records[seq]) for seq in sorted(self.reader.log.records)]
        names = self.map.enums["record_type"]
        return [(names[r.type], r.subject_id, r.aux) for r in held if names[r.type] != "BOOT"]
