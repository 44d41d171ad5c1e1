"""An independent Modbus client: the C library libmodbus, called from Python."""

import ctypes
import ctypes.util
from typing import Any

_NAME = ctypes.util.find_library("modbus") or "libmodbus.so.5"


class PeerRefused(Exception):
    """The library reported an error: an exception of the device, or silence."""


def _library() -> Any:
    library = ctypes.CDLL(_NAME, use_errno=True)
    library.modbus_new_tcp.restype = ctypes.c_void_p
    library.modbus_new_rtu.restype = ctypes.c_void_p
    library.modbus_new_rtu.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_char, ctypes.c_int, ctypes.c_int]
    library.modbus_strerror.restype = ctypes.c_char_p
    return library


class LibmodbusPeer:
    """One connection, over TCP (host, port) or a serial line (path), to one unit."""

    def __init__(self, where: tuple[str, int] | str, unit: int, *, baud: int = 9600, timeout_s: int = 1) -> None:
        self._lib = _library()
        if isinstance(where, str):
            made = self._lib.modbus_new_rtu(where.encode(), baud, b"N", 8, 1)
        else:
            made = self._lib.modbus_new_tcp(where[0].encode(), where[1])
        assert made, "libmodbus made no context"
        self._context = ctypes.c_void_p(made)
        self._lib.modbus_set_slave(self._context, unit)
        self._lib.modbus_set_response_timeout(self._context, ctypes.c_uint32(timeout_s), ctypes.c_uint32(0))
        self._ask(self._lib.modbus_connect(self._context))

    def close(self) -> None:
        """Hang up."""
        self._lib.modbus_close(self._context)
        self._lib.modbus_free(self._context)

    def _ask(self, result: int) -> int:
        if result < 0:
            raise PeerRefused(self._lib.modbus_strerror(ctypes.get_errno()).decode())
        return result

    def read(self, table: str, address: int, count: int) -> list[int]:
        """Return registers or bits."""
        in_bits = table in ("coil", "discrete")
        room = ((ctypes.c_uint8 if in_bits else ctypes.c_uint16) * count)()
        ask = {
            "coil": self._lib.modbus_read_bits,
            "discrete": self._lib.modbus_read_input_bits,
            "holding": self._lib.modbus_read_registers,
            "input": self._lib.modbus_read_input_registers,
        }[table]
        assert self._ask(ask(self._context, address, count, room)) == count
        return list(room)

    def write_bit(self, address: int, value: bool) -> None:
        """Write one coil with function code 5."""
        self._ask(self._lib.modbus_write_bit(self._context, address, int(value)))

    def write_register(self, address: int, value: int) -> None:
        """Write one register with function code 6."""
        self._ask(self._lib.modbus_write_register(self._context, address, value))

    def write_registers(self, address: int, values: list[int]) -> None:
        """Write registers with function code 16."""
        room = (ctypes.c_uint16 * len(values))(*values)
        self._ask(self._lib.modbus_write_registers(self._context, address, len(values), room))
