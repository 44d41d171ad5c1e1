"""Many rows as parameters of one statement: arrays on PostgreSQL, a JSON list on SQLite; both are read as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ARRAY, BigInteger, FromClause, String, Text, bindparam, cast, column, func, select
from sqlalchemy.types import TypeEngine

TEXT: TypeEngine[Any] = String()
WHOLE: TypeEngine[Any] = BigInteger()

_json = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Rowset:
    """A table whose rows are given with the statement: its name, and its columns with their types."""

    name: str
    columns: Mapping[str, TypeEngine[Any]]

    def table(self, dialect: str) -> FromClause:
        """Return what stands in the statement."""
        if dialect == "postgresql":
            arrays = [
                cast(bindparam(f"{self.name}_{key}", type_=Text()), ARRAY(kind)) for key, kind in self.columns.items()
            ]
            named = [column(key, kind) for key, kind in self.columns.items()]
            return func.unnest(*arrays).table_valued(*named, name=self.name).render_derived()
        each = func.json_each(bindparam(self.name, type_=Text())).table_valued("value", name=f"{self.name}_each")
        values = [
            func.json_extract(each.c.value, f"$[{index}]", type_=kind).label(key)
            for index, (key, kind) in enumerate(self.columns.items())
        ]
        return select(*values).subquery(self.name)

    def given(self, dialect: str, rows: Sequence[Sequence[str | int | None]]) -> dict[str, str]:
        """Return the parameters that carry these rows, whose values are in the order of the columns."""
        if dialect != "postgresql":
            return {self.name: _json(rows).decode()}
        by_column = zip(*rows, strict=True) if rows else [()] * len(self.columns)
        return {
            f"{self.name}_{key}": _wholes(values) if kind is WHOLE else _texts(values)
            for (key, kind), values in zip(self.columns.items(), by_column, strict=True)
        }


def _wholes(values: Sequence[Any]) -> str:
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def _texts(values: Sequence[Any]) -> str:
    return "{" + ",".join(["NULL" if value is None else _quoted(value) for value in values]) + "}"


def _quoted(value: str) -> str:
    if "\\" in value or '"' in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'
