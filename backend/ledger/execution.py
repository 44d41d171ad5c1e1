"""
A batch in two steps: what it will do is prepared from what is known, then finished under the writer's lock.

Whoever prepares without the lock must see, once it is held, that the books carry the stamp it was prepared on, or
prepare again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from backend.ledger import listing_repository as listing
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
    conn: Connection,
    tenant_id: str,
    requests: Sequence[TransferRequest],
    memory: Memory,
    *,
    now: datetime,
    trusting: bool = False,
) -> Prepared:
    """
    Return what these requests do to the books as the memory knows them; the memory goes on as if it were done.

    Trusting means not to look for transfers with the ids of requests that can become transfers: if there is one, the
    database refuses the new one, and the batch is to be prepared again without trust.
    """
    stamp = memory.stamp
    known = repository.load_rows(conn, tenant_id, requests, memory, trusting=trusting)
    decision = decide(known, requests, now=now)
    if trusting and _some_stand(conn, tenant_id, known, decision):
        known = repository.load_rows(conn, tenant_id, requests, memory, trusting=False)
        decision = decide(known, requests, now=now)
    memory.learn(known, decision)
    return Prepared(known, decision, stamp, memory.stamp)


def _some_stand(conn: Connection, tenant_id: str, known: Rows, decision: Decision) -> bool:
    """Return whether a request that was refused is on the books from before."""
    refused = {result.transfer_id for result in decision.results if not result.stands} - known.transfers.keys()
    stored, _ = repository.load_transfers(conn, tenant_id, refused)
    return bool(stored)


def finish(
    conn: Connection,
    tenant_id: str,
    before: repository.Books,
    prepared: Prepared,
    *,
    unlisted_max: int = listing.UNLISTED_MAX,
) -> list[TransferResult]:
    """
    Store what was prepared on these books and return what became of each request. The lock is held.

    When more transfers than `unlisted_max` are without lines, some get theirs now.
    """
    assert before.stamp == prepared.stamp_before, "prepared on other books"
    decision = prepared.decision
    repository.store(conn, tenant_id, before, prepared.known, decision, prepared.stamp_after)
    repository.add_residues(conn, tenant_id, left_on_clearing(decision.transfers), prepared.stamp_after)
    if before.last_number + len(decision.transfers) - before.listed_number > unlisted_max:
        listing.list_new(conn, tenant_id)
    return list(decision.results)
