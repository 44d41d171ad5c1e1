"""Rows found, changed and inserted by the values of some columns."""

import pytest
from sqlalchemy import BigInteger, Column, MetaData, String, Table, select
from sqlalchemy.exc import IntegrityError

from backend.db import Database
from backend.db.keyed import insert_row, rows_where, set_where

TABLE = Table(
    "keyed_things",
    MetaData(),
    Column("tenant_id", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("color", String(16), nullable=False),
    Column("count", BigInteger),
)
ROWS = [
    {"tenant_id": "a", "name": "pear", "color": "green", "count": 1},
    {"tenant_id": "a", "name": "apple", "color": "green", "count": 2},
    {"tenant_id": "a", "name": "plum", "color": "blue", "count": 3},
    {"tenant_id": "b", "name": "apple", "color": "green", "count": 4},
]


@pytest.fixture
def things(database: Database) -> Database:
    with database.write() as conn:
        TABLE.create(conn)
        for row in ROWS:
            insert_row(conn, TABLE, row)
    return database


class TestRowsWhere:
    def test_returns_the_rows_that_have_all_the_values_in_the_order_asked_for(self, things: Database) -> None:
        with things.read() as conn:
            found = rows_where(conn, TABLE, {"tenant_id": "a", "color": "green"}, order=("name",)).mappings().all()
            by_count = rows_where(conn, TABLE, {"tenant_id": "a", "color": "green"}, order=("count",)).mappings().all()
        assert [row["name"] for row in found] == ["apple", "pear"]
        assert [dict(row) for row in by_count] == ROWS[:2]

    def test_other_values_of_the_same_columns_are_other_rows(self, things: Database) -> None:
        with things.read() as conn:
            counts = [
                rows_where(conn, TABLE, {"tenant_id": tenant_id, "name": "apple"}).mappings().one()["count"]
                for tenant_id in ("a", "b", "a")
            ]
        assert counts == [2, 4, 2]

    def test_a_lock_keeps_the_row_until_the_transaction_ends(self, things: Database) -> None:
        with things.write() as conn:
            row = rows_where(conn, TABLE, {"tenant_id": "a", "name": "plum"}, lock=True).mappings().one()
            assert row["color"] == "blue"
            locked = select(TABLE).where(TABLE.c.name == "plum").with_for_update(skip_locked=True)
            if conn.dialect.name == "postgresql":
                with things.write() as other:
                    assert other.execute(locked).all() == []

    def test_nothing_equals_null(self, things: Database) -> None:
        with things.read() as conn, pytest.raises(AssertionError):
            rows_where(conn, TABLE, {"tenant_id": None})


class TestSetWhere:
    def test_sets_the_columns_of_those_rows_alone_and_counts_them(self, things: Database) -> None:
        with things.write() as conn:
            assert set_where(conn, TABLE, {"tenant_id": "a", "color": "green"}, {"color": "red", "count": 9}) == 2
            assert set_where(conn, TABLE, {"tenant_id": "a", "name": "plum"}, {"count": None}) == 1
            assert set_where(conn, TABLE, {"tenant_id": "c", "name": "plum"}, {"count": 0}) == 0
        with things.read() as conn:
            rows = conn.execute(select(TABLE).order_by(TABLE.c.tenant_id, TABLE.c.name)).all()
        assert [tuple(row) for row in rows] == [
            ("a", "apple", "red", 9),
            ("a", "pear", "red", 9),
            ("a", "plum", "blue", None),
            ("b", "apple", "green", 4),
        ]

    def test_sets_a_column_it_also_looks_for(self, things: Database) -> None:
        with things.write() as conn:
            assert set_where(conn, TABLE, {"tenant_id": "a", "color": "blue"}, {"color": "black"}) == 1
        with things.read() as conn:
            assert rows_where(conn, TABLE, {"color": "black"}).mappings().one()["name"] == "plum"

    def test_nothing_equals_null(self, things: Database) -> None:
        with things.write() as conn, pytest.raises(AssertionError):
            set_where(conn, TABLE, {"count": None}, {"color": "red"})


class TestInsertRow:
    def test_a_row_without_a_column_that_may_be_missing_follows_one_with_it(self, things: Database) -> None:
        with things.write() as conn:
            insert_row(conn, TABLE, {"tenant_id": "c", "name": "fig", "color": "brown"})
            insert_row(conn, TABLE, {"tenant_id": "c", "name": "nut", "color": "brown", "count": 7})
        with things.read() as conn:
            rows = rows_where(conn, TABLE, {"tenant_id": "c"}, order=("name",)).mappings().all()
        assert [row["count"] for row in rows] == [None, 7]

    def test_a_key_that_is_taken_is_refused(self, things: Database) -> None:
        with pytest.raises(IntegrityError), things.write() as conn:
            insert_row(conn, TABLE, ROWS[0])
