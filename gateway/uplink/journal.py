"""
The journal: what must not be lost, on disk before it is sent, kept until the backend says it has it.

One SQLite file in WAL mode with `synchronous=FULL`: a commit has reached the disk when it returns. Sequence numbers
have no gaps, and each record carries the digest of the one before, so that a missing or altered record shows. When the
file has lost its end (a damaged disk), the backend may know more records than we do; then a new epoch begins, because a
sequence number must never name two different events.
"""

import hashlib
import sqlite3
from dataclasses import dataclass

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.contract.events import Event, JournalRecord
from gateway.contract.signing import Signed, sign
from gateway.kit import new_id

FIRST_PREVIOUS = "0" * 64

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS journal_head (one INTEGER PRIMARY KEY CHECK (one = 1), epoch TEXT NOT NULL,"
    " sequence INTEGER NOT NULL, sha256 TEXT NOT NULL, not_before_ms INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS journal (sequence INTEGER PRIMARY KEY, kid TEXT NOT NULL, payload TEXT NOT NULL,"
    " signature TEXT NOT NULL)",
)


@dataclass(frozen=True, slots=True)
class Head:
    """Where the journal stands: the last record written. `not_before_ms` is 0 unless older memory was lost."""

    epoch: str
    sequence: int
    sha256: str
    not_before_ms: int


class Journal:
    """Reads and writes the journal's tables; every method runs inside the caller's transaction."""

    def __init__(
        self, connection: sqlite3.Connection, *, tenant: str, gateway: str, key: Ed25519PrivateKey, rows_max: int
    ) -> None:
        self._connection, self._key = connection, key
        self._tenant, self._gateway, self._rows_max = tenant, gateway, rows_max

    def head(self) -> Head:
        """Return where the journal stands, beginning the first epoch when there is none."""
        row = self._connection.execute("SELECT epoch, sequence, sha256, not_before_ms FROM journal_head").fetchone()
        if row is None:
            return self.begin_epoch(not_before_ms=0)
        return Head(*row)

    def begin_epoch(self, *, not_before_ms: int) -> Head:
        """Begin an epoch with no records and return its head."""
        head = Head(new_id("ep"), 0, FIRST_PREVIOUS, not_before_ms)
        self._connection.execute("DELETE FROM journal")
        self._connection.execute(
            "INSERT OR REPLACE INTO journal_head VALUES (1, ?, ?, ?, ?)",
            (head.epoch, head.sequence, head.sha256, head.not_before_ms),
        )
        return head

    def renew_epoch(self, *, not_before_ms: int) -> None:
        """Begin an epoch and write again under it what still waits."""
        payloads = [row[0] for row in self._connection.execute("SELECT payload FROM journal ORDER BY sequence")]
        self.begin_epoch(not_before_ms=not_before_ms)
        for payload in payloads:
            self.append(msgspec.json.decode(payload, type=JournalRecord).event)

    def append(self, event: Event) -> int:
        """Write an event as the next record and return its sequence. It is safe when the transaction has committed."""
        head = self.head()
        record = JournalRecord(
            tenant=self._tenant,
            gateway=self._gateway,
            epoch=head.epoch,
            sequence=head.sequence + 1,
            previous_sha256=head.sha256,
            event=event,
        )
        signed = sign(record, key=self._key, kid=self._gateway)
        digest = hashlib.sha256(signed.payload.encode()).hexdigest()
        self._connection.execute(
            "INSERT INTO journal VALUES (?, ?, ?, ?)", (record.sequence, signed.kid, signed.payload, signed.signature)
        )
        self._connection.execute("UPDATE journal_head SET sequence = ?, sha256 = ?", (record.sequence, digest))
        return record.sequence

    def waiting(self, *, after: int, limit: int) -> list[tuple[int, Signed]]:
        """Return records the backend has not acknowledged, ordered by sequence, from the one after `after`."""
        rows = self._connection.execute(
            "SELECT sequence, kid, payload, signature FROM journal WHERE sequence > ? ORDER BY sequence LIMIT ?",
            (after, limit),
        )
        return [(row[0], Signed(kid=row[1], payload=row[2], signature=row[3])) for row in rows]

    def count_waiting(self) -> int:
        """Return how many records wait for the backend."""
        count: int = self._connection.execute("SELECT COUNT(*) FROM journal").fetchone()[0]
        return count

    def has_room(self, *, reserved: int) -> bool:
        """Return whether a session may open: its records, and those of `reserved` others, will still fit."""
        return self.count_waiting() + reserved < self._rows_max

    def is_half_full(self) -> bool:
        """Return whether what can wait should wait."""
        return self.count_waiting() * 2 >= self._rows_max

    def acknowledge(self, *, epoch: str, acked_through: int) -> bool:
        """
        Forget the records the backend has; return whether a new epoch had to begin.

        It begins when the backend acknowledges more than was ever written here: the file has lost its end. What still
        waits is written again under the new epoch.
        """
        head = self.head()
        if epoch != head.epoch:
            return False
        if acked_through <= head.sequence:
            self._connection.execute("DELETE FROM journal WHERE sequence <= ?", (acked_through,))
            return False
        self.renew_epoch(not_before_ms=head.not_before_ms)
        return True
