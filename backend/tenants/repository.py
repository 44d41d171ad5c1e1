"""SQL of the tenants slice."""

from sqlalchemy import Connection, RowMapping, select

from backend.db.insert import upsert
from backend.tenants.models import tenants


def find(conn: Connection, tenant_id: str) -> RowMapping | None:
    """Return a tenant's row, if there is one."""
    return conn.execute(select(tenants).where(tenants.c.tenant_id == tenant_id)).mappings().one_or_none()


def find_all(conn: Connection) -> list[RowMapping]:
    """Return all tenants' rows by id."""
    return list(conn.execute(select(tenants).order_by(tenants.c.tenant_id)).mappings())


def save(conn: Connection, values: dict[str, str]) -> None:
    """Insert or update a tenant's row."""
    upsert(conn, tenants, values)
