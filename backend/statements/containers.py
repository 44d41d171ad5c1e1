"""
Opens what a file is packed in: nothing, GZIP or ZIP. Yields lines as bytes, a chunk in memory at a time.

The only importer of `zipfile` and `zlib`. Their failures become refusals here, and sizes are bounded by what comes
out, never by what a header promises.
"""

import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from backend.statements.types import StatementRefused

PACKED_BYTES_MAX = 64 * 1024 * 1024
UNPACKED_BYTES_MAX = 400 * 1024 * 1024
_MEMBERS_MAX = 32
_LINE_BYTES_MAX = 16 * 1024
_CHUNK_BYTES = 256 * 1024
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Part:
    """One file inside. `chunks` may be called again to read it again."""

    name: str
    chunks: Callable[[], Iterator[bytes]]


def parts(name: str, data: bytes, *, encoding: str) -> list[Part]:
    """
    Return the files inside a file; a plain one is its own only part.

    `encoding` is that of ZIP member names without the UTF-8 flag.

    :raises StatementRefused: if it is damaged or too large (when a part is read, as far as only reading shows it).
    """
    if len(data) > PACKED_BYTES_MAX:
        raise StatementRefused("size", f"the file is larger than {PACKED_BYTES_MAX:,} bytes", file=name)
    if data[:2] == b"PK":
        return _unzip(name, data, encoding)
    if data[:2] == b"\x1f\x8b":
        return [Part(name.removesuffix(".gz"), lambda: _bounded(name, _gunzip(name, data)))]
    return [Part(name, lambda: _bounded(name, _slices(data)))]


def lines(part: Part) -> Iterator[tuple[int, bytes]]:
    """
    Yield a part's lines with their numbers from 1, without their ends.

    Lines end in CR LF or in LF, the same throughout; the last one may lack its end.
    """
    rest, number, ending = b"", 0, b""
    for chunk in part.chunks():
        pieces = (rest + chunk).split(b"\n")
        rest = pieces.pop()
        if len(rest) > _LINE_BYTES_MAX:
            raise StatementRefused("length", "the line does not end", file=part.name, line=number + len(pieces) + 1)
        for piece in pieces:
            number += 1
            if number == 1:
                ending = piece[-1:] if piece.endswith(b"\r") else b""
            if piece.endswith(b"\r") != bool(ending):
                raise StatementRefused("separator", "the line ends unlike the first one", file=part.name, line=number)
            yield number, piece[: len(piece) - len(ending)]
    if rest:
        yield number + 1, rest


def _slices(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _CHUNK_BYTES):
        yield data[start : start + _CHUNK_BYTES]


def _bounded(name: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > UNPACKED_BYTES_MAX:
            raise StatementRefused("size", f"the file unpacks to more than {UNPACKED_BYTES_MAX:,} bytes", file=name)
        yield chunk


def _damaged(name: str, detail: str) -> StatementRefused:
    return StatementRefused("container", f"the file is cut off or damaged ({detail}); download it again", file=name)


def _gunzip(name: str, data: bytes) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=31)
    pending = data
    while not unpacker.eof:
        try:
            chunk = unpacker.decompress(pending, _CHUNK_BYTES)
        except zlib.error as error:
            raise _damaged(name, "GZIP") from error
        if not chunk and not unpacker.eof:
            raise _damaged(name, "GZIP ends early")
        pending = unpacker.unconsumed_tail
        yield chunk
    if unpacker.unused_data:
        raise _damaged(name, "more follows after the end of the GZIP data")


def _unzip(name: str, data: bytes, encoding: str) -> list[Part]:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except _DAMAGED as error:
        raise _damaged(name, "ZIP") from error
    infos = [info for info in archive.infolist() if not info.is_dir()]
    if any(info.compress_type not in _COMPRESSIONS for info in infos):  # damage in others is not always found as such
        raise StatementRefused("container", "the ZIP file is packed in a way no provider packs", file=name)
    if len(infos) > _MEMBERS_MAX or sum(info.file_size for info in infos) > UNPACKED_BYTES_MAX:
        raise StatementRefused("size", "the ZIP file holds more than any statement does", file=name)
    return [Part(_member_name(info, encoding), _reader(name, archive, info)) for info in infos]


def _reader(name: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], Iterator[bytes]]:
    def unpack() -> Iterator[bytes]:
        try:
            with archive.open(info) as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
        except _DAMAGED as error:
            raise _damaged(name, "ZIP member") from error

    return lambda: _bounded(name, unpack())


def _member_name(info: zipfile.ZipInfo, encoding: str) -> str:
    """Return a member's name; `zipfile` reads names without the UTF-8 flag as code page 437."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode(encoding)
    except UnicodeError:
        return info.filename
