"""
Inserts that meet a row already there: keep it, or bring it up to date. The same words for SQLite and PostgreSQL.

Each statement is built once for its table and columns.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def _insert(dialect: str, table: Table) -> Any:
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


@cache
def _once(dialect: str, table: Table) -> Any:
    return _insert(dialect, table).on_conflict_do_nothing().returning(next(iter(table.primary_key)))


@cache
def _upsert(dialect: str, table: Table, changed: tuple[str, ...]) -> Any:
    keys = [column.name for column in table.primary_key]
    new = _insert(dialect, table)
    if not changed:
        return new.on_conflict_do_nothing(index_elements=keys)
    return new.on_conflict_do_update(index_elements=keys, set_={name: new.excluded[name] for name in changed})


@cache
def _next(dialect: str, table: Table, keys: tuple[str, ...], column: str) -> Any:
    raised = {column: table.c[column] + 1}
    return (
        _insert(dialect, table).on_conflict_do_update(index_elements=list(keys), set_=raised).returning(table.c[column])
    )


def insert_once(conn: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row unless one with the same key is there; return whether it is new."""
    # a row count is not kept for inserts by every driver
    return conn.execute(_once(conn.dialect.name, table), values).first() is not None


def upsert(conn: Connection, table: Table, values: Mapping[str, Any], *, keep: Sequence[str] = ()) -> None:
    """Insert a row, or set the columns of the one with the same primary key, except those in `keep`."""
    keys = [column.name for column in table.primary_key]
    changed = tuple(name for name in values if name not in keys and name not in keep)
    conn.execute(_upsert(conn.dialect.name, table, changed), values)


def next_number(conn: Connection, table: Table, keys: Mapping[str, str], column: str) -> int:
    """Return the next whole number of a counter row, from 1, atomically; the row stays locked until commit."""
    statement = _next(conn.dialect.name, table, tuple(keys), column)
    return int(conn.execute(statement, {**keys, column: 1}).scalar_one())
