"""
Turn registers into values and back, as a register map says.

Numbers come out exact: an int where the scale is one, else a Fraction in the point's unit; a float of the device's is
the Fraction it stands for. A point's "no value" pattern, and a float that is no number, come out as None.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction

from hardware.model import Block, Point, RegisterMap
from hardware.vocabulary import EXPONENT_MAX

Value = int | Fraction | str | bytes | None

_FORMATS = {"u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q", "i64": "q", "f32": "f", "f64": "d"}
_UNSIGNED = {1: "H", 2: "I", 4: "Q"}


class CodecError(ValueError):
    """Registers do not fit the map, or a value does not fit its point."""


def _to_bytes(point: Point, words: Sequence[int]) -> bytes:
    if len(words) != point.words:
        raise CodecError(f"{point.name} takes {point.words} registers, not {len(words)}")
    text = point.type in ("str", "raw")
    ordered = reversed(words) if point.word_order == "little" and not text else words
    return b"".join(word.to_bytes(2, "big" if text else point.byte_order) for word in ordered)


def decode(point: Point, words: Sequence[int]) -> Value:
    """
    Return what the registers of one point mean by themselves: see `resolve` for what depends on other points.

    :raises CodecError: if they do not fit it.
    """
    if point.type == "bit":
        return int(bool(words[0]))
    data = _to_bytes(point, words)
    if point.type == "raw":
        return data[: point.length]
    if point.type == "str":
        text = data[1::2] if point.chars == 1 else data
        return text[: point.length].split(b"\0", 1)[0].decode("utf-8", "replace")
    if point.type.startswith("bcd"):
        digits = data.hex()
        if not digits.isdecimal():
            raise CodecError(f"{point.name}: {digits} is not binary-coded decimal")
        return _scaled(point, int(digits))
    raw = struct.unpack(">" + _FORMATS[point.type], data)[0]
    if isinstance(raw, float):
        pattern = struct.unpack(">" + _UNSIGNED[point.words], data)[0]
        return None if _is_nan(point, pattern) or not math.isfinite(raw) else Fraction(raw) * point.scale
    if _is_nan(point, raw):
        return None
    if point.mask is not None:
        raw = (raw & point.mask) >> point.shift
    return _scaled(point, raw)


def _is_nan(point: Point, raw: int) -> bool:
    return (point.nan is not None and raw == point.nan) or raw in point.nan_also


def _scaled(point: Point, raw: int) -> int | Fraction:
    return raw if point.scale == 1 else raw * point.scale


def resolve(register_map: RegisterMap, point: Point, values: Mapping[str, Value]) -> Value:
    """
    Return a point's value in its unit, from its own value and those of the points it depends on.

    :raises CodecError: if one of them has no value, or a unit code is not in the map.
    """
    if point.combine is None:
        value = values[point.name]
    else:
        parts = [values[name] for name in point.combine]
        numbers = [part for part in parts if isinstance(part, int | Fraction)]
        value = sum(numbers, Fraction(0)) * point.scale if len(numbers) == len(parts) else None
    if value is None or not point.needs or not isinstance(value, int | Fraction):
        return value
    return value * factor(register_map, point, values)


def factor(register_map: RegisterMap, point: Point, values: Mapping[str, Value]) -> Fraction:
    """
    Return what turns a point's own figure into its unit: the power of ten and the unit code other points hold.

    :raises CodecError: if one of them has no value, or a unit code is not in the map.
    """
    result = Fraction(1)
    if point.sf is not None:
        exponent = integer(values, point.sf) + point.sf_add
        if abs(exponent) > EXPONENT_MAX:
            raise CodecError(f"{point.name}: {point.sf} says a power of ten of {exponent}")
        result *= Fraction(10) ** exponent
    if point.unit_from is not None and point.units is not None:
        code = integer(values, point.unit_from)
        known = register_map.unit_codes[point.units].get(code)
        if known is None:
            raise CodecError(
                f"{point.name}: unit code {code} of {point.unit_from} is not in unit_codes.{point.units} "
                f"of {register_map.map_id}"
            )
        result *= known.factor
    return result


def encode(point: Point, value: int | Fraction | str | bytes) -> list[int]:
    """
    Return the registers that carry a value.

    :raises CodecError: if it does not fit: too large, too long, or not a whole number of steps.
    """
    if isinstance(value, str | bytes):
        data = value.encode() if isinstance(value, str) else value
        if point.type not in ("str", "raw") or len(data) > point.length:
            raise CodecError(f"{point.name} cannot carry {len(data)} bytes of text")
        if point.type == "str" and point.chars == 1:
            data = b"".join(bytes((0, byte)) for byte in data)
        data = data.ljust(2 * point.words, b"\0")
        return [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
    try:
        data = _pack(point, Fraction(value) / point.scale)
    except (struct.error, OverflowError) as error:
        raise CodecError(f"{point.name} cannot carry {value}: {error}") from error
    words = [int.from_bytes(data[i : i + 2], point.byte_order) for i in range(0, len(data), 2)]
    return words[::-1] if point.word_order == "little" else words


def _pack(point: Point, raw: Fraction) -> bytes:
    """Return the bytes of a raw number, high byte first."""
    if point.type in ("f32", "f64"):
        data = struct.pack(">" + _FORMATS[point.type], float(raw))
        if Fraction(struct.unpack(">" + _FORMATS[point.type], data)[0]) != raw:
            raise CodecError(f"{point.name} cannot carry {raw} exactly")
        return data
    if raw.denominator != 1 or (point.type not in _FORMATS and not point.type.startswith("bcd")):
        raise CodecError(f"{point.name} cannot carry {raw}")
    number = int(raw)
    if point.mask is not None:
        if number < 0 or number << point.shift & ~point.mask:
            raise CodecError(f"{point.name} cannot carry {number}")
        number <<= point.shift
    if not point.type.startswith("bcd"):
        return struct.pack(">" + _FORMATS[point.type], number)
    digits = f"{number:0{4 * point.words}d}"
    if number < 0 or len(digits) > 4 * point.words:
        raise CodecError(f"{point.name} cannot carry {number}")
    return bytes.fromhex(digits)


def round_down(point: Point, value: int | Fraction) -> int | Fraction:
    """Return the greatest value not above a positive one that the point can carry, were it only large enough."""
    raw = Fraction(value) / point.scale
    if point.type not in ("f32", "f64"):
        return raw // 1 * point.scale
    form, pattern = ">" + _FORMATS[point.type], ">" + _UNSIGNED[point.words]
    data = struct.pack(form, float(raw))
    if Fraction(struct.unpack(form, data)[0]) > raw > 0:
        data = struct.pack(pattern, struct.unpack(pattern, data)[0] - 1)
    return Fraction(struct.unpack(form, data)[0]) * point.scale


def within(point: Point, value: int | Fraction) -> bool:
    """Return whether a value is between the least and the greatest raw value the map allows."""
    raw = Fraction(value) / point.scale
    return (point.min is None or raw >= point.min) and (point.max is None or raw <= point.max)


def decode_block(block: Block, words: Sequence[int]) -> dict[str, Value]:
    """Return all values of a block by name; for a bit table each value is 0 or 1."""
    if len(words) < block.words:
        raise CodecError(f"block {block.id} takes {block.words} registers, not {len(words)}")
    values: dict[str, Value] = {}
    for point in block.points:
        if point.readable and point.combine is None:
            at = point.address - block.address
            values[point.name] = decode(point, words[at : at + point.words])
    return values


def encode_block(block: Block, values: Mapping[str, int | Fraction | str | bytes]) -> list[int]:
    """Return the registers of a whole block; points that are not named are zero."""
    words = [0] * block.words
    for name, value in values.items():
        point = block.point(name)
        at = point.address - block.address
        if point.mask is None:
            words[at : at + point.words] = encode(point, value)
        else:
            words[at : at + point.words] = [
                old | new for old, new in zip(words[at : at + point.words], encode(point, value), strict=True)
            ]
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
