"""
Non-volatile memory of a simulated device: two banks, written in turn.

A save goes to the older bank and is synced before it returns; a load takes the newest bank whose checksum holds. A
process killed, or a machine cut, in the middle of a save leaves the state before it.
"""

import os
import struct
import zlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Protocol

BANK_BYTES = 64 * 1024
_HEADER = struct.Struct(">4sQII")
_MAGIC = b"CNV1"


class NvmDamaged(Exception):
    """Both banks fail their checksum."""


class PowerCut(Exception):
    """The supply failed in the middle of a save."""


class NonVolatile(Protocol):
    """What a device keeps through a power cut."""

    def load(self) -> bytes | None:
        """Return what was last saved, or None for a new device; raise NvmDamaged when nothing is readable."""

    def save(self, body: bytes) -> None:
        """Replace what is saved, all or nothing."""


class _Banks(ABC):
    """Two banks on something that keeps bytes."""

    def __init__(self) -> None:
        self._generation = 0

    @abstractmethod
    def _read(self, at: int, length: int) -> bytes:
        """Return bytes, fewer beyond the end."""

    @abstractmethod
    def _write(self, at: int, data: bytes) -> None:
        """Put bytes where they last."""

    def load(self) -> bytes | None:
        """
        Return the newest intact bank.

        :raises NvmDamaged: if there is none, although both were written.
        """
        banks = [self._read_bank(0), self._read_bank(1)]
        intact = [bank for bank in banks if bank is not None]
        if intact:
            self._generation, body = max(intact)
            return body
        if any(self._read(0, _HEADER.size)):
            raise NvmDamaged
        return None  # the bank that is written second never was: at most the very first save was cut

    def save(self, body: bytes) -> None:
        """Write the older bank and sync it."""
        if len(body) > BANK_BYTES - _HEADER.size:
            raise ValueError(f"{len(body)} bytes do not fit a bank")
        self._generation += 1
        header = _HEADER.pack(_MAGIC, self._generation, len(body), _checksum(self._generation, body))
        self._write(self._generation % 2 * BANK_BYTES, header + body)

    def _read_bank(self, number: int) -> tuple[int, bytes] | None:
        data = self._read(number * BANK_BYTES, BANK_BYTES)
        if len(data) < _HEADER.size:
            return None
        magic, generation, length, checksum = _HEADER.unpack_from(data)
        body = data[_HEADER.size : _HEADER.size + length]
        if magic != _MAGIC or len(body) != length or _checksum(generation, body) != checksum:
            return None
        return generation, body


class FileNvm(_Banks):
    """Two banks in a file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def _read(self, at: int, length: int) -> bytes:
        return os.pread(self._fd, length, at)

    def _write(self, at: int, data: bytes) -> None:
        os.pwrite(self._fd, data, at)
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Release the file."""
        os.close(self._fd)


class TornNvm(_Banks):
    """
    Two banks in memory whose supply can be made to fail in the middle of a write.

    After `cut(saves=n, byte=b)` the n-th save from then writes its first b bytes and raises PowerCut.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cells = bytearray()
        self.saves = 0
        self._saves_left: int | None = None
        self._cut_byte = 0

    def cut(self, *, saves: int, byte: int) -> None:
        """Let the supply fail in the n-th save from now, after so many bytes of it."""
        self._saves_left, self._cut_byte = saves, byte

    def _read(self, at: int, length: int) -> bytes:
        return bytes(self.cells[at : at + length])

    def _write(self, at: int, data: bytes) -> None:
        self.saves += 1
        torn = False
        if self._saves_left is not None:
            self._saves_left -= 1
            torn = self._saves_left == 0
        if torn:
            self._saves_left = None
            data = data[: self._cut_byte]
        if data:
            self.cells.extend(bytes(max(0, at + len(data) - len(self.cells))))
            self.cells[at : at + len(data)] = data
        if torn:
            raise PowerCut


class MemoryNvm:
    """Memory that outlives the device object but not the process, for tests and large simulations."""

    def __init__(self) -> None:
        self.body: bytes | None = None
        self.saves = 0

    def load(self) -> bytes | None:
        """Return what was last saved."""
        return self.body

    def save(self, body: bytes) -> None:
        """Keep the bytes."""
        self.body = body
        self.saves += 1


def _checksum(generation: int, body: bytes) -> int:
    return zlib.crc32(generation.to_bytes(8, "big") + body)
