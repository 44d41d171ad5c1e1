"""Rows go in as parameters and come out as rows, whatever is written in them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import BigInteger, Column, MetaData, String, Table, bindparam, select, update
from sqlalchemy.exc import IntegrityError

from backend.db import Database, open_database
from backend.db.rowset import TEXT, WHOLE, Rowset, insert_each, run_each

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
    "\\N",
    "\\.",
    "a\rb",
    "a\tb\nc\\d",
    "\u2028\u0085",
]
_THINGS = Table(
    "rowset_things",
    MetaData(),
    Column("word", String(40), primary_key=True),
    Column("figure", BigInteger, nullable=False),
    Column("other", String(40)),
)
_NAMES = ("word", "figure", "other")


@pytest.fixture
def things(tmp_path: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'things.db'}")
    _THINGS.create(database.engine)
    yield database
    database.engine.dispose()


def stored(database: Database) -> list[tuple[object, ...]]:
    with database.read() as conn:
        return [tuple(row) for row in conn.execute(select(_THINGS).order_by(_THINGS.c.figure))]


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

    def test_rows_know_their_place(self, database: Database) -> None:
        if database.is_sqlite:
            with pytest.raises(AssertionError):
                _ROWS.table("sqlite", place="place")
            return
        table = _ROWS.table("postgresql", place="place")
        given = _ROWS.arrays([["b", "a", "c"], [1, None, 3], [None, "x", "y"]])
        with database.read() as conn:
            found = conn.execute(select(table.c.place, table.c.word, table.c.figure, table.c.other), given).all()
        assert [tuple(row) for row in found] == [(1, "b", 1, None), (2, "a", None, "x"), (3, "c", 3, "y")]

    def test_a_statement_is_not_planned_for_many_rows(self, database: Database) -> None:
        """Else a big table would be read from end to end for a thousand of its rows."""
        kind = database.engine.dialect.name
        query = str(select(_ROWS.table(kind)).compile(dialect=database.engine.dialect))

        if kind == "postgresql":
            assert query.count("(SELECT CAST(") == len(_ROWS.columns)
        else:
            assert "json_each" in query


class TestInsertEach:
    @pytest.mark.parametrize("other", [None, "NULL"])
    def test_every_value_survives(self, things: Database, other: str | None) -> None:
        rows = [(word, index - 3, other) for index, word in enumerate(_WORDS)]

        with things.write() as conn:
            insert_each(conn, _THINGS, _NAMES, rows)

        assert stored(things) == rows

    def test_nothing_is_stored_of_rows_of_which_one_may_not_be(self, things: Database) -> None:
        with pytest.raises(IntegrityError), things.write() as conn:
            insert_each(conn, _THINGS, _NAMES, [("a", 1, None), ("b", 2, None), ("a", 3, None)])

        assert stored(things) == []

    def test_what_is_missing_stays_missing(self, things: Database) -> None:
        with things.write() as conn:
            insert_each(conn, _THINGS, ("word", "figure"), [("a", 2**62)])

        assert stored(things) == [("a", 2**62, None)]

    def test_no_rows(self, things: Database) -> None:
        with things.write() as conn:
            insert_each(conn, _THINGS, _NAMES, [])

        assert stored(things) == []


class TestRunEach:
    def test_runs_once_for_each_row_and_counts_what_it_met(self, things: Database) -> None:
        statement = update(_THINGS).where(_THINGS.c.word == bindparam("key")).values(figure=bindparam("new_figure"))

        with things.write() as conn:
            insert_each(conn, _THINGS, _NAMES, [("a", 1, None), ("b", 2, None)])
            met = run_each(conn, statement, ("new_figure", "key"), [(5, "b"), (4, "a"), (9, "z")])

        assert met == 2
        assert stored(things) == [("a", 4, None), ("b", 5, None)]
