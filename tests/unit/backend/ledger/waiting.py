"""Waiting for what happens in other threads."""

import time
from collections.abc import Callable

from sqlalchemy import text

from backend.db import Database

_WAIT_S = 60


def until(happened: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + _WAIT_S
    while not happened():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.005)


def until_somebody_waits_for_the_lock(database: Database) -> None:
    """Wait until another transaction asks for the tenant's books, which this thread has."""
    if database.is_sqlite:
        return  # there nobody decides anything before he is the writer

    def waits() -> bool:
        with database.read() as conn:
            query = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE :what")
            return bool(conn.execute(query, {"what": "%ledger_books%FOR UPDATE%"}).scalar_one())

    until(waits)
