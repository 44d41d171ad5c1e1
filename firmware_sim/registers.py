"""
The register file of a device: which point is at which address, and how bus accesses become values.

Reads may cut through a point. A write must cover whole points, is checked completely and then applied completely.
"""

from collections.abc import Callable, Mapping, Sequence

from firmware_sim.codec import Raw, decode, encode
from hardware.points import Point, RegisterMap

ILLEGAL_FUNCTION = 1
ILLEGAL_ADDRESS = 2
ILLEGAL_VALUE = 3
DEVICE_FAILURE = 4
DEVICE_BUSY = 6


class BusRefusal(Exception):
    """The device answers a Modbus exception with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"Modbus exception {code}")
        self.code = code


class RegisterFile:
    """Address lookup for one map; holds no values."""

    def __init__(self, register_map: RegisterMap) -> None:
        self._owner: dict[tuple[str, int], Point] = {}
        for block in register_map.blocks:
            for point in block.points:
                for address in range(point.address, point.address + point.words):
                    self._owner[block.table, address] = point

    def _point(self, table: str, address: int) -> Point:
        point = self._owner.get((table, address))
        if point is None:
            raise BusRefusal(ILLEGAL_ADDRESS)
        return point

    def read(self, table: str, address: int, count: int, value_of: Callable[[str], Raw]) -> list[int]:
        """
        Return `count` registers or bits from `address`.

        :raises BusRefusal: 2 if any address is undefined.
        """
        words: list[int] = []
        at = address
        while len(words) < count:
            point = self._point(table, at)
            value = value_of(point.name)
            encoded = [1 if value else 0] if point.type == "bit" else encode(point, value)
            words.extend(encoded[at - point.address :])
            at = point.address + point.words
        for missing in range(at, address + count):
            self._point(table, missing)
        return words[:count]

    def points_written(self, table: str, address: int, values: Sequence[int]) -> Mapping[str, Raw]:
        """
        Return what a write sets, by point name, in address order.

        :raises BusRefusal: 2 for an undefined or read-only address, 3 for half a point or a value out of bounds.
        """
        written: dict[str, Raw] = {}
        end = address + len(values)
        for at in range(address, end):
            if self._point(table, at).access == "r":
                raise BusRefusal(ILLEGAL_ADDRESS)
        at = address
        while at < end:
            point = self._point(table, at)
            if point.address != at or at + point.words > end:
                raise BusRefusal(ILLEGAL_VALUE)
            raw = values[at - address : at - address + point.words]
            value = bool(raw[0]) if point.type == "bit" else decode(point, raw)
            if isinstance(value, int) and not _within(point, value):
                raise BusRefusal(ILLEGAL_VALUE)
            written[point.name] = value
            at += point.words
        return written


#: files that were made, by map; the map is kept so that its id stays its own
_MADE: dict[int, tuple[RegisterMap, RegisterFile]] = {}


def register_file(register_map: RegisterMap) -> RegisterFile:
    """Return the register file of a map; devices of one map share it."""
    made = _MADE.get(id(register_map))
    if made is None:
        made = _MADE[id(register_map)] = (register_map, RegisterFile(register_map))
    return made[1]


def _within(point: Point, value: int) -> bool:
    return (point.min is None or value >= point.min) and (point.max is None or value <= point.max)
