"""Random scenarios: people, gateways, electricians and noise, mostly sensible and sometimes not; one seed, one list."""

import random
from collections.abc import Callable

from tests.contract.firmware.steps import (
    MAP,
    Acknowledge,
    Cut,
    CutInSave,
    Frame,
    Post,
    Press,
    Step,
    TakeMail,
    Tick,
    command,
    long,
    open_order,
    order,
    read,
    write,
    write_one,
    write_read,
)

_OPCODES = ("OPEN", "CLOSE", "EXTEND", "PAUSE", "CLEAR_FAULT", "SELF_TEST", "SET_CLOCK", "IDENTIFY", "REBOOT")
_UNIX_S = 1_795_348_800


class Chance:
    """Draws steps; remembers just enough to repeat a frame and to go on with a session."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._frames: list[Frame] = []
        self._session = 1
        self._inputs: dict[str, int | bool | None] = {}
        self._temp: int | None = 400
        #: some gateways hardly ever acknowledge, so that the ring fills
        self._forgetful = seed % 4 == 1

    def steps(self, count: int) -> list[Step]:
        """Return a scenario."""
        made: list[Step] = [Tick(300)]
        while len(made) < count:
            made += self._next()
        return made[:count]

    def _next(self) -> list[Step]:
        draw: list[tuple[int, Callable[[], list[Step]]]] = [
            (20, self._shower),
            (30, self._water),
            (10, self._command),
            (6, self._again),
            (8, self._read),
            (6, self._drain),
            (6, self._write),
            (4, self._configure),
            (5, self._mail),
            (3, self._noise),
            (2, self._electrician),
            (3, self._power),
        ]
        weights = [weight for weight, _ in draw]
        return self._random.choices([make for _, make in draw], weights)[0]()

    def _pick(self, *values: int) -> int:
        return self._random.choice(values)

    def _token(self) -> int:
        return self._random.randint(1, 0xFFFF)

    def _tick(self, ms: int, rate: int = 0, leak: int = 0) -> Tick:
        reverse = 3 if self._random.random() < 0.002 else 0
        return Tick(ms, rate * ms // 100, self._temp, leak, reverse, dict(self._inputs))

    def _water(self) -> list[Step]:
        pick = self._random
        if pick.random() < 0.12:
            self._temp = pick.choice([400, 400, 400, 435, 425, 481, 520, 5, None])
        elif pick.random() < 0.5:
            self._temp = 400
        rate = pick.choice([0, 1, 4, 8, 40])
        if pick.random() < 0.1:
            return [self._tick(pick.choice([3_000, 5_000, 31_000, 61_000]))]
        leak = pick.choice([1, 7, 60]) if pick.random() < 0.04 else 0
        sizes = [10, 10, 20, 50, 100, 250, 300, 1_000]
        return [self._tick(pick.choice(sizes), rate, leak) for _ in range(pick.randint(1, 5))]

    def _shower(self) -> list[Step]:
        """Clear the way as a gateway would, open, and let some water run."""
        pick = self._random
        made: list[Step] = []
        if pick.random() < 0.5:
            self._inputs, self._temp = {}, 400
            made += [self._tick(1_000), order("CLEAR_FAULT", token=self._token())]
        made += self._open()
        if pick.random() < 0.3:
            made.append(order("PAUSE", token=self._token(), session=self._session))
        elif pick.random() < 0.3:
            made.append(order("EXTEND", token=self._token(), session=self._session, limit_volume=60_000, lease=30))
        rate = pick.choice([1, 5, 8])
        made += [self._tick(pick.choice([50, 100, 300, 1_000]), rate) for _ in range(pick.randint(0, 6))]
        if pick.random() < 0.3:
            made.append(order("CLOSE", token=self._token(), session=self._session, limit_time=self._pick(0, 11, 14)))
            made += [self._tick(100, 0, pick.choice([0, 0, 2])) for _ in range(4)]
        return made

    def _open(self) -> list[Step]:
        if self._random.random() < 0.8:
            self._session = self._random.randint(1, 1_000)
        limits = {
            "limit_volume": self._pick(500, 3_000, 40_000, 200_000),
            "limit_time": self._pick(2, 60, 600),
            "lease": self._pick(2, 20, 60),
            "idle": self._pick(0, 3, 30),
            "temp_max": self._pick(0, 0, 450, 600),
            "token_tag": self._random.getrandbits(32),
        }
        if self._random.random() < 0.15:
            wrong = {"limit_volume": 0, "limit_time": 7_201, "lease": 601, "idle": 601, "temp_max": 199, "session": 0}
            name = self._random.choice(sorted(wrong))
            limits[name] = wrong[name]
        if self._random.random() < 0.1:
            limits["not_after"] = _UNIX_S + self._pick(-100, 10, 100_000)
        session = limits.pop("session", self._session)
        return self._sent(open_order(token=self._token(), session=session, **limits))

    def _command(self) -> list[Step]:
        opcode = self._random.choice(_OPCODES)
        fields = {"session": self._pick(self._session, self._session, self._session, 0, 7)}
        if opcode == "CLOSE":
            fields["limit_time"] = self._pick(0, 10, 11, 13, 14, 15, 3, 99)
        elif opcode == "SET_CLOCK":
            fields["session"] = _UNIX_S + self._pick(0, 1, 5_000, 100_000)
        elif opcode in ("EXTEND", "OPEN"):
            fields["limit_volume"] = self._pick(0, 3_000, 50_000, 300_000)
            fields["limit_time"] = self._pick(0, 60, 900, 3_000)
            fields["lease"] = self._pick(0, 5, 60, 601)
        if self._random.random() < 0.05:
            return self._sent(order(self._pick(0, 10, 77), token=self._token(), **fields))
        if self._random.random() < 0.05:
            return self._sent(order(opcode, token=self._token(), commit=self._random.getrandbits(16)))
        return self._sent(order(opcode, token=self._token(), **fields))

    def _sent(self, frame: Frame) -> list[Step]:
        self._frames = [*self._frames[-5:], frame]
        return [frame]

    def _again(self) -> list[Step]:
        return [self._random.choice(self._frames)] if self._frames else self._open()

    def _read(self) -> list[Step]:
        pick = self._random
        block = pick.choice(MAP.blocks)
        function = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}[block.table]
        address = block.address + pick.choice([0, 0, 0, 1, block.words // 2])
        count = pick.choice([block.words, block.words, 1, 2, block.words + 1, 125, 126, 0])
        return [Frame(read(function, address, min(count, 2_001)), ms=pick.choice([10, 40, 1_500]))]

    def _drain(self) -> list[Step]:
        """Read the log from some cursor and mostly acknowledge it."""
        cursor = self._random.choice([0, 1, 5, 60, 127, 130, 200, 300])
        made: list[Step] = [Frame(write_read(66, list(long(cursor)), 400, 125))]
        if self._random.random() < (0.02 if self._forgetful else 0.7):
            made.append(Acknowledge(self._pick(0, 0, 0, 2, 20, 118, 127)))
        return made

    def _write(self) -> list[Step]:
        pick = self._random
        unix = long(_UNIX_S + pick.randint(0, 200_000))
        frames = [
            Frame(write(69, *unix, pick.choice([0, 999, 1_000]))),
            Frame(write(69, *unix, 5), unit=0),
            Frame(write(69, *unix)),
            Frame(write(72, *(pick.getrandbits(16) & pick.choice([0xFFFF, 0xFF00]) for _ in range(16)), 5)),
            Frame(write(88, pick.getrandbits(16), 7, 3)),
            Frame(write_one(pick.choice([64, 68, 88, 89, 90, 91, 257, 0, 1]), pick.getrandbits(16))),
            Frame(bytes((22, 0, pick.choice([64, 68, 89, 90, 1]), 0, 0xF0, 0, 0x25))),
            Frame(bytes((5, 0, pick.choice([0, 1, 2]), pick.choice([0, 0xFF, 1]), 0))),
            Frame(bytes((15, 0, 0, 0, 2, 1, pick.getrandbits(2)))),
            Frame(write(256, *command("CLOSE", token=self._token())[: pick.choice([3, 18, 19])])),
            Frame(write(64, *([0] * pick.choice([4, 5, 27, 28])))),
        ]
        return [pick.choice(frames)]

    def _configure(self) -> list[Step]:
        pick = self._random
        points = [point for point in MAP.block("cfg").points if point.persist and point.name not in _FIXED]
        point = pick.choice(points)
        low, high = point.min or 0, point.max or 0
        value = pick.choice([low, high, max(0, low - 1), high + 1, point.default or 450_000, pick.randint(low, high)])
        if point.name == "cfg_leak_window":
            value = min(value, 3_600)
        words = long(value) if point.words == 2 else (value & 0xFFFF,)
        unlock = [Frame(write_one(1, 0x55AA))] if pick.random() < 0.8 else []
        return [*unlock, Frame(write(point.address, *words))]

    def _mail(self) -> list[Step]:
        pick = self._random
        if pick.random() < 0.3:
            return [Press()]
        if pick.random() < 0.4:
            return [Frame(read(4, 200, 117)), TakeMail()]
        source, size = pick.choice([(1, 0), (2, 80), (3, 40), (3, 210)])
        return [Post(source, pick.randbytes(pick.choice([4, 7, 10, 12])), pick.randbytes(size))]

    def _noise(self) -> list[Step]:
        pick = self._random
        body = pick.randbytes(pick.choice([1, 2, 5, 6, 9, 20, 250]))
        known = bytes((pick.choice([1, 2, 3, 4, 5, 6, 15, 16, 22, 23, 20, 43]),)) + body
        return [
            pick.choice(
                [
                    Frame(known),
                    Frame(known, good=False),
                    Frame(known, unit=pick.choice([0, 2, 200])),
                    Frame(read(3, 0xFFFF, 2)),
                    Frame(read(4, 99, 3)),
                ]
            )
        ]

    def _electrician(self) -> list[Step]:
        pick = self._random
        if self._inputs and pick.random() < 0.7:
            self._inputs = {}
        else:
            name = pick.choice(sorted(_INPUTS))
            self._inputs = {**self._inputs, name: pick.choice(_INPUTS[name])}
        return [self._tick(10)]

    def _power(self) -> list[Step]:
        pick = self._random
        if pick.random() < 0.5:
            return [CutInSave(pick.randint(1, 6), kept=pick.random() < 0.5)]
        return [Cut(pick.choice([10, 800, 60_000]), warned=pick.random() < 0.4), Tick(pick.choice([50, 200, 300]))]


#: what would only take the unit off the line
_FIXED = ("cfg_unit", "cfg_baud", "cfg_framing", "cfg_turnaround")
_INPUTS: dict[str, tuple[int | bool | None, ...]] = {
    "tamper": (True,),
    "sensor_unplugged": (True,),
    "service_key": (True,),
    "supply_mv": (20_399, 20_400, 21_000, 21_600),
    "backup_mv": (2_799, 2_800, 2_950, 3_000),
    "temp_in_decidegc": (150, 600, 9, 10, 11, None),
    "temp_mcu_decidegc": (None, -50),
    "reader_online": (False,),
    "coil_ok": (False,),
}
