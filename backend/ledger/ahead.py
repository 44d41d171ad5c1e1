"""
Batches sent to PostgreSQL before those before them are answered.

While the server writes one, the next is decided on what that one will leave, and sent behind it. Each is one message
that takes the lock, writes only if the books carry the stamp it was decided on, and commits: the server never waits for
this process, whose threads may all be busy with something else, while it holds the lock.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from backend.db import Database
from backend.db.sender import NotDone, NotSent, Sender, Value
from backend.ledger import repository
from backend.ledger.execution import Prepared, prepare
from backend.ledger.memory import Memory
from backend.ledger.repository_statements import statements
from backend.ledger.rules import TransferRequest, left_on_clearing

_SENT = ("books", "write", *repository.RESIDUES)
Commands = list[tuple[str, dict[str, Value]]]


class Ahead:
    """One writer's way to PostgreSQL. Its connections are made when they are first needed, and again when lost."""

    def __init__(self, db: Database, tenant_id: str, memory: Memory) -> None:
        self._db, self._tenant_id, self._memory = db, tenant_id, memory
        self._sender: Sender | None = None
        #: Reads what the memory lacks, as it was before what is underway: that the memory has.
        self._reader: Connection | None = None

    def send(self, requests: Sequence[TransferRequest], now: datetime) -> Prepared | None:
        """Return what was decided and sent, or nothing if these requests must be executed by themselves."""
        try:
            if self._sender is None or self._reader is None:
                self._connect()
            assert self._sender is not None, "connected"
            assert self._reader is not None, "connected"
            prepared = prepare(self._reader, self._tenant_id, requests, self._memory, now=now, trusting=True)
            if repository.opened(prepared.known, prepared.decision):
                return None
            self._sender.send(commands(self._tenant_id, prepared))
        except (DBAPIError, NotSent, NotDone):
            self.close()
            return None
        return prepared

    def receive(self, prepared: Prepared) -> repository.Books | None:
        """Wait for the oldest that was sent and return the books it found, or nothing if it failed or was lost."""
        if self._sender is None:
            return None
        try:
            books, *_ = self._sender.receive()
        except NotDone:
            return None
        except NotSent:
            self.close()
            return None
        return repository.to_books(books[0]) if books else None  # a school that nobody wrote for has none

    def _connect(self) -> None:
        self.close()
        known = statements("postgresql")
        self._sender = Sender(self._db.engine, {name: known[name] for name in _SENT})
        self._reader = self._db.engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def close(self) -> None:
        """Close the connections; what is underway may be done or not."""
        if self._sender is not None:
            self._sender.close()
        if self._reader is not None:
            self._reader.close()
        self._sender = self._reader = None


def commands(tenant_id: str, prepared: Prepared) -> Commands:
    """Return what stores a decision whose accounts are open; the first of it finds the books as they were."""
    made: Commands = [("books", {"tenant": tenant_id})]
    decision, stamp = prepared.decision, prepared.stamp_after
    if decision.transfers:
        given = repository.written(tenant_id, prepared.known, decision, prepared.stamp_before, stamp)
        made.append(("write", dict(given)))
    left = left_on_clearing(decision.transfers)
    if left:
        residues = repository.residues_given("postgresql", tenant_id, left, stamp)
        made += [(name, dict(residues)) for name in repository.RESIDUES]
    return made
