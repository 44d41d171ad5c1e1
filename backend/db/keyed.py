"""
Rows by the values of some columns: found, changed, inserted with statements that are built once.

Building a statement costs more than the database takes to answer it, and a water session needs thirty of them.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import Connection, CursorResult, Insert, Select, Table, Update, bindparam, insert, select, update

_KEY = "key_"


@cache
def _select(table: Table, names: tuple[str, ...], order: tuple[str, ...], is_locking: bool) -> Select[Any]:
    query = select(table).where(*[table.c[name] == bindparam(name) for name in names])
    query = query.order_by(*[table.c[name] for name in order])
    return query.with_for_update() if is_locking else query


@cache
def _update(table: Table, names: tuple[str, ...]) -> Update:
    return update(table).where(*[table.c[name] == bindparam(_KEY + name) for name in names])


@cache
def _insert(table: Table) -> Insert:
    return insert(table)


def rows_where(
    conn: Connection, table: Table, keys: Mapping[str, Any], *, order: tuple[str, ...] = (), lock: bool = False
) -> CursorResult[Any]:
    """Return the rows whose columns have these values, in an order, locked until the transaction ends if asked."""
    assert None not in keys.values(), "nothing equals NULL"
    return conn.execute(_select(table, tuple(keys), order, lock), keys)


def set_where(conn: Connection, table: Table, keys: Mapping[str, Any], values: Mapping[str, Any]) -> int:
    """Set columns of the rows whose columns have these values, and return how many rows that were."""
    assert None not in keys.values(), "nothing equals NULL"
    given = {_KEY + name: value for name, value in keys.items()}
    return conn.execute(_update(table, tuple(keys)), {**given, **values}).rowcount


def insert_row(conn: Connection, table: Table, values: Mapping[str, Any]) -> None:
    """
    Insert a row.

    :raises sqlalchemy.exc.IntegrityError: if a key of it is taken.
    """
    conn.execute(_insert(table), values)
