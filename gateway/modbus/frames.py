"""The bytes of Modbus requests and answers, without what a transport puts around them."""

import struct
from collections.abc import Sequence

from pymodbus.pdu import ModbusPDU

_ONE = struct.Struct(">HH")
#: function codes whose answer is a number of bytes and as many bytes, in bits and in words
_BITS, _WORDS = frozenset({1, 2}), frozenset({3, 4, 23})
_WORD_FORMATS = tuple(struct.Struct(f">{count}H") for count in range(127))


class Questions:
    """Takes the place of the library's client: each method returns the bytes that ask."""

    @staticmethod
    def read_input_registers(address: int, *, count: int, device_id: int) -> bytes:
        """Return function code 4."""
        return b"\4" + _ONE.pack(address, count)

    @staticmethod
    def read_holding_registers(address: int, *, count: int, device_id: int) -> bytes:
        """Return function code 3."""
        return b"\3" + _ONE.pack(address, count)

    @staticmethod
    def read_discrete_inputs(address: int, *, count: int, device_id: int) -> bytes:
        """Return function code 2."""
        return b"\2" + _ONE.pack(address, count)

    @staticmethod
    def read_coils(address: int, *, count: int, device_id: int) -> bytes:
        """Return function code 1."""
        return b"\1" + _ONE.pack(address, count)

    @staticmethod
    def write_coil(address: int, value: bool, *, device_id: int) -> bytes:
        """Return function code 5."""
        return b"\5" + _ONE.pack(address, 0xFF00 if value else 0)

    @staticmethod
    def write_register(address: int, value: int, *, device_id: int) -> bytes:
        """Return function code 6."""
        return b"\6" + _ONE.pack(address, value)

    @staticmethod
    def write_coils(address: int, values: Sequence[bool], *, device_id: int) -> bytes:
        """Return function code 15."""
        packed = sum(1 << at for at, value in enumerate(values) if value).to_bytes(-(-len(values) // 8), "little")
        return b"\x0f" + _ONE.pack(address, len(values)) + bytes((len(packed),)) + packed

    @staticmethod
    def write_registers(address: int, values: Sequence[int], *, device_id: int) -> bytes:
        """Return function code 16."""
        return b"\x10" + struct.pack(f">HHB{len(values)}H", address, len(values), 2 * len(values), *values)

    @staticmethod
    def mask_write_register(*, address: int, and_mask: int, or_mask: int, device_id: int) -> bytes:
        """Return function code 22."""
        return b"\x16" + struct.pack(">HHH", address, and_mask, or_mask)

    @staticmethod
    def readwrite_registers(
        *, read_address: int, read_count: int, write_address: int, values: Sequence[int], device_id: int
    ) -> bytes:
        """Return function code 23."""
        head = (read_address, read_count, write_address, len(values), 2 * len(values))
        return b"\x17" + struct.pack(f">HHHHB{len(values)}H", *head, *values)

    @staticmethod
    def execute(no_response_expected: bool, request: ModbusPDU) -> bytes:
        """Return a request that was made as an object."""
        return bytes((request.function_code,)) + request.encode()


class TcpAnswer:
    """An answer, taken apart."""

    __slots__ = ("body", "exception_code", "function")

    def __init__(self, pdu: bytes) -> None:
        """:raises ValueError: if the bytes are no answer."""
        self.function = function = pdu[0]
        self.body = pdu[1:]
        self.exception_code = 0
        if function & 0x80:
            if len(pdu) != 2:
                raise ValueError("an exception has one byte")
            self.exception_code = pdu[1]
        elif function in _WORDS:
            if pdu[1] & 1 or len(pdu) != 2 + pdu[1]:
                raise ValueError("another length than it says")
        elif function in _BITS and len(pdu) != 2 + pdu[1]:
            raise ValueError("another length than it says")

    @property
    def registers(self) -> Sequence[int]:
        """The registers that were read."""
        if self.function not in _WORDS:
            return ()
        return _WORD_FORMATS[self.body[0] // 2].unpack_from(self.body, 1)

    @property
    def bits(self) -> Sequence[bool]:
        """The bits that were read, and those that fill up the last byte."""
        if self.function not in _BITS:
            return ()
        packed = int.from_bytes(self.body[1:], "little")
        return [bool(packed >> at & 1) for at in range(8 * self.body[0])]

    def isError(self) -> bool:
        """Return whether the unit answered with an exception."""
        return self.exception_code != 0
