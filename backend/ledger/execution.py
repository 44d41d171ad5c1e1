"""
A batch in two steps: what it will do is prepared from what is known, then finished under the writer's lock.

Whoever prepares without the lock must see, once it is held, that the books carry the stamp it was prepared on, or
prepare again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from backend.ledger import repository
from backend.ledger.decision import decide
from backend.ledger.memory import Memory
from backend.ledger.rules import Decision, Rows, TransferRequest, TransferResult, left_on_clearing


@dataclass(frozen=True, slots=True)
class Prepared:
    """A decision, the rows it rests on, the stamp of the books they are of, and the stamp it leaves."""

    known: Rows
    decision: Decision
    stamp_before: str
    stamp_after: str


def prepare(
    conn: Connection, tenant_id: str, requests: Sequence[TransferRequest], memory: Memory, *, now: datetime
) -> Prepared:
    """Return what these requests do to the books as the memory knows them; the memory goes on as if it were done."""
    stamp = memory.stamp
    known = repository.load_rows(conn, tenant_id, requests, memory)
    decision = decide(known, requests, now=now)
    memory.learn(known, decision)
    return Prepared(known, decision, stamp, memory.stamp)


def finish(conn: Connection, tenant_id: str, before: repository.Books, prepared: Prepared) -> list[TransferResult]:
    """Store what was prepared on these books and return what became of each request. The lock is held."""
    assert before.stamp == prepared.stamp_before, "prepared on other books"
    decision = prepared.decision
    repository.store(conn, tenant_id, before, prepared.known, decision, prepared.stamp_after)
    repository.add_residues(conn, tenant_id, left_on_clearing(decision.transfers))
    return list(decision.results)
