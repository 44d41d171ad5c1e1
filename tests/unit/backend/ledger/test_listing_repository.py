"""Lines are written later than the transfers they are of, and nobody can tell."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, select

from backend.db import Database
from backend.ledger import service
from backend.ledger.listing_repository import LIST_MAX, UNLISTED_MAX, list_new
from backend.ledger.models import lines, listings
from backend.ledger.rules import TransferKind, TransferRequest
from backend.ledger.service import Place
from tests.factories import NOW
from tests.unit.backend.ledger.requests import open_accounts, pending, resolve, single

WALLET, CLEARING, REVENUE = "cardholder_wallet/ch_1", "payment_clearing/wallet", "water_revenue"


def _showers(chance: random.Random, count: int) -> list[TransferRequest]:
    """Return holds, captures and more at times that are not in order, some of them the same."""
    made = []
    for number in range(count):
        at = {"event_at": NOW + timedelta(seconds=chance.randrange(9))}
        made += [
            pending(f"h{number}", WALLET, CLEARING, 5),
            resolve(
                f"p{number}", TransferKind.POST if number % 3 else TransferKind.VOID, f"h{number}", number % 3 and 4
            ),
            single(f"s{number}", "suspense", WALLET, 1 + number),
        ]
        made[-3:] = [TransferRequest(**{**_fields(one), **at}) for one in made[-3:]]
    return made


def _fields(request: TransferRequest) -> dict[str, Any]:
    return {name: getattr(request, name) for name in request.__struct_fields__}


def _told(conn: Connection) -> list[Any]:
    """Return all that can be asked about two accounts."""
    told: list[Any] = []
    since, until = NOW + timedelta(seconds=2), NOW + timedelta(seconds=6)
    for account in (WALLET, CLEARING):
        page = service.statement(conn, "gxu", account, 7)
        told += [page, service.statement(conn, "gxu", account, 7, before=page[-1].place)]
        told.append(service.statement(conn, "gxu", account, 100, since=since, until=until))
        told.append(service.statement(conn, "gxu", account, 3, before=Place(until, 1), since=since))
        told.append(service.period(conn, "gxu", account, since, until))
    return told


class TestListNew:
    def test_nothing_that_is_told_depends_on_how_far_it_came(self, database: Database) -> None:
        with database.write() as conn:
            open_accounts(conn, wallet_minor=500)
            service.execute(conn, "gxu", _showers(random.Random(3), 12), now=NOW)
            before = _told(conn)
            count = 1 + 3 * 12
            for left in reversed(range(count)):
                assert list_new(conn, "gxu", 1) == left
                assert _told(conn) == before
            assert list_new(conn, "gxu") == 0
            assert conn.execute(select(func.count()).select_from(lines)).scalar_one() == 2 * count

    def test_a_tenant_without_books_has_no_lines(self, database: Database) -> None:
        with database.write() as conn:
            assert list_new(conn, "nobody") == 0

    def test_tenants_are_listed_by_themselves(self, database: Database) -> None:
        with database.write() as conn:
            for tenant_id in ("gxu", "other"):
                open_accounts(conn, tenant_id, wallet_minor=500)
            list_new(conn, "gxu")
            assert set(conn.execute(select(lines.c.tenant_id)).scalars()) == {"gxu"}
            assert len(service.statement(conn, "other", WALLET, 9)) == 1

    def test_those_who_list_at_the_same_time_write_no_line_twice(self, database: Database) -> None:
        with database.write() as conn:
            open_accounts(conn, wallet_minor=500)
            service.execute(conn, "gxu", _showers(random.Random(5), 20), now=NOW)

        def some(_index: int) -> None:
            with database.write() as conn:
                list_new(conn, "gxu", 7)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(some, range(12)))
        with database.read() as conn:
            assert conn.execute(select(func.count()).select_from(lines)).scalar_one() == 2 * (1 + 60)

    def test_what_was_rolled_back_is_not_listed(self, database: Database) -> None:
        with database.write() as conn:
            open_accounts(conn, wallet_minor=500)
            list_new(conn, "gxu")
            with conn.begin_nested() as savepoint:
                service.execute(conn, "gxu", _showers(random.Random(5), 2), now=NOW)
                list_new(conn, "gxu")
                savepoint.rollback()
            service.execute(conn, "gxu", [single("t", WALLET, REVENUE, 7)], now=NOW)
            assert list_new(conn, "gxu") == 0
            assert sorted(one.transfer_id for one in service.statement(conn, "gxu", WALLET, 9)) == ["opening", "t"]
            assert conn.execute(select(func.count()).select_from(lines)).scalar_one() == 4


class TestUnlisted:
    def test_those_who_execute_never_leave_many_behind(self, database: Database) -> None:
        assert LIST_MAX > service.BATCH_MAX, "one call lists more than one batch adds"
        with database.write() as conn:
            open_accounts(conn, wallet_minor=500)
            conn.execute(delete(listings))
            for start in range(0, 4 * UNLISTED_MAX, 128):
                batch = [single(f"t{n}", "suspense", WALLET, 1) for n in range(start, start + 128)]
                service.execute(conn, "gxu", batch, now=NOW)
                listed = conn.execute(select(listings.c.listed_number)).scalar_one_or_none() or 0
                assert 1 + start + 128 - listed <= UNLISTED_MAX
            assert listed > 0
