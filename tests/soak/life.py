"""
What a gateway does with its outlets all day, over a bad line, each answer compared with the device itself.

Devices and gateway are in one process, and the devices' time passes only when nobody is asking: whatever the gateway
believes it has read must be, to the bit, what the device would show. A session opens only on the unit that was told,
once, with the limits that were given.
"""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from firmware_sim.bus import LineServer
from firmware_sim.outlet_rules import Limits
from firmware_sim.pdu import Unit
from gateway.config import Line
from gateway.devices.ports import CommandFailed, DeviceMismatch, Opening
from gateway.devices.water_outlet import WaterOutlet
from gateway.modbus.bus import Bus, BusError, Priority
from gateway.modbus.codec import CodecError
from hardware.points import load
from tests.soak.noise import Mishaps, NoisyLine
from tests.unit.firmware_sim.rig import Bench

UNITS = 4
TIMEOUT_MS = 120
MAP = load("chw.hwo1")
#: what is read as raw registers; blocks whose values move with each frame are left to the drivers
BLOCKS = [block for block in MAP.blocks if block.id in ("id", "st", "mbx", "cfg", "io", "cmd", "res", "log", "flags")]
#: the driver's own errors: each says loudly that something was not read or not done
LOUD = (BusError, CodecError, CommandFailed, DeviceMismatch)


class Outlets:
    """The devices on the line."""

    def __init__(self) -> None:
        self.benches = {unit: Bench().ready() for unit in range(1, UNITS + 1)}
        for bench in self.benches.values():
            bench.polled = False

    def unit(self, unit_id: int) -> Unit | None:
        """Return who answers."""
        bench = self.benches.get(unit_id)
        return bench.outlet if bench else None

    def units(self) -> Sequence[Unit]:
        """Return who hears a broadcast."""
        return [bench.outlet for bench in self.benches.values()]


