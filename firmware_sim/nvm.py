"""
Non-volatile memory of a simulated device: one file of two banks, written in turn.

A save goes to the older bank and is synced before it returns; a load takes the newest bank whose checksum holds. A
process killed, or a machine cut, in the middle of a save leaves the state before it.
"""

import os
import struct
import zlib
from pathlib import Path
from typing import Protocol

BANK_BYTES = 64 * 1024
_HEADER = struct.Struct(">4sQII")
_MAGIC = b"CNV1"


class NvmDamaged(Exception):
    """Both banks fail their checksum."""


class NonVolatile(Protocol):
    """What a device keeps through a power cut."""

    def load(self) -> bytes | None:
        """Return what was last saved, or None for a new device; raise NvmDamaged when nothing is readable."""

    def save(self, body: bytes) -> None:
        """Replace what is saved, all or nothing."""


class FileNvm:
    """Two banks in a file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self._generation = 0

    def load(self) -> bytes | None:
        """Return the newest intact bank."""
        banks = [self._read_bank(0), self._read_bank(1)]
        intact = [bank for bank in banks if bank is not None]
        if intact:
            self._generation, body = max(intact)
            return body
        if os.fstat(self._fd).st_size:
            raise NvmDamaged
        return None

    def save(self, body: bytes) -> None:
        """Write the older bank and sync it."""
        if len(body) > BANK_BYTES - _HEADER.size:
            raise ValueError(f"{len(body)} bytes do not fit a bank")
        self._generation += 1
        header = _HEADER.pack(_MAGIC, self._generation, len(body), _checksum(self._generation, body))
        os.pwrite(self._fd, header + body, self._generation % 2 * BANK_BYTES)
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Release the file."""
        os.close(self._fd)

    def _read_bank(self, number: int) -> tuple[int, bytes] | None:
        data = os.pread(self._fd, BANK_BYTES, number * BANK_BYTES)
        if len(data) < _HEADER.size:
            return None
        magic, generation, length, checksum = _HEADER.unpack_from(data)
        body = data[_HEADER.size : _HEADER.size + length]
        if magic != _MAGIC or len(body) != length or _checksum(generation, body) != checksum:
            return None
        return generation, body


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
