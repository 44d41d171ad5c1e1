"""SQL of the metering slice."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, func, literal, select

from backend.db import UtcDateTime
from backend.db.insert import insert_once, upsert
from backend.metering.models import readings


def insert_reading(conn: Connection, values: dict[str, Any]) -> bool:
    """Store a reading once; return whether it is new."""
    return insert_once(conn, readings, values)


def replace_reading(conn: Connection, values: dict[str, Any]) -> None:
    """Store a reading in place of the one with the same key."""
    upsert(conn, readings, values)


def find_latest(conn: Connection, tenant_id: str, device_id: str, limit: int) -> list[RowMapping]:
    """Return a device's readings with the latest time first."""
    where = (readings.c.tenant_id == tenant_id, readings.c.device_id == device_id)
    statement = select(readings).where(*where).order_by(readings.c.read_at.desc()).limit(limit)
    return list(conn.execute(statement).mappings())


def find_readings(
    conn: Connection,
    tenant_id: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    device_ids: list[str] | None = None,
) -> list[RowMapping]:
    """
    Return readings by device and time that together tell a period: those within, and of each device all at the last
    instant before and all at the first instant after it.
    """
    by_device = select(readings.c.device_id).where(readings.c.tenant_id == tenant_id).group_by(readings.c.device_id)
    statement = select(readings).where(readings.c.tenant_id == tenant_id)
    if since is not None:
        last_before = (
            by_device.add_columns(func.max(readings.c.read_at).label("edge_at"))
            .where(readings.c.read_at <= since)
            .subquery()
        )
        statement = statement.outerjoin(last_before, last_before.c.device_id == readings.c.device_id)
        statement = statement.where(
            readings.c.read_at >= func.coalesce(last_before.c.edge_at, literal(since, UtcDateTime))
        )
    if until is not None:
        first_after = (
            by_device.add_columns(func.min(readings.c.read_at).label("edge_at"))
            .where(readings.c.read_at >= until)
            .subquery()
        )
        statement = statement.outerjoin(first_after, first_after.c.device_id == readings.c.device_id)
        statement = statement.where(
            readings.c.read_at <= func.coalesce(first_after.c.edge_at, literal(until, UtcDateTime))
        )
    if device_ids is not None:
        statement = statement.where(readings.c.device_id.in_(device_ids))
    return list(conn.execute(statement.order_by(readings.c.device_id, readings.c.read_at)).mappings())
