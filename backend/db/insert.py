"""Inserts that meet a row already there: keep it, or bring it up to date. The same words for SQLite and PostgreSQL."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def _insert(conn: Connection, table: Table) -> Any:
    return sqlite.insert(table) if conn.dialect.name == "sqlite" else postgresql.insert(table)


def insert_once(conn: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless one with the same key is there; return whether it is new."""
    key = next(iter(table.primary_key))
    statement = _insert(conn, table).values(dict(values)).on_conflict_do_nothing().returning(key)
    return conn.execute(statement).first() is not None  # a row count is not kept for inserts by every driver


def upsert(conn: Connection, table: Table, values: Mapping[str, Any], *, keep: Sequence[str] = ()) -> None:
    """Insert a row, or set the columns of the one with the same primary key, except those in `keep`."""
    keys = [column.name for column in table.primary_key]
    changed = {name: value for name, value in values.items() if name not in keys and name not in keep}
    statement = _insert(conn, table).values(dict(values))
    conn.execute(
        statement.on_conflict_do_update(index_elements=keys, set_=changed)
        if changed
        else statement.on_conflict_do_nothing(index_elements=keys)
    )


def next_number(conn: Connection, table: Table, keys: Mapping[str, str], column: str) -> int:
    """Return the next whole number of a counter row, from 1, atomically; the row stays locked until commit."""
    statement = _insert(conn, table).values({**keys, column: 1})
    raised = statement.on_conflict_do_update(index_elements=list(keys), set_={column: table.c[column] + 1})
    return int(conn.execute(raised.returning(table.c[column])).scalar_one())
