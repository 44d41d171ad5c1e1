"""Bytes on a line as they are: frames right and wrong, in pieces and glued together, with silence where wanted."""

import os
import select
import socket
import struct
import time

from tests.contract.conformance.targets import Address
from tests.patience import PATIENCE_S


def crc(data: bytes) -> bytes:
    """Return the two check bytes of a serial frame, low byte first; written bit by bit, as the standard words it."""
    register = 0xFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            carried = register & 1
            register >>= 1
            if carried:
                register ^= 0xA001
    return struct.pack("<H", register)


class Wire:
    """One connection to a target, in its transport's frames."""

    def __init__(self, where: Address, transport: str) -> None:
        self.rtu = transport != "tcp"
        self._socket: socket.socket | None = None
        if isinstance(where, str):
            self._fd = os.open(where, os.O_RDWR | os.O_NOCTTY)
        else:
            self._socket = socket.create_connection(where, timeout=PATIENCE_S)
            self._fd = self._socket.fileno()
        self._transaction = 0

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
        else:
            os.close(self._fd)

    def frame(self, unit: int, pdu: bytes) -> bytes:
        """Return a right frame."""
        if self.rtu:
            body = bytes([unit]) + pdu
            return body + crc(body)
        self._transaction = self._transaction % 0xFFFF + 1
        return struct.pack(">HHHB", self._transaction, 0, len(pdu) + 1, unit) + pdu

    def send(self, data: bytes) -> None:
        """Write bytes."""
        os.write(self._fd, data)

    def receive(self, count: int, *, within_s: float = PATIENCE_S) -> bytes:
        """Return so many bytes, fewer when time is up or the other side hung up."""
        data = b""
        deadline = time.monotonic() + within_s
        while len(data) < count:
            if not select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
                break
            try:
                more = os.read(self._fd, count - len(data))
            except ConnectionError:
                break
            if not more:
                break
            data += more
        return data

    def is_silent(self, *, for_s: float = 0.2) -> bool:
        """Return whether nothing comes for a while."""
        return not self.receive(1, within_s=for_s)

    def answer(self, unit: int, size: int) -> bytes:
        """Return the PDU of an answer of a size, checked: its unit, its transaction and its check bytes."""
        if self.rtu:
            data = self.receive(size + 3)
            assert data[-2:] == crc(data[:-2]), data.hex(" ")
            assert data[0] == unit
            return data[1:-2]
        data = self.receive(size + 7)
        assert data[:7] == struct.pack(">HHHB", self._transaction, 0, size + 1, unit), data.hex(" ")
        return data[7:]

    def ask(self, unit: int, pdu: bytes, size: int) -> bytes:
        """Send a request and return the PDU of an answer of a size."""
        self.send(self.frame(unit, pdu))
        return self.answer(unit, size)
