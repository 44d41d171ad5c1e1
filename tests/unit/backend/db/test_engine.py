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
