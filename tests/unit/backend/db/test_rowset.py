"""Rows go in as parameters and come out as rows, whatever is written in them."""

import pytest
from sqlalchemy import select

from backend.db import Database
from backend.db.rowset import TEXT, WHOLE, Rowset

_ROWS = Rowset("given", {"word": TEXT, "figure": WHOLE, "other": TEXT})
_WORDS = [
    "",
    " ",
    "NULL",
    "null",
    '"',
    "\\",
    '\\"',
    "{a,b}",
    "[1]",
    "a,b",
    "'",
    "%s",
    ":x",
    "\n\t",
    "浴室",
    "🚿",
    "a\\nb",
]


class TestRowset:
    @pytest.mark.parametrize("other", [None, "NULL"])
    def test_every_value_survives(self, database: Database, other: str | None) -> None:
        rows = [(word, index - 3, other) for index, word in enumerate(_WORDS)]
        kind = database.engine.dialect.name
        table = _ROWS.table(kind)
        with database.read() as conn:
            found = conn.execute(select(table.c.word, table.c.figure, table.c.other), _ROWS.given(kind, rows)).all()
        assert [tuple(row) for row in found] == rows

    def test_missing_figures_and_big_ones(self, database: Database) -> None:
        kind = database.engine.dialect.name
        table = _ROWS.table(kind)
        with database.read() as conn:
            found = conn.execute(
                select(table.c.figure), _ROWS.given(kind, [("", None, ""), ("", 2**62, ""), ("", -(2**62), "")])
            ).all()
        assert [row[0] for row in found] == [None, 2**62, -(2**62)]

    def test_no_rows(self, database: Database) -> None:
        kind = database.engine.dialect.name
        with database.read() as conn:
            assert conn.execute(select(_ROWS.table(kind)), _ROWS.given(kind, [])).all() == []
