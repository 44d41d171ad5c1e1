"""SQL of the protections slice."""

from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, bindparam, func, insert, select, update

from backend.db.insert import next_number
from backend.db.keyed import rows_where
from backend.protections.models import effects, grants, revisions


def lock(conn: Connection, tenant_id: str) -> None:
    """Take the tenant's turn to change grants; others wait until this transaction ends."""
    next_number(conn, revisions, {"tenant_id": tenant_id}, "revision")


def insert_grant(conn: Connection, values: dict[str, Any]) -> None:
    """Store a grant."""
    conn.execute(insert(grants).values(**values))


def find_grant(conn: Connection, tenant_id: str, grant_id: str) -> RowMapping | None:
    """Return a grant's row, if there is one."""
    return rows_where(conn, grants, {"tenant_id": tenant_id, "grant_id": grant_id}).mappings().one_or_none()


def find_grants(
    conn: Connection, tenant_id: str, *, scenario: str | None = None, statuses: tuple[str, ...] = ()
) -> list[RowMapping]:
    """Return a tenant's grants by start, of one scenario and some statuses if asked."""
    given = {"tenant_id": tenant_id, "scenario": scenario, "statuses": statuses}
    statement = _grants(scenario is not None, bool(statuses))
    return list(conn.execute(statement, {name: value for name, value in given.items() if value}).mappings())


@cache
def _grants(has_scenario: bool, has_statuses: bool) -> Select[Any]:
    statement = select(grants).where(grants.c.tenant_id == bindparam("tenant_id"))
    if has_scenario:
        statement = statement.where(grants.c.scenario == bindparam("scenario"))
    if has_statuses:
        statement = statement.where(grants.c.status.in_(bindparam("statuses", expanding=True)))
    return statement.order_by(grants.c.active_from, grants.c.grant_id)


def update_grant(conn: Connection, tenant_id: str, grant_id: str, **values: Any) -> None:
    """Set columns of a grant."""
    where = (grants.c.tenant_id == tenant_id, grants.c.grant_id == grant_id)
    conn.execute(update(grants).where(*where).values(**values))


def insert_effect(conn: Connection, values: dict[str, Any]) -> None:
    """Store that a grant refused a method or let it through."""
    conn.execute(insert(effects).values(**values))


def count_effects(
    conn: Connection, tenant_id: str, grant_id: str, *, since: datetime | None, until: datetime | None
) -> list[tuple[str, str, str, int]]:
    """Return (effect, method, reason, count) of a grant in a half-open period."""
    columns = (effects.c.effect, effects.c.method, effects.c.reason)
    statement = select(*columns, func.count()).where(effects.c.tenant_id == tenant_id, effects.c.grant_id == grant_id)
    if since is not None:
        statement = statement.where(effects.c.at >= since)
    if until is not None:
        statement = statement.where(effects.c.at < until)
    grouped = statement.group_by(*columns).order_by(*columns)
    return [(effect, method, reason, count) for effect, method, reason, count in conn.execute(grouped)]
