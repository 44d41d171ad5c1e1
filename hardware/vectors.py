"""
Check golden vectors with a decoder of its own.

This decoder exists only to keep a map honest: the gateway and the simulator each decode with their own code, so that
one mistake cannot hide in all three.
"""

import itertools
import math
import struct
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from hardware.model import Order, Point, RegisterMap
from hardware.vocabulary import EXPONENT_MAX

Meaning = Fraction | str | bool | None
_ORDERS: tuple[Order, Order] = ("big", "little")


def crc16_modbus(data: bytes) -> int:
    """Return the CRC-16/MODBUS of the bytes (polynomial 0xA001 reflected, start 0xFFFF)."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def in_big_order(point: Point, raw: bytes) -> bytes:
    """Return the bytes rearranged to big-endian words and bytes (ABCD)."""
    words = [raw[i : i + 2] for i in range(0, len(raw), 2)]
    if point.byte_order == "little":
        words = [word[::-1] for word in words]
    if point.word_order == "little":
        words.reverse()
    return b"".join(words)


def decode(point: Point, raw: bytes) -> Meaning:
    """
    Return what the raw bytes of one point mean: a scaled exact number, text, hex of raw bytes, a flag, or None for nan.

    :raises ValueError: if the length does not fit the type or a BCD digit is above nine.
    """
    if point.type == "bit":
        if raw not in (b"\x00", b"\x01"):
            raise ValueError("a bit is one byte, 00 or 01")
        return raw == b"\x01"
    if len(raw) != point.words * 2:
        raise ValueError(f"{len(raw)} bytes where {point.words * 2} belong")
    if point.type == "str":
        text = raw[1::2] if point.chars == 1 else raw
        return text[: point.length].split(b"\0")[0].decode("ascii")
    if point.type == "raw":
        return raw[: point.length].hex().upper()
    ordered = in_big_order(point, raw)
    pattern = int.from_bytes(ordered, "big", signed=point.type.startswith("i"))
    if pattern in point.nan_also or (point.nan is not None and pattern == point.nan):
        return None
    if point.type in ("f32", "f64"):
        (number,) = struct.unpack(">f" if point.type == "f32" else ">d", ordered)
        return Fraction(number) * point.scale if math.isfinite(number) else None
    if point.type.startswith("bcd"):
        return Fraction(int(ordered.hex(), 10)) * point.scale
    if point.mask is not None:
        pattern = (pattern & point.mask) >> point.shift
    return Fraction(pattern) * point.scale


def meaning(register_map: RegisterMap, point: Point, raw: bytes, given: Mapping[str, int]) -> Meaning:
    """
    Return what the bytes of a point mean where the points it depends on have the values that are given.

    The bytes of a sum are those of its integer part and then those of its fraction.

    :raises ValueError: if the bytes do not fit, a value is not given, or a unit code is not in the map.
    """
    if point.combine is not None:
        whole, part = (register_map.points[name] for name in point.combine)
        parts = [decode(whole, raw[: 2 * whole.words]), decode(part, raw[2 * whole.words :])]
        numbers = [number for number in parts if isinstance(number, Fraction)]
        value: Meaning = sum(numbers, Fraction(0)) * point.scale if len(numbers) == 2 else None
    else:
        value = decode(point, raw)
    for name in (point.sf, point.unit_from):
        if name is not None and name not in given:
            raise ValueError(f"the value of {name} is not given")
    if isinstance(value, Fraction) and not isinstance(value, bool):
        if point.sf is not None:
            exponent = given[point.sf] + point.sf_add
            if abs(exponent) > EXPONENT_MAX:
                raise ValueError(f"a power of ten of {exponent}")
            value *= Fraction(10) ** exponent
        if point.unit_from is not None and point.units is not None:
            codes, code = register_map.unit_codes[point.units], given[point.unit_from]
            if code not in codes:
                raise ValueError(f"unit code {code} of {point.unit_from} is not in unit_codes.{point.units}")
            value *= codes[code].factor
    return value


def agrees(point: Point, decoded: Meaning, value: Meaning) -> bool:
    """Return whether what was decoded is the value; a float type within seven significant digits."""
    inexact = point.type in ("f32", "f64", "sum")
    if inexact and isinstance(decoded, Fraction) and isinstance(value, Fraction):
        return abs(decoded - value) <= abs(value) / 1_000_000
    return type(decoded) is type(value) and decoded == value


def hint(register_map: RegisterMap, point: Point, raw: bytes, given: Mapping[str, int], value: Meaning) -> str:
    """Return which other order would make the vector right, or nothing."""
    for word, byte in itertools.product(_ORDERS, _ORDERS):
        turned = replace(point, word_order=word, byte_order=byte)
        if point.combine is None and agrees(point, _quietly(register_map, turned, raw, given), value):
            return f'with word = "{word}" and byte = "{byte}" it would be right'
    return ""


def _quietly(register_map: RegisterMap, point: Point, raw: bytes, given: Mapping[str, int]) -> Meaning:
    try:
        return meaning(register_map, point, raw, given)
    except ValueError:
        return None
