"""Many rows as one parameter of a statement: a JSON list that the database reads as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import BigInteger, FromClause, String, Text, bindparam, cast, column, func, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

TEXT, WHOLE = String(), BigInteger()

#: What a rowset's parameter is given.
pack = msgspec.json.Encoder().encode


def packed(rows: Sequence[Any]) -> str:
    """Return rows (structs or mappings with the rowset's columns as names) as the value of its parameter."""
    return pack(rows).decode()


def rowset(dialect: str, name: str, columns: Mapping[str, TypeEngine[Any]]) -> FromClause:
    """Return a table of these columns whose rows are given, `packed`, as the parameter of that name."""
    given = bindparam(name, type_=Text())
    if dialect == "postgresql":
        typed = [column(key, kind) for key, kind in columns.items()]
        table = func.json_to_recordset(cast(given, postgresql.JSON)).table_valued(*typed, name=name)
        return table.render_derived(with_types=True)
    each = func.json_each(given).table_valued("value", name=f"{name}_each")
    values = [func.json_extract(each.c.value, f"$.{key}", type_=kind).label(key) for key, kind in columns.items()]
    return select(*values).subquery(name)
