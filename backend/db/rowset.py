"""
Many rows in one go: as parameters of one statement (arrays on PostgreSQL, a JSON list on SQLite, both read as a table),
or on SQLite one prepared statement for all of them.
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
from sqlalchemy.types import TypeEngine

Values = Sequence[str | int | None]

TEXT: TypeEngine[Any] = String()
WHOLE: TypeEngine[Any] = BigInteger()

_json = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Rowset:
    """A table whose rows are given with the statement: its name, and its columns with their types."""

    name: str
    columns: Mapping[str, TypeEngine[Any]]

    def table(self, dialect: str, *, place: str | None = None) -> FromClause:
        """Return what stands in the statement. On PostgreSQL `place` names one more column, from 1 in their order."""
        if dialect == "postgresql":
            # As results of a query their length is not known when the statement is planned. A plan for a thousand rows
            # reads the other table from end to end: quicker than a thousand looks at an index of cold pages, it thinks.
            arrays = [
                select(cast(bindparam(f"{self.name}_{key}", type_=Text()), ARRAY(kind))).scalar_subquery()
                for key, kind in self.columns.items()
            ]
            named = [column(key, kind) for key, kind in self.columns.items()]
            unnested = func.unnest(*arrays)
            valued = (
                unnested.table_valued(*named, name=self.name, with_ordinality=place)
                if place
                else unnested.table_valued(*named, name=self.name)
            )
            return valued.render_derived()
        assert place is None, "SQLite's rows have no place"
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
        return self.arrays(list(zip(*rows, strict=True)) if rows else [()] * len(self.columns))

    def arrays(self, by_column: Sequence[Values]) -> dict[str, str]:
        """Return the parameters that carry these columns, for PostgreSQL."""
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


def insert_each(conn: Connection, table: Table, names: tuple[str, ...], rows: Sequence[Values]) -> None:
    """
    Insert rows whose values are in the order of the named columns, as they are stored. SQLite only.

    :raises sqlalchemy.exc.IntegrityError: if one of them may not be; the transaction is then lost.
    """
    if rows:
        run_each(conn, _inserting(table, names), names, rows)


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
