"""Group commit: what it answers, when, and what one bad submission can not do to the others."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from backend.db import Database
from backend.ledger import service
from backend.ledger.ahead import Ahead
from backend.ledger.batcher import Batcher, LedgerBusy, Results
from backend.ledger.execution import Prepared
from backend.ledger.listing_repository import UNLISTED_MAX
from backend.ledger.models import checkpoints, listings
from backend.ledger.rules import Code, TransferKind, TransferRequest
from tests.factories import NOW
from tests.unit.backend.ledger.requests import open_accounts, pending, resolve, single
from tests.unit.backend.ledger.waiting import until, until_somebody_waits_for_the_lock

_WAIT_S = 20


class _Full(Exception):
    """The caller's own table is full."""


@contextmanager
def batching(database: Database, waiting_max: int = 20_000) -> Iterator[Batcher]:
    with database.write() as conn:
        open_accounts(conn, wallet_minor=500)
    with Batcher(database, "gxu", clock=lambda: NOW, waiting_max=waiting_max) as batcher:
        yield batcher


WALLET, CLEARING, REVENUE = "cardholder_wallet/ch_1", "payment_clearing/wallet", "water_revenue"


def hold(number: int, amount_minor: int = 10) -> TransferRequest:
    return pending(f"h{number}", WALLET, CLEARING, amount_minor)


def codes(promise: Future[Results]) -> list[Code]:
    return [result.code for result in promise.result(_WAIT_S)]


def listed(database: Database) -> int:
    with database.read() as conn:
        return conn.execute(select(listings.c.listed_number)).scalar_one_or_none() or 0


def note(conn: Connection, name: str) -> None:
    zeros = {"debits_pending": 0, "debits_posted": 0, "credits_pending": 0, "credits_posted": 0}
    conn.execute(insert(checkpoints).values(tenant_id="notes", account_id=name, **zeros))


def notes(database: Database) -> list[str]:
    with database.read() as conn:
        query = select(checkpoints.c.account_id).where(checkpoints.c.tenant_id == "notes")
        return list(conn.execute(query.order_by(checkpoints.c.account_id)).scalars())


