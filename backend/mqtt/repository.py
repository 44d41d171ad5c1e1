"""All SQL of counted rejections."""

from datetime import datetime

from sqlalchemy import Connection, RowMapping, func, select, update

from backend.db.insert import insert_once
from backend.mqtt.models import rejected_messages as table

#: Beyond so many rows, names that a sender made up are no longer told apart.
_ROWS_MAX = 2_000


def count_rejected(
    conn: Connection, *, tenant_id: str, gateway_id: str, kind: str, reason: str, sample: str, now: datetime
) -> None:
    """Count one message that was not taken."""
    printable = "".join(char if char.isprintable() else "?" for char in sample)[:200]
    key = {"tenant_id": tenant_id[:64], "gateway_id": gateway_id[:64], "kind": kind[:32], "reason": reason[:64]}
    if _add(conn, key, printable, now):
        return
    if conn.execute(select(func.count()).select_from(table)).scalar_one() >= _ROWS_MAX:
        key = {**key, "tenant_id": "-", "gateway_id": "-"}
        if _add(conn, key, printable, now):
            return
    if not insert_once(conn, table, {**key, "count": 1, "last_at": now, "sample": printable}):
        _add(conn, key, printable, now)


def _add(conn: Connection, key: dict[str, str], sample: str, now: datetime) -> bool:
    condition = [table.c[name] == value for name, value in key.items()]
    values = {"count": table.c.count + 1, "last_at": now, "sample": sample}
    return bool(conn.execute(update(table).where(*condition).values(**values)).rowcount)


def rejected(conn: Connection, tenant_id: str) -> list[RowMapping]:
    """Return a tenant's counted rejections, latest first."""
    query = select(table).where(table.c.tenant_id == tenant_id).order_by(table.c.last_at.desc())
    return list(conn.execute(query).mappings())
