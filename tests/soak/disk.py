"""
What a disk holds after the power failed: everything that was synced, and of the rest any part, whole or torn.

A process runs with `tape.c` preloaded, which writes down each write, cut and sync of one folder in order. From the tape
the folder can be rebuilt as it may be found after a power cut at any of these moments.
"""

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_HEAD = struct.Struct("<cHQQ")
#: a disk writes sectors whole; a file system may tear anywhere
SECTOR_BYTES, PAGE_BYTES = 512, 4096


def compile_tape(folder: Path) -> Path:
    """Return the compiled preload library."""
    compiler = shutil.which("gcc")
    assert compiler, "gcc is missing: apt-get install gcc"
    library = folder / "tape.so"
    source = Path(__file__).with_name("tape.c")
    flags = ["-O1", "-Wall", "-Wextra", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, "-o", os.fspath(library), os.fspath(source), "-ldl"], check=True)
    return library


def environment(library: Path, folder: Path, tape: Path) -> dict[str, str]:
    """Return what a process needs in its environment to be written down."""
    return {"LD_PRELOAD": str(library), "TAPE_FOLDER": str(folder), "TAPE_FILE": str(tape)}


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing done to a file; `offset` is the new length of a cut."""

    letter: str
    name: str
    offset: int
    data: bytes


def read_tape(tape: Path) -> list[Operation]:
    """Return what was done, in order; a last record cut short by a kill is left out."""
    data, at, found = tape.read_bytes(), 0, []
    while len(data) - at >= _HEAD.size:
        letter, length, offset, count = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if len(data) - at < length + count:
            break
        name = data[at : at + length].decode()
        found.append(Operation(letter.decode(), name, offset, data[at + length : at + length + count]))
        at += length + count
    return found


def _apply(image: bytearray, operation: Operation, part: slice | None = None) -> None:
    if operation.letter == "T":
        image[operation.offset :] = bytes(max(0, operation.offset - len(image)))
        return
    offset = len(image) if operation.letter == "A" else operation.offset
    first, last, _ = (part or slice(None)).indices(len(operation.data))
    end = offset + last
    if len(image) < end:
        image.extend(bytes(end - len(image)))
    image[offset + first : end] = operation.data[first:last]


@dataclass(slots=True)
class File:
    """One file: what has reached the disk, and what has not been synced since."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Operation] = field(default_factory=list)

    def do(self, operation: Operation) -> None:
        """Take one operation."""
        if operation.letter == "S":
            for waiting in self.pending:
                _apply(self.durable, waiting)
            self.pending = []
        else:
            self.pending.append(operation)

    def after_power_cut(self, rng: random.Random) -> bytes:
        """Return what may be found: each unsynced operation whole, in part, or not at all."""
        image = bytearray(self.durable)
        kind = rng.choice(("nothing", "all", "some", "some", "prefix"))
        upto = rng.randint(0, len(self.pending)) if kind == "prefix" else len(self.pending)
        for number, operation in enumerate(self.pending[:upto]):
            fate = "torn" if kind == "prefix" and number == upto - 1 else "whole"
            if kind == "nothing":
                break
            if kind == "some":
                fate = rng.choice(("whole", "lost", "torn"))
            if fate == "lost":
                continue
            _apply(image, operation, self._torn(operation, rng) if fate == "torn" and operation.data else None)
        return bytes(image)

    @staticmethod
    def _torn(operation: Operation, rng: random.Random) -> slice:
        size = len(operation.data)
        grain = rng.choice((1, SECTOR_BYTES, PAGE_BYTES))
        cut = min(size, rng.randint(0, size // grain) * grain)
        return slice(0, cut) if rng.random() < 0.7 else slice(cut, size)


class Disk:
    """A folder, played from its tape."""

    def __init__(self, operations: list[Operation]) -> None:
        self.operations = operations
        self.files: dict[str, File] = {}

    def file(self, name: str) -> File:
        """Return a file, which is empty when it was not there."""
        return self.files.setdefault(name, File())

    def play(self) -> Iterator[int]:
        """Do one operation after the other; yield the number done after each."""
        for number, operation in enumerate(self.operations, start=1):
            if operation.letter == "U":
                self.files.pop(operation.name, None)
            else:
                self.file(operation.name).do(operation)
            yield number

    def play_all(self) -> "Disk":
        """Do everything."""
        for _ in self.play():
            pass
        return self

    def leave(self, folder: Path, rng: random.Random, *, only: str = "") -> None:
        """Write into a folder what a power cut now may leave of the files whose names begin so."""
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob(f"{only}*-shm"):
            path.unlink()
        for name, file in self.files.items():
            if name.startswith(only):
                (folder / name).write_bytes(file.after_power_cut(rng))
