"""
Finds rows that cannot be used, although the file as a whole can, and sets them aside for a person.

A rotten byte must not cost more than the row it is in. A record that is lost leaves a hole, and what lies behind a hole
is never acknowledged; so what can still be read is written again under a new epoch. The chain of digests tells a
damaged payload, which is set aside, from a damaged signature, which is made anew.
"""

import base64
import hashlib
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.contract.events import JournalRecord
from gateway.contract.signing import SignatureRefused, decode
from gateway.uplink.journal import Head, Journal
from gateway.uplink.state import DeviceMemory, PassageMemory, SessionMemory

log = logging.getLogger(__name__)

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS damaged (number INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, place TEXT NOT NULL,"
    " content BLOB NOT NULL, reason TEXT NOT NULL)",
)
_JOURNAL = "journal"
_HEAD = "journal_head"
#: what is remembered beside the journal: table, the column with its name, what its body must be
_BODIES: tuple[tuple[str, str, type], ...] = (
    ("devices", "device_id", DeviceMemory),
    ("sessions", "water_session_id", SessionMemory),
    ("passages", "passage_id", PassageMemory),
)


@dataclass(frozen=True, slots=True)
class Damage:
    """A row that cannot be used."""

    table: str
    row: int
    content: bytes
    reason: str

    @property
    def place(self) -> str:
        """Name the row."""
        return f"{self.table} {self.row}"


@dataclass(frozen=True, slots=True)
class Found:
    """What looking through a file found. With `is_broken_chain`, what waits cannot be acknowledged as it is."""

    damages: tuple[Damage, ...]
    is_broken_chain: bool


def look_through(connection: sqlite3.Connection, *, key: Ed25519PrivateKey | None) -> Found:
    """Return what cannot be used; without the gateway's key, signatures are not looked at. Changes nothing."""
    head, damages = _head(connection)
    chain, is_broken = _look_at_journal(connection, head, key)
    damages += chain
    for table, name, kind in _BODIES:
        damages += _look_at(connection, table, f"CAST({name} AS BLOB), CAST(body AS BLOB)", _body_check(name, kind))
    damages += _look_at(connection, "commands", "CAST(cmd_id AS BLOB), CAST(sha256 AS BLOB), at_ms", _command_check)
    return Found(tuple(damages), is_broken)


def mend(connection: sqlite3.Connection, journal: Journal, *, key: Ed25519PrivateKey, now_ms: int) -> None:
    """
    Set aside what cannot be used, and begin a new epoch when there was any; inside the caller's transaction.

    With memory other than records gone, no command issued before now may be believed.
    """
    found = look_through(connection, key=key)
    for damage in found.damages:
        log.error("damaged row set aside", extra={"place": damage.place, "reason": damage.reason})
        connection.execute(
            "INSERT INTO damaged (at_ms, place, content, reason) VALUES (?, ?, ?, ?)",
            (now_ms, damage.place, damage.content, damage.reason),
        )
        connection.execute(f"DELETE FROM {damage.table} WHERE rowid = ?", (damage.row,))  # a name of ours
    is_memory_lost = any(damage.table != _JOURNAL for damage in found.damages)
    if is_memory_lost:
        journal.renew_epoch(not_before_ms=now_ms)
    elif found.is_broken_chain:
        log.error("journal has a hole; what waits is sent under a new epoch")
        journal.renew_epoch(not_before_ms=journal.head().not_before_ms)


def _head(connection: sqlite3.Connection) -> tuple[Head | None, list[Damage]]:
    row = connection.execute(
        "SELECT rowid, CAST(epoch AS BLOB), sequence, CAST(sha256 AS BLOB), not_before_ms FROM journal_head"
    ).fetchone()
    if row is None:
        return None, []
    number, epoch, sequence, sha256, not_before_ms = row
    try:
        if not isinstance(sequence, int) or not isinstance(not_before_ms, int):
            raise ValueError("a number is none")
        return Head(epoch.decode(), sequence, sha256.decode(), not_before_ms), []
    except ValueError as error:
        return None, [Damage(_HEAD, number, _content(row[1:]), str(error))]


