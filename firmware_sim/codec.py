"""
Encode and decode register values the way a device's firmware does: fixed struct formats, raw integers, no scaling.

Scaled values never enter a device. 40.0 degrees is the integer 400 here and the map says what it means.
"""

import struct
from collections.abc import Sequence

from hardware.points import Point

Raw = int | str | bytes | None

_FORMATS = {
    "u16": struct.Struct(">H"),
    "i16": struct.Struct(">h"),
    "u32": struct.Struct(">I"),
    "i32": struct.Struct(">i"),
    "u64": struct.Struct(">Q"),
    "i64": struct.Struct(">q"),
}
_CRC_TABLE = []
for _entry in range(256):
    for _ in range(8):
        _entry = (_entry >> 1) ^ 0xA001 if _entry & 1 else _entry >> 1
    _CRC_TABLE.append(_entry)


def crc16(data: bytes) -> int:
    """Return the CRC-16/MODBUS of the bytes."""
    crc = 0xFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc


def words_of(data: bytes) -> list[int]:
    """Return the bytes as big-endian registers; the length must be even."""
    return list(struct.unpack(f">{len(data) // 2}H", data))


def bytes_of(words: Sequence[int]) -> bytes:
    """Return registers as bytes, high byte first."""
    return struct.pack(f">{len(words)}H", *words)


def encode(point: Point, value: Raw) -> list[int]:
    """
    Return the registers of one point; None encodes as the point's nan.

    :raises ValueError: if the value does not fit the point.
    """
    if value is None:
        if point.nan is None:
            raise ValueError(f"{point.name} has no nan")
        value = point.nan
    if isinstance(value, str):
        value = value.encode("latin-1")
    if isinstance(value, bytes):
        if point.type not in ("str", "raw") or len(value) > point.length:
            raise ValueError(f"{len(value)} bytes do not fit {point.name}")
        data = value.ljust(point.words * 2, b"\0")
    else:
        try:
            data = _FORMATS[point.type].pack(value)
        except (KeyError, struct.error) as error:
            raise ValueError(f"{value} does not fit {point.name} ({point.type})") from error
    words = words_of(data)
    if point.byte_order == "little":
        words = [(word >> 8) | (word & 0xFF) << 8 for word in words]
    return words[::-1] if point.word_order == "little" else words


def decode(point: Point, words: Sequence[int]) -> Raw:
    """Return the raw value in the registers of one point: an integer, text, bytes, or None for nan."""
    if point.word_order == "little":
        words = words[::-1]
    if point.byte_order == "little":
        words = [(word >> 8) | (word & 0xFF) << 8 for word in words]
    data = bytes_of(words)
    if point.type == "raw":
        return data[: point.length]
    if point.type == "str":
        return data.split(b"\0")[0].decode("latin-1")
    number: int = _FORMATS[point.type].unpack(data)[0]
    return None if number == point.nan else number