class TestSubmit:
    def test_answers_after_the_commit(self, database: Database) -> None:
        with batching(database) as batcher:
            assert codes(batcher.submit([hold(1)])) == [Code.OK]
            with database.read() as conn:
                assert service.balances(conn, "gxu", WALLET).held_minor == 10

    def test_on_postgresql_it_goes_ahead(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        sent = []
        send = Ahead.send

        def noted(self: Ahead, requests: Sequence[TransferRequest], now: datetime) -> Prepared | None:
            prepared = send(self, requests, now)
            sent.append(prepared is not None)
            return prepared

        monkeypatch.setattr(Ahead, "send", noted)
        with batching(database) as batcher:
            for number in range(4):
                assert codes(batcher.submit([hold(number)])) == [Code.OK]
        assert sent == ([] if database.is_sqlite else [True] * 3), "the first learns who wrote last"

    @pytest.mark.parametrize("database", ["postgresql"], indirect=True)
    def test_what_comes_with_rows_of_its_own_waits_for_what_was_sent_ahead(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        more: list[Future[Results]] = []
        send = Ahead.send

        def send_and_submit(self: Ahead, requests: Sequence[TransferRequest], now: datetime) -> Prepared | None:
            prepared = send(self, requests, now)
            if not more:
                post = resolve("p1", TransferKind.POST, "h1", 10)
                more.append(batcher.submit([post], lambda conn, _: note(conn, "p1")))
            return prepared

        with batching(database) as batcher:
            for number in (2, 3):  # it learns that nobody else writes
                assert codes(batcher.submit([hold(number)])) == [Code.OK]
            assert codes(batcher.submit([hold(5)], lambda conn, _: note(conn, "h5"))) == [Code.OK]
            monkeypatch.setattr(Ahead, "send", send_and_submit)
            with database.write() as conn:
                service.lock(conn, "gxu")
                first = batcher.submit([hold(1)])
                until(lambda: bool(more))
                assert service.execute(conn, "gxu", [hold(4)], now=NOW)[0].code is Code.OK
            assert codes(first) == [Code.OK], "it is executed again, before what came after it"
            assert codes(more[0]) == [Code.OK]
        assert notes(database) == ["h5", "p1"]

    def test_a_school_that_has_no_books_yet(self, database: Database) -> None:
        with Batcher(database, "new", clock=lambda: NOW) as batcher:
            assert codes(batcher.submit([hold(1)])) == [Code.INSUFFICIENT]
            assert codes(batcher.submit([single("t", "suspense", WALLET, 10)])) == [Code.OK]
            assert codes(batcher.submit([hold(1), hold(2)])) == [Code.OK, Code.INSUFFICIENT]

    def test_what_waits_goes_together_and_in_order(self, database: Database) -> None:
        with batching(database) as batcher:
            with database.write() as conn:
                service.lock(conn, "gxu")
                first = batcher.submit([hold(0)])
                while batcher.waiting_count:
                    pass  # the first is taken, and waits for the lock
                rest = [
                    batcher.submit([hold(1, 400)]),
                    batcher.submit([resolve("p1", TransferKind.POST, "h1", 30)]),
                    batcher.submit([hold(2, 461), hold(3, 460)]),
                    batcher.submit([hold(1, 400)]),
                ]
            assert codes(first) == [Code.OK]
            assert [codes(one) for one in rest] == [
                [Code.OK],
                [Code.OK],
                [Code.INSUFFICIENT, Code.OK],
                [Code.EXISTS],
            ]
            assert (batcher.batch_count, batcher.request_count) == (2, 6)

    def test_one_bad_submission_does_not_sink_its_neighbors(self, database: Database) -> None:
        def refuse(conn: Connection, _results: Results) -> None:
            note(conn, "bad")
            raise _Full

        with batching(database) as batcher:
            with database.write() as conn:
                service.lock(conn, "gxu")
                promises = [
                    batcher.submit([hold(0)], lambda conn, _: note(conn, "good 0")),
                    batcher.submit([hold(1)], refuse),
                    batcher.submit([hold(2)], lambda conn, _: note(conn, "good 2")),
                ]
            assert codes(promises[0]) == codes(promises[2]) == [Code.OK]
            with pytest.raises(_Full):
                promises[1].result(_WAIT_S)
            assert codes(batcher.submit([hold(3)])) == [Code.OK]
        assert notes(database) == ["good 0", "good 2"]
        with database.read() as conn:
            assert service.balances(conn, "gxu", WALLET).held_minor == 30
            assert service.verify(conn, "gxu") == []

    def test_a_nul_that_postgresql_cannot_store_harms_nobody_else(self, database: Database) -> None:
        with batching(database) as batcher:
            bad = batcher.submit([pending("h\0", WALLET, CLEARING, 1)])
            good = batcher.submit([hold(1)])
            assert codes(good) == [Code.OK]
            if database.is_sqlite:
                assert codes(bad) == [Code.OK]
            else:
                assert bad.exception(_WAIT_S) is not None

    def test_a_failed_transaction_is_tried_again(self, database: Database) -> None:
        tries = []

        def fail_once(_conn: Connection, results: Results) -> None:
            tries.append(results[0].code)
            if len(tries) == 1:
                raise _Full

        with batching(database) as batcher:
            assert codes(batcher.submit([hold(1)], fail_once)) == [Code.OK]
        assert tries == [Code.OK, Code.OK]

    def test_more_than_may_wait_is_refused_and_changes_nothing(self, database: Database) -> None:
        with batching(database, waiting_max=3) as batcher:
            with database.write() as conn:
                service.lock(conn, "gxu")
                taken = batcher.submit([hold(0)])
                while batcher.waiting_count:
                    pass
                waiting = [batcher.submit([hold(1)]), batcher.submit([hold(2)])]
                with pytest.raises(LedgerBusy):
                    batcher.submit([hold(3), hold(4)])
            assert [codes(one) for one in (taken, *waiting)] == [[Code.OK]] * 3
            assert codes(batcher.submit([hold(3)])) == [Code.OK]

    def test_an_unfinished_chain_is_our_bug(self, database: Database) -> None:
        with batching(database) as batcher, pytest.raises(AssertionError):
            batcher.submit([single("a", WALLET, REVENUE, 1, linked=True)])

    def test_one_taken_back_in_time_never_happens(self, database: Database) -> None:
        with batching(database) as batcher:
            with database.write() as conn:
                service.lock(conn, "gxu")
                first = batcher.submit([hold(0)])
                while batcher.waiting_count:
                    pass
                second = batcher.submit([hold(1)])
                assert second.cancel()
            assert codes(first) == [Code.OK]
        with database.read() as conn:
            assert service.balances(conn, "gxu", WALLET).held_minor == 10

    def test_many_threads_spend_no_more_than_there_is(self, database: Database) -> None:
        with batching(database) as batcher:

            def spend(worker: int) -> int:
                promises = [batcher.submit([hold(worker * 100 + number)]) for number in range(20)]
                return sum(codes(promise) == [Code.OK] for promise in promises)

            with ThreadPoolExecutor(6) as pool:
                assert sum(pool.map(spend, range(6))) == 50
        with database.read() as conn:
            assert service.balances(conn, "gxu", WALLET) == service.Balances(500, 500, 0)
            assert service.verify(conn, "gxu") == []


class TestMemory:
    def test_another_writer_is_noticed(self, database: Database) -> None:
        with batching(database) as batcher:
            assert codes(batcher.submit([hold(1, 300)])) == [Code.OK]
            with database.write() as conn:
                void = resolve("v1", TransferKind.VOID, "h1")
                assert service.execute(conn, "gxu", [void], now=NOW)[0].code is Code.OK
            assert codes(batcher.submit([resolve("p1", TransferKind.POST, "h1", 300), hold(2, 500)])) == [
                Code.ALREADY_RESOLVED,
                Code.OK,
            ]

    def test_a_new_credit_limit_is_noticed(self, database: Database) -> None:
        with batching(database) as batcher:
            assert codes(batcher.submit([hold(1, 600)])) == [Code.INSUFFICIENT]
            with database.write() as conn:
                service.set_credit_limit(conn, "gxu", WALLET, 100, set_by="fin", reason="exam weeks", now=NOW)
            assert codes(batcher.submit([hold(1, 600)])) == [Code.OK]

    def test_two_processes_worth_of_batchers_share_one_ledger(self, database: Database) -> None:
        with batching(database) as one, Batcher(database, "gxu", clock=lambda: NOW) as other:

            def spend(number: int) -> bool:
                batcher = one if number % 2 else other
                if codes(batcher.submit([hold(number, 25)])) != [Code.OK]:
                    return False
                capture = resolve(f"p{number}", TransferKind.POST, f"h{number}", 25)
                return codes((other if number % 3 else one).submit([capture])) == [Code.OK]

            with ThreadPoolExecutor(6) as pool:
                assert sum(pool.map(spend, range(60))) == 20
        with database.read() as conn:
            assert service.balances(conn, "gxu", WALLET) == service.Balances(0, 0, 0)
            assert service.verify(conn, "gxu") == []

    def test_a_writer_between_deciding_and_writing_is_noticed(self, database: Database) -> None:
        with batching(database) as batcher:
            with database.write() as conn:
                service.lock(conn, "gxu")
                late = batcher.submit([hold(1, 300)])
                until_somebody_waits_for_the_lock(database)
                assert service.execute(conn, "gxu", [hold(2, 450)], now=NOW)[0].code is Code.OK
            assert codes(late) == [Code.INSUFFICIENT]
            assert codes(batcher.submit([hold(3, 50)])) == [Code.OK]
        with database.read() as conn:
            assert service.balances(conn, "gxu", WALLET) == service.Balances(500, 500, 0)
            assert service.verify(conn, "gxu") == []

    def test_one_batcher_notices_another(self, database: Database) -> None:
        with batching(database) as one, Batcher(database, "gxu", clock=lambda: NOW) as other:
            assert codes(one.submit([hold(1, 200)])) == [Code.OK]
            assert codes(other.submit([hold(2, 200)])) == [Code.OK]
            assert codes(one.submit([hold(3, 200)])) == [Code.INSUFFICIENT]
            assert codes(other.submit([resolve("v1", TransferKind.VOID, "h1")])) == [Code.OK]
            assert codes(one.submit([hold(4, 200), resolve("p1", TransferKind.POST, "h1", 1)])) == [
                Code.OK,
                Code.ALREADY_RESOLVED,
            ]
        with database.read() as conn:
            assert service.balances(conn, "gxu", WALLET) == service.Balances(500, 400, 100)
            assert service.verify(conn, "gxu") == []

    def test_a_lost_batch_is_forgotten(self, database: Database) -> None:
        def refuse(_conn: Connection, _results: Results) -> None:
            raise _Full

        with batching(database) as batcher:
            assert codes(batcher.submit([hold(1, 100)])) == [Code.OK]
            with pytest.raises(_Full):
                batcher.submit([hold(2, 400)], refuse).result(_WAIT_S)
            assert codes(batcher.submit([hold(3, 400), resolve("p2", TransferKind.POST, "h2", 1)])) == [
                Code.OK,
                Code.NOT_PENDING,
            ]
        with database.read() as conn:
            assert service.verify(conn, "gxu") == []


class TestIds:
    """A batcher does not look for new ids first: the database must tell, and the batch is decided again."""

    def test_those_that_are_there_answer_as_before_whoever_asks(self, database: Database) -> None:
        with batching(database) as batcher:
            assert codes(batcher.submit([hold(1, 400)])) == [Code.OK]
        with Batcher(database, "gxu", clock=lambda: NOW) as batcher:
            with database.write() as conn:
                service.lock(conn, "gxu")
                promises = [
                    batcher.submit([hold(2, 60)]),
                    batcher.submit([hold(1, 400)]),  # there is no money for it a second time
                    batcher.submit([hold(1, 30)]),  # for this there would be
                    batcher.submit([single("opening", "opening_equity", WALLET, 500), hold(3, 30)]),
                ]
            assert [codes(one) for one in promises] == [
                [Code.OK],
                [Code.EXISTS],
                [Code.EXISTS_DIFFERENT],
                [Code.EXISTS, Code.OK],
            ]
        with database.read() as conn:
            assert service.balances(conn, "gxu", WALLET) == service.Balances(500, 490, 10)
            assert service.verify(conn, "gxu") == []

    def test_a_known_id_costs_the_batch_one_more_try_and_nobody_his_neighbors(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with batching(database) as batcher:
            assert codes(batcher.submit([hold(1)])) == [Code.OK]
        tries: list[int] = []
        with Batcher(database, "gxu", clock=lambda: NOW) as batcher:
            tried = batcher._tried

            def noted(batch: list[Any], *, trusting: bool = False) -> Exception | None:
                tries.append(len(batch))
                return tried(batch, trusting=trusting)

            monkeypatch.setattr(batcher, "_tried", noted)
            with database.write() as conn:
                service.lock(conn, "gxu")
                first = batcher.submit([hold(2)])
                while batcher.waiting_count:
                    pass
                rest = [batcher.submit([hold(number)]) for number in (3, 1, 4)]
            assert [codes(one) for one in (first, *rest)] == [[Code.OK], [Code.OK], [Code.EXISTS], [Code.OK]]
        assert max(tries) == 3
        assert tries.count(1) <= 1, "nobody was tried alone but who came first"

    def test_a_chain_that_is_there_stands_as_a_whole(self, database: Database) -> None:
        def chain() -> list[TransferRequest]:
            capture = resolve("p1", TransferKind.POST, "h1", 400, linked=True)
            return [hold(1, 400), capture, single("r1", CLEARING, REVENUE, 400)]

        with batching(database) as batcher:
            assert codes(batcher.submit(chain())) == [Code.OK] * 3
        for _ in range(2):
            with Batcher(database, "gxu", clock=lambda: NOW) as batcher:
                assert codes(batcher.submit(chain())) == [Code.EXISTS] * 3
                assert codes(batcher.submit([hold(9, 60)])) in ([Code.OK], [Code.EXISTS])


class TestLines:
    def test_are_written_while_others_wait_for_nothing(self, database: Database) -> None:
        count = 3 * UNLISTED_MAX
        with batching(database) as batcher:
            for start in range(0, count, 128):
                batch = [single(f"t{number}", "suspense", WALLET, 1) for number in range(start, start + 128)]
                assert codes(batcher.submit(batch)) == [Code.OK] * 128
            until(lambda: listed(database) >= count - 2 * UNLISTED_MAX)
        with database.read() as conn:
            assert len(service.statement(conn, "gxu", WALLET, count + 2)) == count + 1


class TestClose:
    def test_finishes_what_waits_and_takes_nothing_more(self, database: Database) -> None:
        with batching(database) as batcher:
            promises = [batcher.submit([hold(number)]) for number in range(30)]
            batcher.close()
            assert all(promise.done() for promise in promises)
            with pytest.raises(LedgerBusy):
                batcher.submit([hold(31)])
