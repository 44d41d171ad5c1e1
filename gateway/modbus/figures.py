"""
Whole numbers out of a block in one go, for the blocks that are read all the time.

What `gateway.modbus.codec` decides anew for each value (type, place, scale, "no value") is decided once here, when the
map is known; reading is then one unpacking and a few multiplications.
"""

import struct
from collections.abc import Mapping, Sequence

from gateway.modbus.codec import CodecError
from hardware.model import Block, Point

_FORMATS = {"u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q", "i64": "q"}


class Figures:
    """Reads some points of one block, each as so many to its unit, rounded down."""

    def __init__(self, block: Block, wanted: Mapping[str, int]) -> None:
        """
        `wanted` names the points, with how many to the unit.

        :raises CodecError: if a point is no plain big-endian integer of the block.
        """
        self._block = block
        points = sorted((block.point(name) for name in wanted), key=lambda point: point.address)
        form, end = ">", block.address
        for point in points:
            if not _is_plain(point) or point.address < end:
                raise CodecError(f"{point.name} cannot be read as a plain integer")
            form += f"{2 * (point.address - end)}x{_FORMATS[point.type]}"
            end = point.address + point.words
        self._layout = struct.Struct(f"{form}{2 * (block.address + block.words - end)}x")
        self._words = struct.Struct(f">{block.words}H")
        places = {point.name: at for at, point in enumerate(points)}
        self._plain: list[tuple[str, int]] = []
        #: name, place, multiplier, divisor, raw values that mean "no value"
        self._turned: list[tuple[str, int, int, int, frozenset[int]]] = []
        for name, per_unit in wanted.items():
            point, at = block.point(name), places[name]
            scale = point.scale * per_unit
            none = frozenset(point.nan_also) | ({point.nan} if point.nan is not None else set())
            if scale == 1 and not none:
                self._plain.append((name, at))
            else:
                self._turned.append((name, at, scale.numerator, scale.denominator, none))

    def read(self, words: Sequence[int]) -> dict[str, int]:
        """
        Return the figures by name; those the device has no value for are left out.

        :raises CodecError: if the words are not as many as the block has.
        """
        if len(words) != self._block.words:
            raise CodecError(f"block {self._block.id} takes {self._block.words} registers, not {len(words)}")
        return self.read_bytes(self._words.pack(*words))

    def read_bytes(self, data: bytes) -> dict[str, int]:
        """
        Return the figures by name, from the registers as they come over the wire.

        :raises CodecError: if the bytes are not as many as the block has.
        """
        raw = self.raw(data)
        found = {name: raw[at] for name, at in self._plain}
        for name, at, multiplier, divisor, none in self._turned:
            value = raw[at]
            if value not in none:
                found[name] = value * multiplier // divisor
        return found

    def raw(self, data: bytes) -> tuple[int, ...]:
        """
        Return the figures as the registers have them, in the order of their addresses: enough to tell a change.

        :raises CodecError: if the bytes are not as many as the block has.
        """
        if len(data) != self._layout.size:
            raise CodecError(f"block {self._block.id} takes {self._layout.size} bytes, not {len(data)}")
        return self._layout.unpack(data)


def _is_plain(point: Point) -> bool:
    return (
        point.type in _FORMATS
        and point.mask is None
        and not point.needs
        and (point.word_order, point.byte_order) == ("big", "big")
    )
