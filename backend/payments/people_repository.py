"""
All SQL of the money that people move.

The tables have one shape: the tenant and one id as key, and `created_at`. What they need is said once here; what a row
means is said where its noun lives.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, RowMapping, Table, and_, not_, or_, select, update

from backend.db.insert import insert_once
from backend.payments.models import authorizations, operations, top_ups
from backend.payments.people_models import cases, disputes, payouts, purse_transfers, staff_entries

__all__ = ["cases", "disputes", "payouts", "purse_transfers", "staff_entries"]

_OPEN_AUTHORIZATIONS = ("requested", "held", "unknown")


def _key(table: Table) -> Column[Any]:
    return list(table.primary_key.columns)[1]


def add(conn: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless its key, or another that must be unique, is there; return whether it is new."""
    return insert_once(conn, table, values)


def find(conn: Connection, table: Table, tenant_id: str, key: str) -> RowMapping | None:
    """Return a row by its id, or None."""
    query = select(table).where(table.c.tenant_id == tenant_id, _key(table) == key)
    return conn.execute(query).mappings().one_or_none()


def find_by(conn: Connection, table: Table, tenant_id: str, **equals: Any) -> list[RowMapping]:
    """Return the rows whose columns equal these values, oldest first."""
    query = select(table).where(table.c.tenant_id == tenant_id)
    for name, value in equals.items():
        query = query.where(table.c[name] == value)
    return list(conn.execute(query.order_by(table.c.created_at, _key(table))).mappings())


def newest(
    conn: Connection, table: Table, tenant_id: str, *wanted: ColumnElement[bool], limit: int, after: str = ""
) -> list[RowMapping]:
    """Return rows newest first; `after` is the id of the last row of the page before, and one unknown ends the list."""
    query = select(table).where(table.c.tenant_id == tenant_id, *wanted)
    if after:
        last = find(conn, table, tenant_id, after)
        if last is None:
            return []
        at = last["created_at"]
        query = query.where(or_(table.c.created_at < at, and_(table.c.created_at == at, _key(table) < after)))
    query = query.order_by(table.c.created_at.desc(), _key(table).desc()).limit(limit)
    return list(conn.execute(query).mappings())


def equal(table: Table, **values: Any) -> list[ColumnElement[bool]]:
    """Return the conditions that columns equal values; a None asks for nothing."""
    return [table.c[name] == value for name, value in values.items() if value is not None]


def newest_entries(
    conn: Connection,
    tenant_id: str,
    *,
    now: datetime,
    state: str | None,
    cardholder_id: str | None,
    after: str,
    limit: int,
) -> list[RowMapping]:
    """Return entries newest first; one whose time is over counts as expired, marked or not."""
    wanted = equal(staff_entries, cardholder_id=cardholder_id)
    is_over = and_(staff_entries.c.state == "proposed", staff_entries.c.expires_at <= now)
    if state == "expired":
        wanted.append(or_(staff_entries.c.state == "expired", is_over))
    elif state is not None:
        wanted += [staff_entries.c.state == state, not_(is_over)]
    return newest(conn, staff_entries, tenant_id, *wanted, limit=limit, after=after)


def change(conn: Connection, table: Table, tenant_id: str, key: str, **values: Any) -> None:
    """Set columns of a row."""
    conn.execute(update(table).where(table.c.tenant_id == tenant_id, _key(table) == key).values(**values))


def change_by(conn: Connection, table: Table, tenant_id: str, where: Mapping[str, Any], **values: Any) -> None:
    """Set columns of the rows whose columns equal these values."""
    statement = update(table).where(table.c.tenant_id == tenant_id)
    for name, value in where.items():
        statement = statement.where(table.c[name] == value)
    conn.execute(statement.values(**values))


def see_case_again(conn: Connection, tenant_id: str, case_id: str) -> None:
    """Count another report of a case."""
    change(conn, cases, tenant_id, case_id, times_seen=cases.c.times_seen + 1)


def entries_past(conn: Connection, tenant_id: str, now: datetime, limit: int) -> list[RowMapping]:
    """Return proposed entries whose time is over, oldest first."""
    query = (
        select(staff_entries)
        .where(staff_entries.c.tenant_id == tenant_id, staff_entries.c.state == "proposed")
        .where(staff_entries.c.expires_at <= now)
        .order_by(staff_entries.c.created_at, staff_entries.c.entry_id)
        .limit(limit)
    )
    return list(conn.execute(query).mappings())


def credits_over(conn: Connection, tenant_id: str, now: datetime, limit: int) -> list[RowMapping]:
    """Return the agreed credit limits in force whose end has come, the first to end first."""
    query = (
        select(staff_entries)
        .where(staff_entries.c.tenant_id == tenant_id, staff_entries.c.ends_at <= now)
        .where(staff_entries.c.kind == "credit_limit", staff_entries.c.state == "executed")
        .order_by(staff_entries.c.ends_at, staff_entries.c.entry_id)
        .limit(limit)
    )
    return list(conn.execute(query).mappings())


def authorization_ids(conn: Connection, tenant_id: str, water_session_id: str) -> list[str]:
    """Return the ids of a water session's authorizations, oldest first."""
    query = (
        select(authorizations.c.auth_id)
        .where(authorizations.c.tenant_id == tenant_id, authorizations.c.water_session_id == water_session_id)
        .order_by(authorizations.c.created_at, authorizations.c.auth_id)
    )
    return list(conn.execute(query).scalars())


def open_authorizations(
    conn: Connection, tenant_id: str, *, cardholder_id: str | None = None, limit: int = 1_000
) -> list[RowMapping]:
    """Return authorizations that hold money or may yet, oldest first."""
    query = (
        select(authorizations)
        .where(authorizations.c.tenant_id == tenant_id, authorizations.c.state.in_(_OPEN_AUTHORIZATIONS))
        .order_by(authorizations.c.created_at, authorizations.c.auth_id)
        .limit(limit)
    )
    if cardholder_id is not None:
        query = query.where(authorizations.c.cardholder_id == cardholder_id)
    return list(conn.execute(query).mappings())


def returns(
    conn: Connection, tenant_id: str, cardholder_id: str, methods: Collection[str], but_suffix: str
) -> list[RowMapping]:
    """Return what providers were told to give a cardholder back, by methods, and have not done; oldest first."""
    query = (
        select(
            operations.c.operation_id,
            operations.c.status,
            operations.c.method,
            operations.c.amount_minor,
            operations.c.created_at,
            authorizations.c.water_session_id,
        )
        .join(
            authorizations,
            and_(
                authorizations.c.tenant_id == operations.c.tenant_id, authorizations.c.auth_id == operations.c.order_id
            ),
        )
        .where(authorizations.c.tenant_id == tenant_id, authorizations.c.cardholder_id == cardholder_id)
        .where(operations.c.method.in_(methods), operations.c.kind.in_(("refund", "void")))
        .where(operations.c.status != "done", not_(operations.c.operation_id.endswith(but_suffix, autoescape=True)))
        .order_by(operations.c.created_at, operations.c.operation_id)
    )
    return list(conn.execute(query).mappings())


def checking_top_ups(conn: Connection, tenant_id: str, cardholder_id: str) -> list[str]:
    """Return the ids of a cardholder's top-ups whose outcome nobody knows yet."""
    query = select(top_ups.c.top_up_id).where(
        top_ups.c.tenant_id == tenant_id, top_ups.c.cardholder_id == cardholder_id, top_ups.c.state == "checking"
    )
    return list(conn.execute(query.order_by(top_ups.c.created_at)).scalars())
