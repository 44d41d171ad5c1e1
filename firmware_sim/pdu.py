"""
Answer Modbus requests: one PDU in, one PDU out, for function codes 1-6, 15, 16, 22 and 23.

Lengths, quantities and address ranges are checked here; what the registers mean is the device's business.
"""

import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from firmware_sim.codec import bytes_of, words_of
from firmware_sim.registers import ILLEGAL_ADDRESS, ILLEGAL_FUNCTION, ILLEGAL_VALUE, BusRefusal

READ_WORDS_MAX = 125
READ_BITS_MAX = 2000
WRITE_WORDS_MAX = 123
WRITE_BITS_MAX = 1968
READ_WRITE_WORDS_MAX = 121

_READ_BITS = {1: "coil", 2: "discrete"}
_READ_WORDS = {3: "holding", 4: "input"}


class Unit(Protocol):
    """What a bus needs of a device."""

    def frame_seen(self, now_ms: int) -> None:
        """Note a valid frame."""

    def read(self, table: str, address: int, count: int) -> list[int]:
        """Return registers or bits, or raise BusRefusal."""

    def write(self, table: str, address: int, values: Sequence[int], *, single: bool = False) -> None:
        """Write registers or bits, or raise BusRefusal."""

    def broadcast(self, address: int, values: Sequence[int]) -> None:
        """Take a broadcast write."""


class Remembering(ABC):
    """
    A unit that keeps the answers it gave to reads until something changes.

    Only reads of places without clocks and counters are kept: `STEADY` says which.
    """

    #: tables and address ranges that change only when `stamp` does
    STEADY = ((2, 0, 16), (4, 0, 45), (4, 100, 128))
    #: answers kept per unit; a poller asks few different questions
    KEPT_MAX = 8

    _answers: "dict[bytes, tuple[tuple[int, int], bytes]] | None" = None

    @abstractmethod
    def stamp(self) -> tuple[int, int]:
        """Return what changes whenever one of the steady registers may have."""

    def recall(self, pdu: bytes) -> bytes | None:
        """Return the answer given before, if it is still true."""
        if self._answers is None:
            return None
        kept = self._answers.get(pdu)
        return kept[1] if kept is not None and kept[0] == self.stamp() else None

    def remember(self, pdu: bytes, response: bytes) -> None:
        """Keep an answer."""
        address, count = struct.unpack(">HH", pdu[1:5])
        if not any(
            pdu[0] == function and first <= address and address + count <= end for function, first, end in self.STEADY
        ):
            return
        if self._answers is None or len(self._answers) >= self.KEPT_MAX:
            self._answers = {}
        self._answers[pdu] = (self.stamp(), response)


def answer(unit: Unit, pdu: bytes, now_ms: int) -> bytes:
    """Return the response PDU, an exception PDU when the device refuses."""
    unit.frame_seen(now_ms)
    memory = unit if isinstance(unit, Remembering) and len(pdu) == 5 and pdu[0] <= 4 else None
    if memory is not None:
        kept = memory.recall(pdu)
        if kept is not None:
            return kept
    try:
        response = _dispatch(unit, pdu)
    except BusRefusal as refusal:
        return bytes((pdu[0] | 0x80, refusal.code))
    if memory is not None:
        memory.remember(pdu, response)
    return response


def broadcast_write(pdu: bytes) -> tuple[int, list[int]] | None:
    """Return address and words of a broadcast FC16, or None for anything else, which broadcast ignores."""
    if pdu[0] != 16:
        return None
    try:
        return _words_to_write(pdu, 1, WRITE_WORDS_MAX)
    except BusRefusal:
        return None


