"""A transaction commits as a whole or not at all, on both databases."""

import threading

import pytest
from sqlalchemy import text

from backend.db import Database


class TestWrite:
    def test_keeps_what_was_written(self, database: Database) -> None:
        with database.write() as conn:
            conn.execute(text("CREATE TABLE scratch (n INTEGER)"))
            conn.execute(text("INSERT INTO scratch VALUES (1)"))

        with database.read() as conn:
            assert conn.execute(text("SELECT n FROM scratch")).scalars().all() == [1]

    def test_keeps_nothing_after_an_exception(self, database: Database) -> None:
        with database.write() as conn:
            conn.execute(text("CREATE TABLE scratch (n INTEGER)"))

        def write_and_fail() -> None:
            with database.write() as conn:
                conn.execute(text("INSERT INTO scratch VALUES (1)"))
                raise RuntimeError

        with pytest.raises(RuntimeError):
            write_and_fail()

        with database.read() as conn:
            assert conn.execute(text("SELECT count(*) FROM scratch")).scalar() == 0

    def test_lets_writers_queue_instead_of_failing(self, database: Database) -> None:
        with database.write() as conn:
            conn.execute(text("CREATE TABLE scratch (n INTEGER)"))
            conn.execute(text("INSERT INTO scratch VALUES (0)"))

        def add_many() -> None:
            for _ in range(25):
                with database.write() as conn:
                    conn.execute(text("UPDATE scratch SET n = n + 1"))

        threads = [threading.Thread(target=add_many) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        with database.read() as conn:
            assert conn.execute(text("SELECT n FROM scratch")).scalar() == 100


class TestSnapshots:
    @pytest.mark.parametrize("kind", ["read", "write"])
    def test_see_one_moment_whatever_others_commit_meanwhile(self, database: Database, kind: str) -> None:
        with database.write() as conn:
            conn.execute(text("CREATE TABLE scratch (n INTEGER)"))
        count = text("SELECT count(*) FROM scratch")
        if kind == "write" and database.is_sqlite:
            with database.write(snapshot=True) as conn:  # nobody else can write beside it
                conn.execute(text("INSERT INTO scratch VALUES (1)"))
            with database.read() as conn:
                assert conn.execute(count).scalar() == 1
            return

        with database.read() if kind == "read" else database.write(snapshot=True) as conn:
            assert conn.execute(count).scalar() == 0
            added = threading.Thread(target=_add_a_row, args=(database,))
            added.start()
            added.join(60)
            seen = conn.execute(count).scalar()

        assert seen == 0
        with database.read() as conn:
            assert conn.execute(count).scalar() == 1


def _add_a_row(database: Database) -> None:
    with database.write() as conn:
        conn.execute(text("INSERT INTO scratch VALUES (1)"))
