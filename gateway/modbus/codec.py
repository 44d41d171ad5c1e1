"""
Turn registers into values and back, as a register map says.

Numbers come out exact: an int where the scale is one, else a Fraction in the point's unit. A point's "no value" pattern
comes out as None.
"""

import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction

from hardware.model import Block, Point

Value = int | Fraction | float | str | bytes | None

_FORMATS = {"u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q", "i64": "q", "f32": "f", "f64": "d"}


class CodecError(ValueError):
    """Registers do not fit the map, or a value does not fit its point."""


def _to_bytes(point: Point, words: Sequence[int]) -> bytes:
    if len(words) != point.words:
        raise CodecError(f"{point.name} takes {point.words} registers, not {len(words)}")
    text = point.type in ("str", "raw")
    ordered = reversed(words) if point.word_order == "little" and not text else words
    return b"".join(word.to_bytes(2, point.byte_order) for word in ordered)


def decode(point: Point, words: Sequence[int]) -> Value:
    """
    Return what the registers of one point mean.

    :raises CodecError: if they do not fit it.
    """
    data = _to_bytes(point, words)
    if point.type == "raw":
        return data[: point.length]
    if point.type == "str":
        return data[: point.length].split(b"\0", 1)[0].decode("utf-8", "replace")
    if point.type.startswith("bcd"):
        digits = data.hex()
        if not digits.isdecimal():
            raise CodecError(f"{point.name}: {digits} is not binary-coded decimal")
        return _scaled(point, int(digits))
    raw = struct.unpack(">" + _FORMATS[point.type], data)[0]
    if isinstance(raw, float):
        return raw
    if point.nan is not None and raw == point.nan:
        return None
    if point.mask is not None:
        raw = (raw & point.mask) >> point.shift
    return _scaled(point, raw)


def _scaled(point: Point, raw: int) -> int | Fraction:
    return raw if point.scale == 1 else raw * point.scale


def encode(point: Point, value: int | Fraction | str | bytes) -> list[int]:
    """
    Return the registers that carry a value.

    :raises CodecError: if it does not fit: too large, too long, or not a whole number of steps.
    """
    if isinstance(value, str | bytes):
        data = value.encode() if isinstance(value, str) else value
        if point.type not in ("str", "raw") or len(data) > point.length:
            raise CodecError(f"{point.name} cannot carry {len(data)} bytes of text")
        data = data.ljust(2 * point.words, b"\0")
    else:
        raw = Fraction(value) / point.scale
        if raw.denominator != 1 or point.type not in _FORMATS or point.type[0] == "f":
            raise CodecError(f"{point.name} cannot carry {value}")
        try:
            data = struct.pack(">" + _FORMATS[point.type], int(raw))
        except struct.error as error:
            raise CodecError(f"{point.name} cannot carry {value}: {error}") from error
    words = [int.from_bytes(data[i : i + 2], point.byte_order) for i in range(0, len(data), 2)]
    return words[::-1] if point.word_order == "little" and point.type not in ("str", "raw") else words


def decode_block(block: Block, words: Sequence[int]) -> dict[str, Value]:
    """Return all values of a block by name; for a bit table each value is 0 or 1."""
    if len(words) < block.words:
        raise CodecError(f"block {block.id} takes {block.words} registers, not {len(words)}")
    values: dict[str, Value] = {}
    for point in block.points:
        at = point.address - block.address
        values[point.name] = int(words[at]) if point.type == "bit" else decode(point, words[at : at + point.words])
    return values


def encode_block(block: Block, values: Mapping[str, int | Fraction | str | bytes]) -> list[int]:
    """Return the registers of a whole block; points that are not named are zero."""
    words = [0] * block.words
    for name, value in values.items():
        point = block.point(name)
        at = point.address - block.address
        words[at : at + point.words] = encode(point, value)
    return words


def integer(values: Mapping[str, Value], name: str, *, per_unit: int = 1) -> int:
    """
    Return a value as a whole number, `per_unit` of them to the point's unit, rounded down.

    :raises CodecError: if the point has no value or is not a number.
    """
    value = values[name]
    if isinstance(value, bool) or not isinstance(value, int | Fraction):
        raise CodecError(f"{name} is {value!r}, not a number")
    return int(value * per_unit // 1)


def optional_integer(values: Mapping[str, Value], name: str, *, per_unit: int = 1) -> int | None:
    """Return a value as a whole number, or None when the device says there is none."""
    return None if values[name] is None else integer(values, name, per_unit=per_unit)


def crc16(data: bytes) -> int:
    """Return the CRC-16 of Modbus (polynomial 0xA001 reflected, start 0xFFFF) over bytes."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc
