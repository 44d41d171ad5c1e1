"""
A device that stands in for any map: registers at the map's places, water behind its meter, and its dead-man.

Nothing here knows a product. Values are put into registers by code of the simulator's own, so that a mistake of the
gateway's has a chance to show. What the maker's document says of limits is kept: function codes, lengths, holes.
"""

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction

from firmware_sim.bus import Line, LineServer
from firmware_sim.codec import bytes_of, words_of
from firmware_sim.pdu import Unit
from firmware_sim.registers import ILLEGAL_ADDRESS, ILLEGAL_FUNCTION, ILLEGAL_VALUE, BusRefusal
from firmware_sim.timing import Timing
from hardware.model import Point, RegisterMap, Vector
from hardware.vocabulary import TIME_MS, VOLUME_ML

_WHOLE = {"u16": ">H", "i16": ">h", "u32": ">I", "i32": ">i", "u64": ">Q", "i64": ">q"}
_FLOATS = {"f32": (">f", ">I"), "f64": (">d", ">Q")}


def put_in_order(point: Point, big: bytes) -> list[int]:
    """Return the registers of a number whose bytes are given high byte first."""
    words = words_of(big)
    if point.byte_order == "little":
        words = [word >> 8 | (word & 0xFF) << 8 for word in words]
    return list(reversed(words)) if point.word_order == "little" else words


def take_from_order(point: Point, words: Sequence[int]) -> bytes:
    """Return the bytes of a number, high byte first."""
    ordered = list(reversed(words)) if point.word_order == "little" else list(words)
    if point.byte_order == "little":
        ordered = [word >> 8 | (word & 0xFF) << 8 for word in ordered]
    return bytes_of(ordered)