class Soak:
    """One line, its devices, and a gateway that is never done."""

    def __init__(self, seed: int, mishaps: Mishaps) -> None:
        self._rng = random.Random(seed)
        self.outlets = Outlets()
        self.server = LineServer(self.outlets, now_ms=lambda: self.outlets.benches[1].now_ms, rtu=True)
        self._mishaps = mishaps
        self.line: NoisyLine
        self.bus: Bus
        self._drivers: dict[int, WaterOutlet] = {}
        self._session = 0
        #: by unit, the sessions it was told to open, with their limits
        self.told: dict[int, dict[int, Limits]] = {unit: {} for unit in self.outlets.benches}
        #: what was done, what failed loudly, and what must stay at nothing
        self.done: Counter[str] = Counter()
        self.loud: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def start(self) -> None:
        """Open the line."""
        port = await self.server.start("127.0.0.1", 0)
        self.line = NoisyLine(port, self._mishaps, self._rng)
        self.bus = Bus(
            Line(
                line_id="l1",
                transport="rtu_tcp",
                host="127.0.0.1",
                port=await self.line.start(),
                timeout_ms=TIMEOUT_MS,
            )
        )
        self.bus.start()
        self._drivers = {unit: WaterOutlet(self.bus, unit, MAP) for unit in self.outlets.benches}

    async def stop(self) -> None:
        """Close the line."""
        await self.bus.stop()
        await self.line.stop()
        await self.server.stop()

    async def step(self) -> None:
        """Do one thing and let a little time pass."""
        unit = self._rng.choice(sorted(self._drivers))
        work: Callable[[int], Awaitable[None]] = self._rng.choices(
            [self._read_block, self._status, self._flags, self._log, self._open, self._close, self._write],
            [30, 20, 20, 8, 6, 8, 8],
        )[0]
        self.bus.unit(unit).failures = 0  # nobody rests: this is about what is said, not about how often
        try:
            await work(unit)
        except LOUD as error:
            self.loud[type(error).__name__] += 1
        else:
            self.done[work.__name__.strip("_")] += 1
        self._pass_time()
        self._look_at_openings()

    def _pass_time(self) -> None:
        steps = self._rng.choice((0, 1, 1, 4))
        for bench in self.outlets.benches.values():
            bench.polled = True
            bench.run(50 * steps)
            bench.polled = False

    def _expect(self, what: str, read: object, true: object) -> None:
        if read != true:
            self.wrong.append(f"{what}: read {read!r}, the device has {true!r}")

    def _look_at_openings(self) -> None:
        for unit, bench in self.outlets.benches.items():
            running = bench.outlet.dispense
            if running is None:
                continue
            told = self.told[unit].get(running.session_id)
            if told is None:
                self.wrong.append(f"unit {unit} opened for session {running.session_id}, which nobody told it")
            elif running.limits != told:
                self.wrong.append(f"unit {unit} runs with {running.limits}, was told {told}")

    # -- what a gateway does

    async def _read_block(self, unit: int) -> None:
        block = self._rng.choice(BLOCKS)
        first = self._rng.randrange(block.words)
        count = self._rng.randint(1, block.words - first)
        address = block.address + first
        if block.table == "input":
            words = await self.bus.read_input(unit, address, count, Priority.HOT)
        elif block.table == "discrete":
            words = await self.bus.read_discrete(unit, address, count, Priority.HOT)
        else:
            words = await self.bus.read_holding(unit, address, count, Priority.HOT)
        true = self.outlets.benches[unit].outlet.read(block.table, address, count)
        self._expect(f"unit {unit} {block.table} {address}", words, true)

    async def _status(self, unit: int) -> None:
        status = await self._drivers[unit].status(Priority.HOT)
        outlet = self.outlets.benches[unit].outlet
        seen = (status.state, status.session_u32, status.session_pulses, status.total_pulses, status.log_head)
        session = outlet.dispense.session_id if outlet.dispense else outlet.last_session_id
        self._expect(
            f"unit {unit} status",
            seen,
            (outlet.state, session, outlet.session_pulses(), outlet.total_pulses, outlet.log.head),
        )

    async def _flags(self, unit: int) -> None:
        flags = await self._drivers[unit].flags()
        bits = self.outlets.benches[unit].outlet.read("discrete", 0, 16)
        names = {p.name for p, bit in zip(MAP.block("flags").points, bits, strict=True) if bit}
        self._expect(f"unit {unit} flags", set(flags.names), names)

    async def _log(self, unit: int) -> None:
        outlet = self.outlets.benches[unit].outlet
        cursor = self._rng.randint(1, outlet.log.head + 1)
        page = await self._drivers[unit].log_page(cursor)
        self._expect(f"unit {unit} log head", page.head, outlet.log.head)
        self._expect(f"unit {unit} damaged records", page.damaged, 0)
        for record in page.records:
            true = outlet.log.records[record.sequence]
            self._expect(
                f"unit {unit} record {record.sequence}", record.total_pulses, int.from_bytes(true[26:34], "big")
            )
        if page.through and self._rng.random() < 0.5:
            await self._drivers[unit].acknowledge_log(page.through)

    async def _open(self, unit: int) -> None:
        self._session += 1
        opening = Opening(
            session_u32=self._session,
            volume_limit_ml=self._rng.randint(1_000, 100_000),
            duration_limit_s=self._rng.randint(60, 1_800),
            lease_s=self._rng.randint(30, 120),
            idle_limit_s=self._rng.randint(30, 120),
            temperature_limit_decidegc=480,
            token_tag=self._session,
            not_after_s=0,
        )
        self.told[unit][self._session] = Limits(
            volume_ml=opening.volume_limit_ml,
            time_ms=opening.duration_limit_s * 1000,
            lease_ms=opening.lease_s * 1000,
            idle_ms=opening.idle_limit_s * 1000,
            temp_decidegc=480,
        )
        result = await self._drivers[unit].open(opening)
        running = self.outlets.benches[unit].outlet.dispense
        is_open = running is not None and running.session_id == self._session
        self._expect(f"unit {unit} opening of {self._session} answered {result.code}", result.accepted, is_open)

    async def _close(self, unit: int) -> None:
        running = self.outlets.benches[unit].outlet.dispense
        result = await self._drivers[unit].close(running.session_id if running else 0, "REMOTE")
        closing = self.outlets.benches[unit].outlet.valve_drive
        self._expect(f"unit {unit} closing answered {result.code}", result.accepted, not closing)

    async def _write(self, unit: int) -> None:
        text = f"{self._rng.randrange(10**9)}"
        await self._drivers[unit].display(text, 5)
        shown = self.outlets.benches[unit].outlet.io.get("disp_text")
        shown = shown.rstrip(b"\0").decode() if isinstance(shown, bytes) else shown
        self._expect(f"unit {unit} display", shown, text)

    def judge(self) -> None:
        """Look at every log: no session began twice, none that was not told."""
        for unit, bench in self.outlets.benches.items():
            started = [record.subject_id for record in bench.records("START")]
            if len(started) != len(set(started)):
                self.wrong.append(f"unit {unit} began a session twice: {started}")
            self.wrong += [f"unit {unit} began {one} untold" for one in started if one not in self.told[unit]]
