"""
Independent Modbus peers that ask: libmodbus (C), modbus-tk, uModbus, minimalmodbus and pyModbusTCP.

All speak the same few words here: `ask(unit, function, address, count, values)` returns what was read, raises `Refused`
with the exception code, or `Silent`. What is asked has the same effect once or twice, so a patient voice asks again.
"""

import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import minimalmodbus
import serial
from modbus_tk import modbus, modbus_rtu, modbus_rtu_over_tcp, modbus_tcp
from pyModbusTCP.client import ModbusClient
from umodbus.client import tcp as umodbus_tcp
from umodbus.client.serial import rtu as umodbus_rtu
from umodbus.exceptions import ModbusError as UmodbusError

from tests.contract.conformance.bridge import bridged_terminal
from tests.contract.conformance.targets import Address
from tests.patience import PATIENCE_S

BAUD = 115_200
#: how long a patient voice waits before it asks again, and an impatient one before it calls it silence
PATIENT_S, IMPATIENT_S = 2.0, 0.3
TRIES = int(PATIENCE_S / PATIENT_S)


class Refused(Exception):
    """The unit answered with a Modbus exception."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code}")
        self.code = code


class Silent(Exception):
    """No answer."""


class Voice(Protocol):
    """One peer on one connection."""

    def once(self, unit: int, function: int, address: int, count: int, values: Sequence[int], wait_s: float) -> Any:
        """Ask once."""

    def close(self) -> None:
        """Hang up."""


def ask(voice: Voice, unit: int, function: int, address: int, count: int = 1, values: Sequence[int] = ()) -> list[int]:
    """Return what a unit answers, however long it takes."""
    for _ in range(TRIES):
        with suppress(Silent):
            return list(voice.once(unit, function, address, count, values, PATIENT_S) or ())
    raise Silent(f"unit {unit}")


def ask_briefly(
    voice: Voice, unit: int, function: int, address: int, count: int = 1, values: Sequence[int] = ()
) -> list[int]:
    """Return what a unit answers at once."""
    return list(voice.once(unit, function, address, count, values, IMPATIENT_S) or ())


def refusal(
    voice: Voice, unit: int, function: int, address: int, count: int = 1, values: Sequence[int] = ()
) -> int | None:
    """Return the exception code of a unit's answer, None when it did not refuse."""
    try:
        ask(voice, unit, function, address, count, values)
    except Refused as error:
        return error.code
    return None


