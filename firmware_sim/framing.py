"""Frames in a stream of bytes: Modbus TCP with its header, RTU with its checksum."""

import struct
from dataclasses import dataclass

from firmware_sim.codec import crc16

ADU_BYTES_MAX = 260
RTU_BYTES_MAX = 256
_HEADER = struct.Struct(">HHHB")

#: request length of each RTU function code: fixed, or where its byte count stands and what it is added to
_RTU_FIXED = {1: 8, 2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 22: 10}
_RTU_COUNTED = {15: (6, 9), 16: (6, 9), 23: (10, 13)}


@dataclass(frozen=True, slots=True)
class Frame:
    """One request. `transaction` is the TCP header's number, 0 on a serial line."""

    transaction: int
    unit_id: int
    pdu: bytes


@dataclass(slots=True)
class Taken:
    """What was found at the front of a stream."""

    frames: list[Frame]
    #: pieces thrown away because they could not be read
    bad: int = 0
    #: the peer speaks something else and must be dropped
    foreign: bool = False


def take_tcp(data: bytearray) -> Taken:
    """Take every whole frame from the front of `data`."""
    taken = Taken([])
    at, end = 0, len(data)
    while end - at >= 8:
        transaction, protocol, length, unit_id = _HEADER.unpack_from(data, at)
        if protocol != 0 or not 2 <= length <= ADU_BYTES_MAX - 6:
            taken.bad, taken.foreign = taken.bad + 1, True
            break
        if end - at < 6 + length:
            break
        taken.frames.append(Frame(transaction, unit_id, bytes(data[at + 7 : at + 6 + length])))
        at += 6 + length
    del data[:at]
    return taken


def take_rtu(data: bytearray) -> Taken:
    """
    Take every whole frame from the front of `data`.

    A frame whose sum is wrong takes everything after it along: a device waits for silence before it listens again.
    """
    taken = Taken([])
    while len(data) >= 4:
        size = _rtu_request_bytes(data)
        if size is None:
            break
        if size > len(data) and len(data) < ADU_BYTES_MAX:
            break
        frame = bytes(data[:size])
        if size > len(data) or not sum_holds(frame):
            taken.bad += 1
            data.clear()
            break
        del data[:size]
        taken.frames.append(Frame(0, frame[0], frame[1:-2]))
    return taken


def _rtu_request_bytes(data: bytearray) -> int | None:
    """Return the length of the request at the front, None when more bytes are needed to know."""
    function = data[1]
    if function in _RTU_FIXED:
        return _RTU_FIXED[function]
    if function in _RTU_COUNTED:
        at, overhead = _RTU_COUNTED[function]
        return overhead + data[at] if len(data) > at else None
    return len(data)


def sum_holds(frame: bytes) -> bool:
    """Return whether the checksum at the end of an RTU frame is right."""
    return crc16(frame[:-2]).to_bytes(2, "little") == frame[-2:]


def rtu(unit_id: int, pdu: bytes) -> bytes:
    """Return an RTU frame."""
    body = bytes((unit_id,)) + pdu
    return body + crc16(body).to_bytes(2, "little")


def tcp(transaction: int, unit_id: int, pdu: bytes) -> bytes:
    """Return a Modbus TCP frame."""
    return _HEADER.pack(transaction, 0, len(pdu) + 1, unit_id) + pdu
