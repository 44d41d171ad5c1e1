"""
Proving the books by the clock: what came since the last proof is counted again, and what differs becomes a case.

A proof holds the ledger's lock while it counts. What it finds stands in a case per account, opened once for each point
up to which the books were proven; the books are then not proven any further until somebody has mended them, so the
finding is repeated and counted with every attempt.
"""

import logging
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from backend.ledger import service as ledger
from backend.payments import cases
from backend.payments import standing_repository as repository

log = logging.getLogger(__name__)
_ACCOUNT_CHARS_MAX = 130
#: More cases than this of one proof say nothing new.
_CASES_MAX = 20


@dataclass(frozen=True, slots=True)
class Proof:
    """How far the books are proven: the last transfer's number and when, and what the latest attempt found."""

    proven_number: int
    #: None while nothing was ever proven
    proven_at: datetime | None
    checked_at: datetime
    discrepancies: int


def prove(conn: Connection, tenant_id: str, now: datetime) -> list[ledger.Discrepancy]:
    """Return the accounts that do not add up, having counted what is new and written down how far it came."""
    found = ledger.verify_new(conn, tenant_id)
    number = ledger.verified_number(conn, tenant_id)
    before = last(conn, tenant_id)
    proven_at = now if not found else before.proven_at if before is not None else None
    repository.set_proof(
        conn,
        {
            "tenant_id": tenant_id,
            "proven_number": number,
            "proven_at": proven_at,
            "checked_at": now,
            "discrepancies": len(found),
        },
    )
    for wrong in found[:_CASES_MAX]:
        _open_case(conn, tenant_id, wrong, number, now)
    return found


def _open_case(conn: Connection, tenant_id: str, wrong: ledger.Discrepancy, number: int, now: datetime) -> None:
    log.error("the books do not add up", extra={"tenant": tenant_id, "account": wrong.account_id})
    off = (wrong.running[3] - wrong.running[1]) - (wrong.counted[3] - wrong.counted[1])
    cases.open_case(
        conn,
        tenant_id=tenant_id,
        kind="books_differ",
        subject_id=f"{wrong.account_id[:_ACCOUNT_CHARS_MAX]}@{number}",
        amount_minor=abs(off),
        evidence={
            "account_id": wrong.account_id,
            "running": ", ".join(map(str, wrong.running)),
            "counted": ", ".join(map(str, wrong.counted)),
            "proven_number": number,
        },
        now=now,
    )


def last(conn: Connection, tenant_id: str) -> Proof | None:
    """Return how far a school's books are proven; None before the first attempt."""
    row = repository.proof(conn, tenant_id)
    if row is None:
        return None
    return Proof(row["proven_number"], row["proven_at"], row["checked_at"], row["discrepancies"])
