"""All SQL of settlement."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from backend.db.insert import insert_once
from backend.settlement.models import unbilled_water as table


def store_unbilled(conn: Connection, values: dict[str, Any]) -> bool:
    """Store unbilled water once per session and cause; return whether it is new."""
    return insert_once(conn, table, values)


def unbilled(conn: Connection, tenant_id: str, since: datetime | None) -> list[RowMapping]:
    """Return unbilled water, oldest first, of events since a time if given."""
    query = select(table).where(table.c.tenant_id == tenant_id)
    if since is not None:
        query = query.where(table.c.event_at >= since)
    return list(conn.execute(query.order_by(table.c.event_at, table.c.water_session_id)).mappings())
