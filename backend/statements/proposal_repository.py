"""All SQL of files that were brought by hand."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update

from backend.statements.models import proposed_files as table

_ALL_BUT_CONTENT = [column for column in table.c if column.name != "content"]


def add(conn: Connection, values: Mapping[str, Any], content: bytes) -> None:
    """Insert a file with its bytes."""
    conn.execute(insert(table).values(**values, content=content))


def find(conn: Connection, tenant_id: str, proposal_id: str, *, lock: bool = False) -> RowMapping | None:
    """Return a file without its bytes, or None; locked, it is nobody else's to decide until the transaction ends."""
    query = select(*_ALL_BUT_CONTENT).where(table.c.tenant_id == tenant_id, table.c.proposal_id == proposal_id)
    return conn.execute(query.with_for_update() if lock else query).mappings().one_or_none()


def content(conn: Connection, tenant_id: str, proposal_id: str) -> bytes:
    """Return the bytes of a file that waits."""
    query = select(table.c.content).where(table.c.tenant_id == tenant_id, table.c.proposal_id == proposal_id)
    return bytes(conn.execute(query).scalar_one())


def waiting(conn: Connection, tenant_id: str) -> list[RowMapping]:
    """Return the files that wait, oldest first."""
    query = (
        select(*_ALL_BUT_CONTENT)
        .where(table.c.tenant_id == tenant_id, table.c.state == "waiting")
        .order_by(table.c.brought_at, table.c.proposal_id)
    )
    return list(conn.execute(query).mappings())


def decide(
    conn: Connection, tenant_id: str, proposal_id: str, *, state: str, decided_by: str, decided_at: datetime
) -> None:
    """Store a decision; the bytes have served."""
    values = {"state": state, "decided_by": decided_by, "decided_at": decided_at, "content": b""}
    conn.execute(
        update(table).where(table.c.tenant_id == tenant_id, table.c.proposal_id == proposal_id).values(**values)
    )