def _dispatch(unit: Unit, pdu: bytes) -> bytes:
    function = pdu[0]
    if function in _READ_BITS:
        address, count = _range(pdu, READ_BITS_MAX)
        packed = _pack_bits(unit.read(_READ_BITS[function], address, count))
        return bytes((function, len(packed))) + packed
    if function in _READ_WORDS:
        address, count = _range(pdu, READ_WORDS_MAX)
        return _words_answer(function, unit.read(_READ_WORDS[function], address, count))
    if function == 5:
        address, value = _exactly(pdu, ">HH")
        if value not in (0x0000, 0xFF00):
            raise BusRefusal(ILLEGAL_VALUE)
        unit.write("coil", address, [int(value == 0xFF00)], single=True)
        return pdu
    if function == 6:
        address, value = _exactly(pdu, ">HH")
        unit.write("holding", address, [value], single=True)
        return pdu
    if function == 15:
        address, bits = _bits_to_write(pdu)
        unit.write("coil", address, bits)
        return pdu[:5]
    if function == 16:
        address, words = _words_to_write(pdu, 1, WRITE_WORDS_MAX)
        unit.write("holding", address, words)
        return pdu[:5]
    if function == 22:
        address, and_mask, or_mask = _exactly(pdu, ">HHH")
        (old,) = unit.read("holding", address, 1)
        unit.write("holding", address, [old & and_mask | or_mask & ~and_mask & 0xFFFF], single=True)
        return pdu
    if function == 23:
        if len(pdu) < 10:
            raise BusRefusal(ILLEGAL_VALUE)
        address, count = _range(pdu[:5], READ_WORDS_MAX)
        at, words = _words_to_write(pdu, 5, READ_WRITE_WORDS_MAX)
        unit.read("holding", address, count)  # a place that is not there refuses the write too
        unit.write("holding", at, words)
        return _words_answer(function, unit.read("holding", address, count))
    raise BusRefusal(ILLEGAL_FUNCTION)


def _exactly(pdu: bytes, form: str) -> tuple[int, ...]:
    if len(pdu) != 1 + struct.calcsize(form):
        raise BusRefusal(ILLEGAL_VALUE)
    return struct.unpack(form, pdu[1:])


def _range(pdu: bytes, count_max: int) -> tuple[int, int]:
    address, count = _exactly(pdu, ">HH")
    if not 1 <= count <= count_max:
        raise BusRefusal(ILLEGAL_VALUE)
    if address + count > 0x10000:
        raise BusRefusal(ILLEGAL_ADDRESS)
    return address, count


def _words_to_write(pdu: bytes, start: int, count_max: int) -> tuple[int, list[int]]:
    if len(pdu) < start + 5:
        raise BusRefusal(ILLEGAL_VALUE)
    address, count, size = struct.unpack_from(">HHB", pdu, start)
    data = pdu[start + 5 :]
    if not 1 <= count <= count_max or size != count * 2 or len(data) != size:
        raise BusRefusal(ILLEGAL_VALUE)
    if address + count > 0x10000:
        raise BusRefusal(ILLEGAL_ADDRESS)
    return address, words_of(data)


def _bits_to_write(pdu: bytes) -> tuple[int, list[int]]:
    if len(pdu) < 6:
        raise BusRefusal(ILLEGAL_VALUE)
    address, count, size = struct.unpack_from(">HHB", pdu, 1)
    data = pdu[6:]
    if not 1 <= count <= WRITE_BITS_MAX or size != (count + 7) // 8 or len(data) != size:
        raise BusRefusal(ILLEGAL_VALUE)
    if address + count > 0x10000:
        raise BusRefusal(ILLEGAL_ADDRESS)
    return address, [data[bit // 8] >> bit % 8 & 1 for bit in range(count)]


def _pack_bits(bits: Sequence[int]) -> bytes:
    packed = bytearray((len(bits) + 7) // 8)
    for number, bit in enumerate(bits):
        packed[number // 8] |= (bit & 1) << number % 8
    return bytes(packed)


def _words_answer(function: int, words: Sequence[int]) -> bytes:
    return bytes((function, len(words) * 2)) + bytes_of(words)
