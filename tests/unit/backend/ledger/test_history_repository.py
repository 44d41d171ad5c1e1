"""Pages of a statement end, also where many things happened at one moment and only some have their lines."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection

from backend.db import Database
from backend.ledger import service
from tests.factories import NOW
from tests.unit.backend.ledger.requests import open_accounts, single

_MOVES = 9


def _pages(conn: Connection, account_id: str, size: int) -> Iterator[list[str]]:
    """Yield the pages of a statement, bounded: one that never ends fails instead of hanging."""
    place = None
    for _ in range(_MOVES + 2):
        page = service.statement(conn, "gxu", account_id, size, before=place)
        if not page:
            return
        yield [line.transfer_id for line in page]
        place = page[-1].place
    raise AssertionError("the pages never end")


class TestStatementRows:
    @pytest.mark.parametrize("size", [1, 2, 4])
    def test_end_where_everything_happened_at_one_moment(self, database: Database, size: int) -> None:
        with database.write() as conn:
            wallet, _, revenue = open_accounts(conn, wallet_minor=500)
            opened = [line.transfer_id for line in service.statement(conn, "gxu", wallet, 9)]
            moves = [
                replace(single(f"t{n}", wallet, revenue, 1), event_at=NOW + timedelta(1)) for n in range(_MOVES - 1)
            ]
            service.execute(conn, "gxu", moves, now=NOW)

        with database.read() as conn:
            pages = list(_pages(conn, wallet, size))

        assert [key for page in pages for key in page] == [f"t{n}" for n in reversed(range(_MOVES - 1))] + opened
        assert all(len(page) == size for page in pages[:-1])

    def test_a_page_begins_below_its_place_in_time_and_in_number(self, database: Database) -> None:
        with database.write() as conn:
            wallet, _, revenue = open_accounts(conn, wallet_minor=500)
            at = [NOW + timedelta(seconds=second) for second in (5, 1, 5, 3)]
            moves = [replace(single(f"t{n}", wallet, revenue, 1), event_at=moment) for n, moment in enumerate(at)]
            service.execute(conn, "gxu", moves, now=NOW)

        with database.read() as conn:
            joined = [key for page in _pages(conn, wallet, 1) for key in page]
        assert joined[:4] == ["t2", "t0", "t3", "t1"]
