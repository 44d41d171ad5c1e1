"""
Many rows in one go: as parameters of one statement (arrays on PostgreSQL, a JSON list on SQLite, both read as a table),
or inserted into a table (COPY on PostgreSQL, one prepared statement for all on SQLite).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Connection,
    Executable,
    FromClause,
    String,
    Table,
    Text,
    bindparam,
    cast,
    column,
    func,
    insert,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

Values = Sequence[str | int | None]

TEXT: TypeEngine[Any] = String()
WHOLE: TypeEngine[Any] = BigInteger()

_json = msgspec.json.Encoder().encode
#: Copied text ends a value, a row or an escape with these, so in a value they are escaped themselves.
_ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(frozen=True, slots=True)
class Rowset:
    """A table whose rows are given with the statement: its name, and its columns with their types."""

    name: str
    columns: Mapping[str, TypeEngine[Any]]

    def table(self, dialect: str) -> FromClause:
        """Return what stands in the statement."""
        if dialect == "postgresql":
            # As results of a query their length is not known when the statement is planned. A plan for a thousand rows
            # reads the other table from end to end: quicker than a thousand looks at an index of cold pages, it thinks.
            arrays = [
                select(cast(bindparam(f"{self.name}_{key}", type_=Text()), ARRAY(kind))).scalar_subquery()
                for key, kind in self.columns.items()
            ]
            named = [column(key, kind) for key, kind in self.columns.items()]
            return func.unnest(*arrays).table_valued(*named, name=self.name).render_derived()
        each = func.json_each(bindparam(self.name, type_=Text())).table_valued("value", name=f"{self.name}_each")
        values = [
            func.json_extract(each.c.value, f"$[{index}]", type_=kind).label(key)
            for index, (key, kind) in enumerate(self.columns.items())
        ]
        return select(*values).subquery(self.name)

    def given(self, dialect: str, rows: Sequence[Values]) -> dict[str, str]:
        """Return the parameters that carry these rows, whose values are in the order of the columns."""
        if dialect != "postgresql":
            return {self.name: _json(rows).decode()}
        by_column = zip(*rows, strict=True) if rows else [()] * len(self.columns)
        return {f"{self.name}_{key}": _array(values) for key, values in zip(self.columns, by_column, strict=True)}


def _array(values: Values) -> str:
    """Return values as PostgreSQL reads an array: as JSON writes a list but for braces, unless something is escaped."""
    written = _json(values).decode()
    if "\\" not in written:
        return "{" + written[1:-1] + "}"
    return "{" + ",".join(["NULL" if value is None else _quoted(str(value)) for value in values]) + "}"


def _quoted(value: str) -> str:
    value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'


def insert_rows(conn: Connection, table: Table, names: tuple[str, ...], rows: Sequence[Values]) -> None:
    """
    Insert rows whose values are in the order of the named columns, as they are stored.

    :raises sqlalchemy.exc.IntegrityError: if one of them may not be; the transaction is then lost.
    """
    if not rows:
        return
    if conn.dialect.name == "postgresql":
        _copy(conn, f"COPY {table.name} ({', '.join(names)}) FROM STDIN", rows)
    else:
        run_each(conn, _inserting(table, names), names, rows)


def _copy(conn: Connection, statement: str, rows: Sequence[Values]) -> None:
    given = "".join(["\t".join(map(_copied, row)) + "\n" for row in rows])
    if not conn.in_transaction():
        conn.begin()  # it cannot see that the driver begins one
    raw, errors = conn.connection.driver_connection, conn.dialect.loaded_dbapi.Error
    assert raw is not None, "a connection in use has its driver's"
    try:
        with raw.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(given)
    except errors as error:
        raise DBAPIError.instance(statement, None, error, errors, hide_parameters=True, dialect=conn.dialect) from error


def _copied(value: str | int | None) -> str:
    if isinstance(value, str):
        return value if value.isprintable() and "\\" not in value else value.translate(_ESCAPED)
    return "\\N" if value is None else str(value)


def run_each(conn: Connection, statement: Executable, names: tuple[str, ...], rows: Sequence[Values]) -> int:
    """Run a statement once for each row and return how many rows it met. The values are its parameters. SQLite only."""
    done = conn.exec_driver_sql(_sqlite_text(statement, names), [tuple(row) for row in rows])
    return done.rowcount


@cache
def _inserting(table: Table, names: tuple[str, ...]) -> Executable:
    return insert(table).values({name: bindparam(name) for name in names})


@cache
def _sqlite_text(statement: Executable, names: tuple[str, ...]) -> str:
    compiled = statement.compile(dialect=sqlite.dialect())  # type: ignore[attr-defined]
    assert tuple(compiled.positiontup or ()) == names, compiled.positiontup
    return str(compiled)
