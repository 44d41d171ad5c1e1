"""Independent Modbus peers that answer: libmodbus (C) and modbus-tk, over TCP and on a serial line."""

import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import serial
from modbus_tk import defines, modbus_rtu, modbus_tcp

from gateway.config import Line
from tests.contract.conformance.bridge import joined_terminals
from tests.patience import PATIENCE_S

UNIT = 1
BAUD = 115_200
#: addresses each table has; bit n is n % 3 == 0, holding register n is n, input register n is 65535 - n
ADDRESSES = 2_000
#: a peer answers within this or has not heard
TIMEOUT_MS = 2_000


class Server(Protocol):
    """A peer that answers as unit 1. `start` returns the gateway's end of the line."""

    writes_first: bool

    def start(self) -> Line:
        """Begin to answer."""

    def stop(self) -> None:
        """End."""


def line_to(where: tuple[str, int] | str) -> Line:
    """Return a line of a gateway's configuration."""
    if isinstance(where, str):
        return Line(line_id="l1", transport="serial", path=where, baud=BAUD, parity="N", timeout_ms=TIMEOUT_MS)
    return Line(line_id="l1", transport="tcp", host=where[0], port=where[1], timeout_ms=TIMEOUT_MS)


class LibmodbusServer:
    """The C library, in a process of its own."""

    #: whether function 23 writes before it reads, as the standard says
    writes_first = True

    def __init__(self, program: Path, transport: str) -> None:
        self._program, self._transport = program, transport
        self._stack = ExitStack()
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> Line:
        """Begin to answer."""
        near, far = ("", "0")
        if self._transport == "serial":
            near, far = self._stack.enter_context(joined_terminals())
        kind = "rtu" if self._transport == "serial" else "tcp"
        self._process = subprocess.Popen(
            [self._program, kind, far, str(UNIT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        ready, port = self._process.stdout.readline().split()
        assert ready == "ready"
        return line_to(near or ("127.0.0.1", int(port)))

    def stop(self) -> None:
        """End."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)
        self._process.stdout.close()
        self._stack.close()


class ModbusTkServer:
    """modbus-tk, in a thread of its own."""

    writes_first = False

    def __init__(self, transport: str) -> None:
        self._transport = transport
        self._stack = ExitStack()
        self._server: Any = None

    def start(self) -> Line:
        """Begin to answer."""
        if self._transport == "serial":
            near, far = self._stack.enter_context(joined_terminals())
            self._server = modbus_rtu.RtuServer(serial.Serial(far, BAUD), error_on_missing_slave=False)
            where: tuple[str, int] | str = near
        else:
            self._server = modbus_tcp.TcpServer(port=0, address="127.0.0.1", error_on_missing_slave=False)
            where = ("127.0.0.1", 0)
        unit = self._server.add_slave(UNIT)
        bits = [int(at % 3 == 0) for at in range(ADDRESSES)]
        for name, kind, values in (
            ("coils", defines.COILS, bits),
            ("inputs", defines.DISCRETE_INPUTS, bits),
            ("holding", defines.HOLDING_REGISTERS, list(range(ADDRESSES))),
            ("input", defines.ANALOG_INPUTS, [65_535 - at for at in range(ADDRESSES)]),
        ):
            unit.add_block(name, kind, 0, ADDRESSES)
            unit.set_values(name, 0, values)
        self._server.start()
        if not isinstance(where, str):
            deadline = time.monotonic() + PATIENCE_S
            while self._server._sock is None:  # it says neither when it listens nor where
                assert time.monotonic() < deadline
                time.sleep(0.005)
            where = self._server._sock.getsockname()
        return line_to(where)

    def stop(self) -> None:
        """End."""
        self._server.stop()
        self._stack.close()