class Libmodbus:
    """The C library, in a process of its own."""

    def __init__(self, program: Path, where: Address) -> None:
        self._bridge = None
        arguments = ["rtu", where] if isinstance(where, str) else ["tcp", where[0], str(where[1])]
        self._process = subprocess.Popen(
            [program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def say(self, *numbers: int) -> list[str]:
        """Send one line of numbers and return the words of the reply."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(str(number) for number in numbers) + "\n")
        self._process.stdin.flush()
        kind, *rest = self._line().split()
        if kind == "refused":
            raise Refused(int(rest[0]))
        if kind == "silent":
            raise Silent
        assert kind == "ok", f"libmodbus says {kind} {' '.join(rest)}"
        return rest

    def once(self, unit: int, function: int, address: int, count: int, values: Sequence[int], wait_s: float) -> Any:
        """Ask once."""
        return [int(word) for word in self.say(int(wait_s * 1000), unit, function, address, count, *values)]

    def floats(self, words: Sequence[int]) -> dict[str, float]:
        """Return two registers as a float in each of the four orders of bytes."""
        return dict(zip(("ABCD", "BADC", "CDAB", "DCBA"), map(float, self.say(0, 1, 0, 0, 0, *words)), strict=True))

    def close(self) -> None:
        """Hang up."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)
        self._process.stdout.close()


class _OverTcp(modbus_rtu_over_tcp.RtuOverTcpMaster):  # type: ignore[misc]
    """modbus-tk's RTU over TCP, which otherwise waits for more after the five bytes of an exception."""

    def _recv(self, expected_length: int = -1) -> bytes:
        data = b""
        while len(data) < (5 if data[1:2] >= b"\x80" else expected_length):
            data += self._sock.recv(1)
        return data


class _OnTerminal(modbus_rtu.RtuMaster):  # type: ignore[misc]
    """modbus-tk's RTU, cured of the same."""

    def _recv(self, expected_length: int = -1) -> bytes:
        return bytes(self._serial.read(expected_length))


class _EagerSerial(serial.Serial):  # type: ignore[misc]
    """A serial port that does not wait for more after the five bytes of an exception."""

    def read(self, size: int = 1) -> bytes:
        """Return as many bytes, fewer when they are an exception or time is up."""
        data = bytes(super().read(min(size, 5)))
        if len(data) < 5 or size <= 5 or data[1] >= 0x80:
            return data
        return data + bytes(super().read(size - 5))


class ModbusTk:
    """modbus-tk."""

    def __init__(self, where: Address, *, rtu: bool) -> None:
        self._serial = _EagerSerial(where, BAUD) if isinstance(where, str) else None
        if self._serial is not None:
            self._master: Any = _OnTerminal(self._serial)
        else:
            self._master = (_OverTcp if rtu else modbus_tcp.TcpMaster)(host=where[0], port=where[1])

    def once(self, unit: int, function: int, address: int, count: int, values: Sequence[int], wait_s: float) -> Any:
        """Ask once."""
        self._master.set_timeout(wait_s)
        more: dict[str, Any] = {"output_value": list(values)} if function in (15, 16) else {}
        if function in (5, 6):
            more = {"output_value": values[0]}
        elif function == 22:
            more = {"and_mask": values[0], "or_mask": values[1]}
        elif function == 23:
            more = {"write_starting_address_fc23": address, "output_value": list(values[2:])}
            address, count = values[0], values[1]
        try:
            answer = self._master.execute(unit, function, address, quantity_of_x=count, **more)
        except modbus.ModbusError as error:
            raise Refused(error.get_exception_code()) from error
        except (TimeoutError, modbus.ModbusInvalidResponseError) as error:
            if self._serial is None:
                self._master.close()  # whatever comes later is not the answer to the next question
            raise Silent from error
        return answer if function in (1, 2, 3, 4, 23) else None

    def close(self) -> None:
        """Hang up."""
        self._master.close()


class _SocketPort:
    """A socket that looks like a serial port to uModbus."""

    def __init__(self, where: tuple[str, int]) -> None:
        self._socket = socket.create_connection(where, timeout=PATIENT_S)

    def set_timeout(self, seconds: float) -> None:
        """Wait no longer."""
        self._socket.settimeout(seconds)

    def write(self, data: bytes) -> None:
        """Send."""
        self._socket.sendall(data)

    def flush(self) -> None:
        """Have everything sent, as a socket has already."""

    def read(self, count: int) -> bytes:
        """Return as many bytes, fewer when time is up."""
        data = b""
        with suppress(TimeoutError):
            while len(data) < count:
                data += self._socket.recv(count - len(data))
        return data

    def recv(self, count: int) -> bytes:
        """Return some bytes."""
        return self._socket.recv(count)

    sendall = write

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


class Umodbus:
    """uModbus."""

    _WORDS = ("", "read_coils", "read_discrete_inputs", "read_holding_registers", "read_input_registers",
              "write_single_coil", "write_single_register")  # fmt: skip

    def __init__(self, where: Address, *, rtu: bool) -> None:
        self._api: Any = umodbus_rtu if rtu else umodbus_tcp
        self._where = where
        self._port: Any = self._open()

    def _open(self) -> Any:
        if isinstance(self._where, str):
            return serial.Serial(self._where, BAUD, timeout=PATIENT_S)
        return _SocketPort(self._where)

    def once(self, unit: int, function: int, address: int, count: int, values: Sequence[int], wait_s: float) -> Any:
        """Ask once."""
        name = {15: "write_multiple_coils", 16: "write_multiple_registers"}.get(function) or self._WORDS[function]
        argument: Any = count if function <= 4 else values[0] if function <= 6 else list(values)
        adu = getattr(self._api, name)(unit, address, argument)
        if isinstance(self._port, _SocketPort):
            self._port.set_timeout(wait_s)
        else:
            self._port.timeout = wait_s
        try:
            answer = self._api.send_message(adu, self._port)
        except UmodbusError as error:
            raise Refused(error.error_code) from error
        except (TimeoutError, ValueError, struct.error) as error:
            self._port.close()
            self._port = self._open()
            raise Silent from error
        return answer if function <= 4 else None

    def close(self) -> None:
        """Hang up."""
        self._port.close()


_REFUSED_BY = {"function": 1, "address": 2, "value": 3}


class MinimalModbus:
    """minimalmodbus, which knows only serial lines."""

    def __init__(self, where: Address) -> None:
        self._instrument = minimalmodbus.Instrument(_EagerSerial(where, BAUD), 1)

    def once(self, unit: int, function: int, address: int, count: int, values: Sequence[int], wait_s: float) -> Any:
        """Ask once."""
        peer = self._instrument
        peer.address, peer.serial.timeout = unit, wait_s
        calls: dict[int, Callable[[], Any]] = {
            1: lambda: peer.read_bits(address, count, 1),
            2: lambda: peer.read_bits(address, count, 2),
            3: lambda: peer.read_registers(address, count, 3),
            4: lambda: peer.read_registers(address, count, 4),
            5: lambda: peer.write_bit(address, values[0], 5),
            6: lambda: peer.write_register(address, values[0], functioncode=6),
            15: lambda: peer.write_bits(address, list(values)),
            16: lambda: peer.write_registers(address, list(values)),
        }
        try:
            return calls[function]()
        except minimalmodbus.IllegalRequestError as error:
            raise Refused(next(code for word, code in _REFUSED_BY.items() if word in str(error))) from error
        except (minimalmodbus.NoResponseError, minimalmodbus.InvalidResponseError) as error:
            raise Silent from error

    def close(self) -> None:
        """Hang up."""
        self._instrument.serial.close()


class PyModbusTcp:
    """pyModbusTCP."""

    def __init__(self, where: Address) -> None:
        self._client = ModbusClient(host=where[0], port=where[1], auto_open=True)

    def once(self, unit: int, function: int, address: int, count: int, values: Sequence[int], wait_s: float) -> Any:
        """Ask once."""
        peer = self._client
        peer.unit_id, peer.timeout = unit, wait_s
        calls: dict[int, Callable[[], Any]] = {
            1: lambda: peer.read_coils(address, count),
            2: lambda: peer.read_discrete_inputs(address, count),
            3: lambda: peer.read_holding_registers(address, count),
            4: lambda: peer.read_input_registers(address, count),
            5: lambda: peer.write_single_coil(address, bool(values[0])),
            6: lambda: peer.write_single_register(address, values[0]),
            15: lambda: peer.write_multiple_coils(address, [bool(value) for value in values]),
            16: lambda: peer.write_multiple_registers(address, list(values)),
            23: lambda: peer.write_read_multiple_registers(address, list(values[2:]), values[0], values[1]),
        }
        answer = calls[function]()
        if answer:
            return answer if function in (1, 2, 3, 4, 23) else None
        if peer.last_except:
            raise Refused(peer.last_except)
        peer.close()
        raise Silent(peer.last_error_as_txt)

    def close(self) -> None:
        """Hang up."""
        self._client.close()


#: function codes each peer can speak
BASIC = (1, 2, 3, 4, 5, 6, 15, 16)
SPOKEN = {
    "libmodbus": (*BASIC, 22, 23),
    "modbus_tk": (*BASIC, 22, 23),
    "umodbus": BASIC,
    "minimalmodbus": BASIC,
    "pymodbustcp": (*BASIC, 23),
}
#: minimalmodbus takes a count of written coils in an answer for one of registers, and refuses a greater one
COILS_MAX = {"minimalmodbus": 125}
#: every peer on every transport it knows
PAIRS = [
    *(("libmodbus", transport) for transport in ("tcp", "rtu_tcp", "pty")),
    *(("modbus_tk", transport) for transport in ("tcp", "rtu_tcp", "pty")),
    *(("umodbus", transport) for transport in ("tcp", "rtu_tcp", "pty")),
    ("minimalmodbus", "pty"),
    ("pymodbustcp", "tcp"),
]
#: two independent peers on each kind of line, for what takes longer
FEW = [("libmodbus", "tcp"), ("modbus_tk", "tcp"), ("libmodbus", "pty"), ("modbus_tk", "pty")]


class _Bridged:
    """A voice at the far end of a bridge between a terminal and a socket."""

    def __init__(self, program: Path, where: tuple[str, int]) -> None:
        self._stop = threading.Event()
        path, self._thread = bridged_terminal(where, self._stop)
        self._voice = Libmodbus(program, path)
        self.once = self._voice.once

    def close(self) -> None:
        """Hang up."""
        self._voice.close()
        self._stop.set()
        self._thread.join(PATIENCE_S)


def connect(peer: str, where: Address, transport: str, *, program: Path) -> Voice:
    """Return a peer connected to a target; `program` is the compiled client on libmodbus."""
    rtu = transport != "tcp"
    if peer == "libmodbus":
        if transport == "rtu_tcp":
            assert not isinstance(where, str)
            return _Bridged(program, where)
        return Libmodbus(program, where)
    if peer == "modbus_tk":
        return ModbusTk(where, rtu=rtu)
    if peer == "umodbus":
        return Umodbus(where, rtu=rtu)
    return MinimalModbus(where) if peer == "minimalmodbus" else PyModbusTcp(where)