def _size(point: Point) -> int:
    """Return at what raw value a register starts over."""
    bits = 16 * point.words
    return int(10 ** (bits // 4)) if point.type.startswith("bcd") else 1 << bits


class MapDevice:
    """One unit, made of a map. Volumes are millilitres, times are milliseconds."""

    def __init__(self, register_map: RegisterMap, *, now_ms: int = 0, k_factor_pulses_per_m3: int = 0) -> None:
        self.map = register_map
        self.flow_ml_per_s = 0
        #: how long the valve takes to be where it was told to be
        self.valve_ms = 0
        #: what has run since it was made
        self.volume_ml = Fraction(0)
        #: every write, as table, address and words
        self.writes: list[tuple[str, int, tuple[int, ...]]] = []
        self._k_factor = k_factor_pulses_per_m3 or register_map.k_factor_pulses_per_m3
        self._now_ms = self._heard_ms = now_ms
        self._memory: dict[tuple[str, int], int] = {}
        self._owners: dict[tuple[str, int], list[Point]] = {}
        self._closes_at_ms: int | None = None
        #: what may still run, exactly; the register shows it in whole steps
        self._credit_ml = Fraction(0)
        self._moves_at_ms: int | None = None
        self._is_open = False
        self._place_points()

    def _place_points(self) -> None:
        for point in self.map.points.values():
            for at in range(point.address, point.address + point.words):
                self._owners.setdefault((point.table, at), []).append(point)
                if point.readable:
                    self._memory[point.table, at] = 0
        match = self.map.match
        for at, word in enumerate(match.words if match is not None else ()):
            self._memory[match.table, match.address + at] = word  # type: ignore[union-attr]
        for point in self.map.points.values():
            if point.default is not None and point.readable and point.type in _WHOLE:
                self.put(point.name, point.default)
        state = self._state()
        if state is not None:
            self._show_valve(state, False)

    # -- values, by name

    def put(self, name: str, raw: int) -> None:
        """Put a raw whole number into a point, before scaling; of a float, its bits."""
        point = self.map.points[name]
        if point.type == "bit":
            self._memory[point.table, point.address] = raw
        elif point.type in _FLOATS:
            self._store(point, put_in_order(point, struct.pack(_FLOATS[point.type][1], raw)))
        elif point.type.startswith("bcd"):
            self._store(point, put_in_order(point, bytes.fromhex(f"{raw:0{4 * point.words}d}")))
        elif point.mask is not None:
            (old,) = self._words(point)
            self._store(point, [old & ~point.mask & 0xFFFF | raw << point.shift & point.mask])
        else:
            self._store(point, put_in_order(point, struct.pack(_WHOLE[point.type], raw)))

    def put_float(self, name: str, value: float) -> None:
        """Put a number into a float point."""
        point = self.map.points[name]
        self._store(point, put_in_order(point, struct.pack(_FLOATS[point.type][0], value)))

    def put_bytes(self, name: str, data: bytes) -> None:
        """Put bytes into a text or raw point as they are on the wire."""
        point = self.map.points[name]
        self._store(point, words_of(data.ljust(2 * point.words, b"\0")))

    def put_vector(self, vector: Vector) -> None:
        """Put a golden vector's bytes where they belong, with the points they depend on."""
        for name, raw in vector.given.items():
            self.put(name, raw)
        point = self.map.points[vector.point]
        if point.type == "bit":
            self._memory[point.table, point.address] = vector.raw[0]
        elif point.combine is not None:
            whole, part = (self.map.points[name] for name in point.combine)
            self._store(whole, words_of(vector.raw[: 2 * whole.words]))
            self._store(part, words_of(vector.raw[2 * whole.words :]))
        else:
            self._store(point, words_of(vector.raw))

    def raw(self, name: str) -> int:
        """Return the raw whole number in a point."""
        point = self.map.points[name]
        if point.type == "bit":
            return self._memory[point.table, point.address]
        data = take_from_order(point, self._words(point))
        if point.type.startswith("bcd"):
            return int(data.hex())
        number: int = struct.unpack(_WHOLE.get(point.type) or _FLOATS[point.type][1], data)[0]
        return (number & point.mask) >> point.shift if point.mask is not None else number

    def value(self, name: str) -> Fraction:
        """Return a point's number in its unit, power of ten and unit code included."""
        point = self.map.points[name]
        if point.type in _FLOATS:
            number = struct.unpack(_FLOATS[point.type][0], take_from_order(point, self._words(point)))[0]
            return Fraction(number) * point.scale * self._turned(point)
        return self.raw(name) * point.scale * self._turned(point)

    def _turned(self, point: Point) -> Fraction:
        """Return what one of a point's own figure is in its unit, by the registers as they are now."""
        turned = Fraction(1)
        if point.sf is not None:
            turned *= Fraction(10) ** (self.raw(point.sf) + point.sf_add)
        if point.unit_from is not None and point.units is not None:
            turned *= self.map.unit_codes[point.units][self.raw(point.unit_from)].factor
        return turned

    def set_value(self, point: Point, value: Fraction) -> None:
        """Show a quantity in a point, rounded down to its steps; in a sum, whole and rest."""
        figure = value / point.scale / self._turned(point)
        if point.combine is not None:
            whole, part = (self.map.points[name] for name in point.combine)
            self.put(whole.name, int(figure // 1))
            rest = figure % 1
            if part.type in _FLOATS:
                self.put_float(part.name, float(rest))
            else:
                self.put(part.name, int(rest / part.scale))
        elif point.type in _FLOATS:
            self.put_float(point.name, float(figure))
        else:
            self.put(point.name, int(figure // 1) % _size(point))

    def _words(self, point: Point) -> list[int]:
        return [self._memory[point.table, at] for at in range(point.address, point.address + point.words)]

    def _store(self, point: Point, words: Sequence[int]) -> None:
        for at, word in enumerate(words):
            self._memory[point.table, point.address + at] = word

    # -- what the bus does

    def frame_seen(self, now_ms: int) -> None:
        """Let the time pass that has passed, and note that somebody polls."""
        self.tick(now_ms)
        self._heard_ms = now_ms

    def read(self, table: str, address: int, count: int) -> list[int]:
        """Return registers or bits; an address of no readable point is refused."""
        words = []
        for at in range(address, address + count):
            if (table, at) not in self._memory:
                raise BusRefusal(ILLEGAL_ADDRESS)
            words.append(self._memory[table, at])
        return words

    def write(self, table: str, address: int, values: Sequence[int], *, single: bool = False) -> None:
        """Write registers or bits: whole points that may be written, all of them or none."""
        points = self._written_points(table, address, len(values))
        self.writes.append((table, address, tuple(values)))
        for point in points:
            words = list(values[point.address - address : point.address - address + point.words])
            if point.access == "w1c":
                words = [old & ~new & 0xFFFF for old, new in zip(self._words(point), words, strict=True)]
            if point.readable:
                self._store(point, words)
            self._obey(point, words)

    def broadcast(self, address: int, values: Sequence[int]) -> None:
        """Nothing: none of these maps has a broadcast."""

    def write_delay(self, address: int, value: int) -> bool:
        """Take a coil write with a number, where the map has one there; return whether it has."""
        for point in self._owners.get(("coil", address), []):
            if point.type == "u16" and point.access != "r":
                self.writes.append(("coil", address, (value,)))
                self._obey(point, [value])
                return True
        return False

    def _written_points(self, table: str, address: int, count: int) -> list[Point]:
        points: list[Point] = []
        at = address
        while at < address + count:
            owners = [point for point in self._owners.get((table, at), []) if point.access != "r"]
            if not owners:
                raise BusRefusal(ILLEGAL_ADDRESS)
            point = owners[0]
            if point.address != at or at + point.words > address + count:
                raise BusRefusal(ILLEGAL_VALUE)
            points.append(point)
            at += point.words
        return points

    def refuse_or_obey(self, pdu: bytes, now_ms: int) -> bytes | None:
        """Return the answer where the maker's own limits decide it: function codes, lengths, coils with a delay."""
        function = pdu[0]
        if self.map.functions is not None and function not in self.map.functions:
            return bytes((function | 0x80, ILLEGAL_FUNCTION))
        asks = struct.unpack(">H", pdu[3:5])[0] if function in (3, 4) and len(pdu) == 5 else 0
        if asks > int(self.map.bus.get("max_read", 125)):
            return bytes((function | 0x80, ILLEGAL_VALUE))
        if function == 5 and len(pdu) == 5:
            self.frame_seen(now_ms)
            if self.write_delay(*struct.unpack(">HH", pdu[1:5])):
                return pdu
        return None

    def lose_power(self, now_ms: int) -> None:
        """Count what ran until now, and let go of every valve; totals and settings stay, as meters keep them."""
        self.tick(now_ms)
        self._move(False)
        self._arrive()

    def have_power(self, now_ms: int) -> None:
        """Go on from now, with nothing that ran in between."""
        self._now_ms = self._heard_ms = now_ms

    # -- water, valve and dead-man

    def _state(self) -> Point | None:
        cmd = self.map.by_role("valve_cmd")
        return self.map.by_role("valve_state") or (cmd if cmd is not None and cmd.readable else None)

    @property
    def is_open(self) -> bool:
        """Whether water may run."""
        return self._is_open

    def _obey(self, point: Point, words: Sequence[int]) -> None:
        number = words[0] if point.table == "coil" else int.from_bytes(take_from_order(point, words), "big")
        if point.role == "valve_cmd":
            self._move(self._means_open(point, number))
        elif point.role == "valve_pulse":
            self._move(number > 0)
            self._closes_at_ms = self._now_ms + int(number * point.scale * TIME_MS[point.unit])
        elif point.role == "credit_volume":
            self._credit_ml = self.value(point.name) * VOLUME_ML[point.unit]
            if self.map.by_role("valve_cmd") is None:
                self._move(number > 0)

    def _means_open(self, point: Point, number: int) -> bool:
        if point.enum is not None:
            return self.map.enums[point.enum].get(number) in ("OPEN", "ON")
        raw = (number & point.mask) >> point.shift if point.mask is not None else number
        return raw == point.on

    def _move(self, is_open: bool) -> None:
        self._closes_at_ms = None
        self._moves_at_ms = self._now_ms + self.valve_ms
        self._is_open = is_open
        if not self.valve_ms:
            self._arrive()

    def _arrive(self) -> None:
        self._moves_at_ms = None
        state = self._state()
        if state is not None:
            self._show_valve(state, self._is_open)

    def _show_valve(self, point: Point, is_open: bool) -> None:
        if point.enum is not None:
            labels = {label: number for number, label in self.map.enums[point.enum].items()}
            wanted = ("OPEN", "ON") if is_open else ("CLOSED", "OFF")
            self.put(point.name, next(labels[label] for label in wanted if label in labels))
        else:
            self.put(point.name, point.on if is_open else point.off)

    def tick(self, now_ms: int) -> None:
        """Let time pass: water runs while the valve is open, until a dead-man closes it."""
        closes_at = self._dead_man_ms()
        runs_until = now_ms if closes_at is None else max(self._now_ms, min(now_ms, closes_at))
        self._run(runs_until - self._now_ms)
        self._now_ms = now_ms
        if self._is_open and closes_at is not None and now_ms >= closes_at:
            self._move(False)
        if self._moves_at_ms is not None and now_ms >= self._moves_at_ms:
            self._arrive()

    def _dead_man_ms(self) -> int | None:
        """Return when the valve closes by itself, None when nothing closes it."""
        timer = self.map.by_role("watchdog")
        if self.map.deadman == "poll_watchdog" and timer is not None and self.raw(timer.name):
            return self._heard_ms + int(self.value(timer.name) * TIME_MS[timer.unit])
        return self._closes_at_ms

    def _run(self, elapsed_ms: int) -> None:
        volume = Fraction(self.flow_ml_per_s * elapsed_ms, 1_000) if self._is_open else Fraction(0)
        credit = self.map.by_role("credit_volume")
        if credit is not None and volume:
            volume = min(volume, self._credit_ml)
            self._credit_ml -= volume
            steps = -(-self._credit_ml / VOLUME_ML[credit.unit] // credit.scale)  # shown rounded up: 0 is none left
            self.set_value(credit, steps * credit.scale)
            if self._credit_ml <= 0:
                self._move(False)
        self.volume_ml += volume
        self._show_meter()

    def _show_meter(self) -> None:
        pulses, volume = self.map.by_role("pulses_total"), self.map.by_role("volume_total")
        if pulses is not None and self._k_factor:
            self.put(pulses.name, int(self.volume_ml * self._k_factor / 1_000_000) % _size(pulses))
        if volume is not None and self.volume_ml:
            self.set_value(volume, self.volume_ml / VOLUME_ML[volume.unit])


class MapLine:
    """A line with such devices. A unit that is taken out of `devices` is silent."""

    def __init__(self, devices: dict[int, MapDevice]) -> None:
        self.devices = devices

    def unit(self, unit_id: int) -> Unit | None:
        """Return the device that answers to a unit, None for silence."""
        return self.devices.get(unit_id)

    def units(self) -> Sequence[Unit]:
        """Return all devices."""
        return list(self.devices.values())


class MapLineServer(LineServer):
    """Serves such a line; a broadcast is nobody's."""

    def __init__(
        self,
        line: MapLine,
        *,
        now_ms: Callable[[], int],
        rtu: bool = False,
        timing: Timing | None = None,
        seed: str = "0",
    ) -> None:
        as_line: Line = line
        super().__init__(as_line, now_ms=now_ms, rtu=rtu, timing=timing, seed=seed)
