"""SQL of the reconciliation slice."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, insert, or_, select

from backend.db.insert import insert_once
from backend.ledger.models import transfers
from backend.reconciliation.models import breaks, runs

_resolution = transfers.alias("resolution")


def open_holds(conn: Connection, tenant_id: str, before: datetime) -> list[tuple[str, str, int]]:
    """Return (hold, reference, amount) of holds placed before an instant that nothing has resolved, oldest first."""
    resolved = (
        select(_resolution.c.transfer_id)
        .where(_resolution.c.tenant_id == transfers.c.tenant_id, _resolution.c.pending_id == transfers.c.transfer_id)
        .exists()
    )
    statement = (
        select(transfers.c.transfer_id, transfers.c.reference, transfers.c.amount_minor)
        .where(
            transfers.c.tenant_id == tenant_id,
            transfers.c.kind == "pending",
            transfers.c.event_at < before,
            ~resolved,
        )
        .order_by(transfers.c.event_at, transfers.c.transfer_id)
    )
    return [(hold, reference, amount) for hold, reference, amount in conn.execute(statement)]


def insert_run(conn: Connection, values: dict[str, Any]) -> bool:
    """Store a run once; return whether it is new."""
    return insert_once(conn, runs, values)


def insert_breaks(conn: Connection, rows: list[dict[str, Any]]) -> None:
    """Store a run's breaks."""
    if rows:
        conn.execute(insert(breaks), rows)


def find_runs(conn: Connection, tenant_id: str, *, run_id: str | None = None, limit: int = 100) -> list[RowMapping]:
    """Return a tenant's runs, latest first, or the one asked for."""
    statement = select(runs).where(runs.c.tenant_id == tenant_id)
    if run_id is not None:
        statement = statement.where(runs.c.run_id == run_id)
    return list(conn.execute(statement.order_by(runs.c.run_at.desc(), runs.c.run_id.desc()).limit(limit)).mappings())


def find_run_before(conn: Connection, tenant_id: str, run_at: datetime, run_id: str) -> RowMapping | None:
    """Return the latest run before another, or None."""
    earlier = or_(runs.c.run_at < run_at, and_(runs.c.run_at == run_at, runs.c.run_id < run_id))
    statement = select(runs).where(runs.c.tenant_id == tenant_id, earlier)
    latest = statement.order_by(runs.c.run_at.desc(), runs.c.run_id.desc()).limit(1)
    return conn.execute(latest).mappings().one_or_none()


def find_breaks(conn: Connection, tenant_id: str, run_id: str) -> list[RowMapping]:
    """Return a run's breaks in order."""
    where = (breaks.c.tenant_id == tenant_id, breaks.c.run_id == run_id)
    return list(conn.execute(select(breaks).where(*where).order_by(breaks.c.position)).mappings())
