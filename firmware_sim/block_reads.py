"""
Reads of whole points, worked out once: which points, in which form, from which getters.

What a poller asks again and again is packed in one go. A read through the middle of a point, into a hole, of bits or of
points in another byte order is left to the register file.
"""

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from firmware_sim.codec import Raw
from firmware_sim.common_values import Getter, getters
from hardware.points import Point, RegisterMap

if TYPE_CHECKING:
    from firmware_sim.device import Device

_FORMS = {"u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q", "i64": "q"}
#: reads worked out per kind and map; a stranger who asks for everything everywhere does not fill memory
KEPT_MAX = 512


class BlockRead:
    """One range of registers."""

    def __init__(self, points: Sequence[Point], table: dict[str, Getter]) -> None:
        self._form = struct.Struct(">" + "".join(_FORMS.get(point.type) or f"{point.words * 2}s" for point in points))
        self._words = struct.Struct(f">{self._form.size // 2}H")
        self._getters = [(table[point.name], point.nan) for point in points]

    def words(self, device: "Device") -> list[int]:
        """Return the registers as they are now."""
        values = [_plain(getter(device), nan) for getter, nan in self._getters]
        return list(self._words.unpack(self._form.pack(*values)))


def _plain(value: Raw, nan: int | None) -> int | bytes:
    if value is None:
        assert nan is not None, "a point without nan always has a value"
        return nan
    return value.encode("latin-1") if isinstance(value, str) else value


def _covered(register_map: RegisterMap, table: str, address: int, count: int) -> list[Point] | None:
    """Return the points that fill the range exactly, None when none do."""
    found: list[Point] = []
    at = address
    for block in register_map.blocks:
        if block.table != table or not block.address <= at < block.address + block.words:
            continue
        for point in sorted(block.points, key=lambda point: point.address):
            if point.address == at and point.address + point.words <= address + count:
                found.append(point)
                at += point.words
    plain = all(
        point.word_order == point.byte_order == "big" and (point.type in _FORMS or point.type in ("str", "raw"))
        for point in found
    )
    return found if plain and at == address + count else None


#: the map is kept so that its id stays its own
_MADE: dict[tuple[type, int], tuple[RegisterMap, dict[tuple[str, int, int], BlockRead | None]]] = {}


def block_read(
    kind: "type[Device]", register_map: RegisterMap, table: str, address: int, count: int
) -> BlockRead | None:
    """Return how to read a range, None when it has to be taken apart."""
    made = _MADE.get((kind, id(register_map)))
    if made is None:
        made = _MADE[kind, id(register_map)] = (register_map, {})
    known, key = made[1], (table, address, count)
    if key not in known:
        if len(known) >= KEPT_MAX:
            known.clear()
        points = _covered(register_map, table, address, count)
        known[key] = BlockRead(points, getters(kind, register_map)) if points else None
    return known[key]