def _look_at_journal(
    connection: sqlite3.Connection, head: Head | None, key: Ed25519PrivateKey | None
) -> tuple[list[Damage], bool]:
    """Return the records that cannot be used, newest first, and whether what waits is other than one whole chain."""
    damages: list[Damage] = []
    rows = connection.execute(
        "SELECT sequence, CAST(kid AS BLOB), CAST(payload AS BLOB), CAST(signature AS BLOB) FROM journal"
        " ORDER BY sequence DESC"
    )
    #: the record that must come now, and its digest, where that is known
    due = head.sequence if head else None
    digest = head.sha256 if head else None
    is_broken = False
    for sequence, kid, payload, signature in rows:
        if sequence != due:
            is_broken, digest = True, None
        due = sequence - 1
        is_chained = hashlib.sha256(payload).hexdigest() == digest
        digest = None
        try:
            record = decode(payload, JournalRecord)
            if record.sequence != sequence:
                raise SignatureRefused("malformed", f"it says that it is {record.sequence}")
        except SignatureRefused as error:
            damages.append(Damage(_JOURNAL, sequence, _content((kid, payload, signature)), str(error)))
            is_broken = True
            continue
        is_broken = is_broken or head is None or record.epoch != head.epoch
        why = _signature_trouble(record, kid, payload, signature, key)
        if why and not is_chained:
            damages.append(Damage(_JOURNAL, sequence, _content((kid, payload, signature)), why))
        else:
            digest = record.previous_sha256
        is_broken = is_broken or bool(why)
    return damages, is_broken


def _signature_trouble(
    record: JournalRecord, kid: bytes, payload: bytes, signature: bytes, key: Ed25519PrivateKey | None
) -> str:
    """Return what is wrong with a signature. Signing gives the same bytes each time, in half the time of verifying."""
    if key is None:
        return ""
    if kid != record.gateway.encode():
        return "the name of its key is another"
    return "" if signature == base64.b64encode(key.sign(payload)) else "the signature does not fit the payload"


def _look_at(
    connection: sqlite3.Connection, table: str, columns: str, check: Callable[[tuple[object, ...]], None]
) -> list[Damage]:
    damages = []
    for row, *values in connection.execute(f"SELECT rowid, {columns} FROM {table} ORDER BY rowid"):  # names of ours
        try:
            check(tuple(values))
        except (ValueError, SignatureRefused) as error:
            damages.append(Damage(table, row, _content(tuple(values)), str(error)))
    return damages


def _body_check(name: str, kind: type) -> Callable[[tuple[object, ...]], None]:
    def check(values: tuple[object, ...]) -> None:
        name_raw, body = values
        if not isinstance(name_raw, bytes) or not isinstance(body, bytes):
            raise ValueError("it is empty")
        said = getattr(decode(body, kind), name)
        if said != name_raw.decode():
            raise ValueError(f"it says that it is {said!r}")

    return check


def _command_check(values: tuple[object, ...]) -> None:
    cmd_id, sha256, at_ms = values
    if not isinstance(cmd_id, bytes) or not isinstance(sha256, bytes) or not isinstance(at_ms, int):
        raise ValueError("a field is missing")
    cmd_id.decode()
    sha256.decode("ascii")


def _content(values: tuple[object, ...]) -> bytes:
    return b"\n".join(value if isinstance(value, bytes) else msgspec.json.encode(value) for value in values)


def note_lost_file(connection: sqlite3.Connection, name: str, *, now_ms: int) -> None:
    """Note beside the damaged rows that a whole file was moved aside, so that it is told like them."""
    connection.execute(
        "INSERT INTO damaged (at_ms, place, content, reason) VALUES (?, ?, ?, ?)",
        (now_ms, f"the whole file, kept as {name}", b"", "it could not be read"),
    )


def count_set_aside(connection: sqlite3.Connection, *, since_ms: int = 0) -> int:
    """Return how many rows were set aside since a time; none where the file is older than the table."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'damaged'").fetchone():
        return 0
    count: int = connection.execute("SELECT COUNT(*) FROM damaged WHERE at_ms >= ?", (since_ms,)).fetchone()[0]
    return count
