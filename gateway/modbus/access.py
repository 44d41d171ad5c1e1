"""
Read and write the points of one unit by name, however its map says that is done.

A value comes in the point's unit. What it depends on (a unit code, a power of ten, the other half of a sum) is read in
the same go, so that it never belongs to another moment.
"""

from collections.abc import Collection, Mapping
from fractions import Fraction

from gateway.modbus import functions
from gateway.modbus.bus import Bus, BusError, Declined, Priority
from gateway.modbus.codec import CodecError, Value, decode, encode, encode_block, factor, resolve, round_down, within
from gateway.modbus.plan import Span, closure, spans
from hardware.model import Block, Point, RegisterMap

SNAPSHOT_TRIES = 3
ILLEGAL_ADDRESS = 2

Writable = int | Fraction | str | bytes


class SnapshotTorn(BusError):
    """The device changed under every try to read one consistent snapshot."""


def firmware_number(text: str) -> tuple[int, ...]:
    """Return the numbers of a firmware version, to compare; empty when it has none."""
    return tuple(int(part) for part in text.strip().split(".") if part.isascii() and part.isdigit())


class PointAccess:
    """One unit on a bus, by the names of its map."""

    def __init__(self, bus: Bus, unit: int, register_map: RegisterMap) -> None:
        self._bus, self._unit, self._map = bus, unit, register_map
        #: what `identify` found, to leave out points that came with a later firmware
        self.firmware: tuple[int, ...] = ()
        self._over_holes = True
        self._end = register_map.by_role("snapshot_end")
        #: the same few sets of points are read for years
        self._plans: dict[tuple[frozenset[str], tuple[int, ...], bool], list[Span]] = {}

    def known(self, name: str) -> bool:
        """Return whether this unit has a point: of its map, and not newer than its firmware."""
        point = self._map.points.get(name)
        return point is not None and (point.fw_min is None or self.firmware >= firmware_number(point.fw_min))

    async def read(self, names: Collection[str], priority: Priority) -> dict[str, Value]:
        """
        Return the values of points by name.

        :raises CodecError: if a value makes no sense, or its unit code is not in the map.
        :raises SnapshotTorn: if the device changed under every try.
        :raises BusError: if the unit did not answer, or declined.
        """
        for name in names:
            if not self.known(name) or not self._map.points[name].readable:
                raise CodecError(f"{name} cannot be read on this unit")
        plan = self._plan(names)
        try:
            values = await self._read_spans(plan, priority)
        except Declined as error:
            if error.exception_code != ILLEGAL_ADDRESS or not any(span.has_hole for span in plan):
                raise
            self._over_holes = False  # this one does not let itself be read over its holes
            values = await self._read_spans(self._plan(names), priority)
        return {name: resolve(self._map, self._map.points[name], values) for name in names}

    async def read_one(self, name: str, priority: Priority) -> Value:
        """Return the value of one point; raises what `read` raises."""
        return (await self.read([name], priority))[name]

    def _plan(self, names: Collection[str]) -> list[Span]:
        key = frozenset(names), self.firmware, self._over_holes
        plan = self._plans.get(key)
        if plan is None:
            known = [name for name in names if self.known(name)]
            plan = self._plans[key] = spans(self._map, known, over_holes=self._over_holes)
        return plan

    async def _read_spans(self, plan: list[Span], priority: Priority) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for block in self._map.blocks:
            own = [span for span in plan if span.points[0].block == block.id]
            for _ in range(SNAPSHOT_TRIES):
                for span in own:
                    values |= await self._read_span(span, priority)
                if self._is_whole(block, values):
                    break
            else:
                raise SnapshotTorn(f"unit {self._unit}: no consistent {block.id} in {SNAPSHOT_TRIES} tries")
        return values

    def _is_whole(self, block: Block, values: Mapping[str, Value]) -> bool:
        if block.sync is None or self._end is None or self._end.block != block.id or block.sync not in values:
            return True
        return values[block.sync] == values[self._end.name]

    async def _read_span(self, span: Span, priority: Priority) -> dict[str, Value]:
        words = await functions.read(self._bus, self._unit, span.table, span.address, span.count, priority)
        values: dict[str, Value] = {}
        for point in span.points:
            at = point.address - span.address
            if self.known(point.name):
                values[point.name] = decode(point, words[at : at + point.words])
        return values

    # -- writing

    async def write(self, name: str, value: Writable, priority: Priority) -> None:
        """
        Write one point, in its unit, with the function code the device takes.

        :raises CodecError: if the value does not fit; nothing was sent then.
        :raises BusError: if the unit did not answer, or declined.
        """
        point = self._map.points[name]
        if point.access == "r" or not self.known(name):
            raise CodecError(f"{name} cannot be written on this unit")
        if isinstance(value, int | Fraction):
            value = await self._in_device_units(point, value, priority)
            if not within(point, value):
                raise CodecError(f"{name} takes {point.min} to {point.max}, not {value}")
        if point.table == "coil":
            await self._write_coil(point, value, priority)
        else:
            await self._write_registers(point, encode(point, value), priority)

    async def _in_device_units(self, point: Point, value: int | Fraction, priority: Priority) -> int | Fraction:
        return value / await self._factor(point, priority)

    async def _factor(self, point: Point, priority: Priority) -> Fraction:
        if not point.needs:
            return Fraction(1)
        values = await self.read(sorted(closure(self._map, point.needs)), priority)
        return factor(self._map, point, values)

    async def step_down(self, name: str, value: Fraction, priority: Priority) -> Fraction:
        """Return the greatest value a point can carry that is not above a positive one, both in its unit."""
        point = self._map.points[name]
        turned = await self._factor(point, priority)
        return round_down(point, value / turned) * turned

    async def _write_coil(self, point: Point, value: Writable, priority: Priority) -> None:
        if point.type != "bit":
            (number,) = encode(point, value)
            await functions.write_delay(self._bus, self._unit, point.address, number, priority)
        elif point.fc == 15 or not self._takes(5):
            await functions.write_coils(self._bus, self._unit, point.address, [bool(value)], priority)
        else:
            await functions.write_coil(self._bus, self._unit, point.address, bool(value), priority)

    def _takes(self, function: int) -> bool:
        return self._map.functions is None or function in self._map.functions

    async def _write_registers(self, point: Point, words: list[int], priority: Priority) -> None:
        bus, unit, address = self._bus, self._unit, point.address
        if point.mask is not None and point.words == 1:
            if point.fc == 22 or (self._map.functions is not None and self._takes(22)):
                await functions.mask_register(bus, unit, address, point.mask, words[0], priority)
                return
            old = await functions.read(bus, unit, point.table, address, 1, priority)
            words = [old[0] & ~point.mask & 0xFFFF | words[0]]
        if point.fc == 23 or not (self._takes(16) or self._takes(6)):
            await bus.write_read(
                unit,
                write_address=address,
                values=words,
                read_address=address,
                read_count=len(words),
                priority=priority,
            )
        elif len(words) == 1 and (point.fc == 6 or (point.fc is None and self._takes(6))):
            await functions.write_register(bus, unit, address, words[0], priority)
        else:
            await bus.write(unit, address, words, priority)

    async def write_block(self, block_id: str, values: Mapping[str, Writable], priority: Priority) -> None:
        """Write a whole block in one request, as an all-or-nothing block demands; points not named are zero."""
        block = self._map.block(block_id)
        await self._bus.write(self._unit, block.address, encode_block(block, values), priority)

    async def acknowledge(self, name: str, seen: int, priority: Priority) -> None:
        """Clear a flag that was read: by the value its map names, or bit by bit where a one clears."""
        point = self._map.points[name]
        value = point.clear if point.clear is not None else (seen if point.access == "w1c" else 0)
        await self.write(name, value * point.scale, priority)
