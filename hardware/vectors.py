"""
Check golden vectors with a decoder of its own.

This decoder exists only to keep a map honest: the gateway and the simulator each decode with their own code, so that
one mistake cannot hide in all three.
"""

import struct
from fractions import Fraction

from hardware.model import Point

_INTEGER_BITS = {"u16": 16, "i16": 16, "u32": 32, "i32": 32, "u64": 64, "i64": 64}


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


def decode(point: Point, raw: bytes) -> Fraction | str | bool | None:
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
        return raw[: point.length].split(b"\0")[0].decode("ascii")
    if point.type == "raw":
        return raw[: point.length].hex().upper()
    ordered = in_big_order(point, raw)
    if point.type in ("f32", "f64"):
        (number,) = struct.unpack(">f" if point.type == "f32" else ">d", ordered)
        return Fraction(number) * point.scale
    if point.type.startswith("bcd"):
        return Fraction(int(ordered.hex(), 10)) * point.scale
    integer = int.from_bytes(ordered, "big", signed=point.type.startswith("i"))
    if point.nan is not None and integer == point.nan:
        return None
    if point.mask is not None:
        integer = (integer & point.mask) >> point.shift
    return Fraction(integer) * point.scale


def agrees(point: Point, raw: bytes, value: Fraction | str | bool | None) -> bool:
    """Return whether the bytes decode to the value; a float type within seven significant digits."""
    decoded = decode(point, raw)
    if point.type in ("f32", "f64") and isinstance(decoded, Fraction) and isinstance(value, Fraction):
        return abs(decoded - value) <= abs(value) / 1_000_000
    return type(decoded) is type(value) and decoded == value
