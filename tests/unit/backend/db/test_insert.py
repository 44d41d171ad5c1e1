"""Inserts that meet a row already there, on both databases."""

from sqlalchemy import Column, Integer, MetaData, String, Table, select

from backend.db import Database
from backend.db.insert import insert_once, next_number, upsert

scratch = Table(
    "scratch",
    MetaData(),
    Column("tenant_id", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("number", Integer, nullable=False, default=0),
    Column("label", String, unique=True),
)
KEY = {"tenant_id": "gxu", "name": "one"}


class TestInsertOnce:
    def test_says_whether_the_row_is_new(self, database: Database) -> None:
        with database.write() as conn:
            scratch.create(conn)

            assert insert_once(conn, scratch, {**KEY, "number": 1})
            assert not insert_once(conn, scratch, {**KEY, "number": 2})
            assert conn.execute(select(scratch.c.number)).scalars().all() == [1]

    def test_meets_any_unique_column(self, database: Database) -> None:
        with database.write() as conn:
            scratch.create(conn)

            assert insert_once(conn, scratch, {**KEY, "label": "x"})
            assert not insert_once(conn, scratch, {"tenant_id": "gxu", "name": "two", "label": "x"})


class TestUpsert:
    def test_changes_all_but_what_is_kept(self, database: Database) -> None:
        with database.write() as conn:
            scratch.create(conn)
            upsert(conn, scratch, {**KEY, "number": 1, "label": "first"}, keep=["label"])
            upsert(conn, scratch, {**KEY, "number": 2, "label": "second"}, keep=["label"])

            assert conn.execute(select(scratch.c.number, scratch.c.label)).all() == [(2, "first")]


class TestNextNumber:
    def test_counts_from_one(self, database: Database) -> None:
        with database.write() as conn:
            scratch.create(conn)

            assert [next_number(conn, scratch, KEY, "number") for _ in range(3)] == [1, 2, 3]
