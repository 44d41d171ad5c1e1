"""SQL of signed records and of the digests between them."""

from typing import Any

from sqlalchemy import Connection, RowMapping, select

from backend.db.insert import insert_once
from backend.outbox.evidence_models import evidence_records
from backend.outbox.models import records


def insert(conn: Connection, values: dict[str, Any]) -> bool:
    """Store a record once; return whether it is new."""
    return insert_once(conn, evidence_records, values)


def of_session(conn: Connection, tenant_id: str, water_session_id: str, limit: int) -> list[RowMapping]:
    """Return a session's records in the order they were written."""
    where = (
        evidence_records.c.tenant_id == tenant_id,
        evidence_records.c.water_session_id == water_session_id,
    )
    ordered = select(evidence_records).where(*where).order_by(evidence_records.c.epoch, evidence_records.c.sequence)
    return list(conn.execute(ordered.limit(limit)).mappings())


def digests(
    conn: Connection, tenant_id: str, gateway_id: str, epoch: str, *, first: int, last: int
) -> list[tuple[int, str]]:
    """Return (sequence, digest) of the accepted records from one sequence to another, in order."""
    where = (
        records.c.tenant_id == tenant_id,
        records.c.gateway_id == gateway_id,
        records.c.epoch == epoch,
        records.c.sequence >= first,
        records.c.sequence <= last,
    )
    query = select(records.c.sequence, records.c.sha256).where(*where).order_by(records.c.sequence)
    return [(row.sequence, row.sha256) for row in conn.execute(query)]
