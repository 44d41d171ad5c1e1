"""Batches that are decided and sent before those before them are answered; PostgreSQL only."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from backend.db import Database, open_database
from backend.ledger import repository, service
from backend.ledger.ahead import Ahead
from backend.ledger.execution import Prepared
from backend.ledger.memory import Memory
from backend.ledger.rules import Code, TransferKind, TransferRequest
from tests.factories import NOW
from tests.unit.backend.ledger.requests import open_accounts, pending, resolve, single

WALLET, CLEARING, REVENUE = "cardholder_wallet/ch_1", "payment_clearing/wallet", "water_revenue"


class Writer:
    """A way ahead with the memory of one who just wrote."""

    def __init__(self, database: Database) -> None:
        self.database, self.memory = database, Memory()
        self.ahead = Ahead(database, "gxu", self.memory)
        self.catch_up()

    def catch_up(self) -> None:
        with self.database.write() as conn:
            repository.refresh(conn, "gxu", self.memory, repository.lock_writer(conn, "gxu"))

    def send(self, *requests: TransferRequest) -> Prepared:
        prepared = self.ahead.send(requests, NOW)
        assert prepared is not None
        return prepared

    def stands(self, prepared: Prepared) -> bool:
        before = self.ahead.receive(prepared)
        return before is not None and before.stamp == prepared.stamp_before


@pytest.fixture
def writer(postgres_database_url: str) -> Iterator[Writer]:
    database = open_database(postgres_database_url)
    with database.write() as conn:
        open_accounts(conn, wallet_minor=500)
    writer = Writer(database)
    yield writer
    writer.ahead.close()
    with database.read() as conn:
        assert service.verify(conn, "gxu") == []
        assert service.verify_clearing(conn, "gxu") == []
    database.engine.dispose()


def hold(number: int, amount_minor: int) -> TransferRequest:
    return pending(f"h{number}", WALLET, CLEARING, amount_minor, reference=f"ws_{number}")


def codes(prepared: Prepared) -> list[Code]:
    return [result.code for result in prepared.decision.results]


def balances(writer: Writer) -> service.Balances:
    with writer.database.read() as conn:
        return service.balances(conn, "gxu", WALLET)


class TestSend:
    def test_each_is_decided_on_what_the_one_before_it_leaves(self, writer: Writer) -> None:
        sent = [
            writer.send(hold(1, 400)),
            writer.send(resolve("p1", TransferKind.POST, "h1", 30), hold(2, 471), hold(3, 470)),
            writer.send(resolve("v3", TransferKind.VOID, "h3"), single("r1", CLEARING, REVENUE, 30, reference="ws_1")),
        ]

        assert [codes(one) for one in sent] == [
            [Code.OK],
            [Code.OK, Code.INSUFFICIENT, Code.OK],
            [Code.OK, Code.OK],
        ]
        assert [writer.stands(one) for one in sent] == [True, True, True]
        assert balances(writer) == service.Balances(470, 0, 470)
        with writer.database.read() as conn:
            assert [one.transfer_id for one in service.transfers_of(conn, "gxu", "ws_1")] == ["h1", "p1", "r1"]
            assert service.open_clearing(conn, "gxu") == []

    def test_accounts_that_were_never_used_are_opened_another_way(self, writer: Writer) -> None:
        new = single("t", "suspense", "cardholder_wallet/ch_2", 1)

        assert writer.ahead.send([new], NOW) is None

    def test_what_is_refused_waits_for_the_answer_too(self, writer: Writer) -> None:
        refused = writer.send(hold(1, 501))

        assert codes(refused) == [Code.INSUFFICIENT]
        assert writer.stands(refused)

    def test_the_books_know_how_far_they_came_and_which_hold_is_due_first(self, writer: Writer) -> None:
        with writer.database.write() as conn:
            assert service.expire_due(conn, "gxu", NOW, 10) == []
        writer.catch_up()
        assert writer.stands(writer.send(pending("old", WALLET, CLEARING, 5, NOW)))

        with writer.database.write() as conn:
            books = repository.lock_writer(conn, "gxu")
            due = service.expire_due(conn, "gxu", NOW, 10)
        assert (books.last_number, [one.transfer_id for one in due]) == (2, ["old.expire"])


class TestReceive:
    def test_nothing_happens_when_somebody_wrote_in_between(self, writer: Writer) -> None:
        with writer.database.write() as conn:
            service.execute(conn, "gxu", [hold(1, 300)], now=NOW)

        sent = [writer.send(hold(2, 300), hold(3, 1)), writer.send(hold(4, 1))]

        assert [writer.stands(one) for one in sent] == [False, False]
        assert balances(writer) == service.Balances(500, 300, 200)
        writer.catch_up()
        again = writer.send(hold(2, 300), hold(3, 1))
        assert (codes(again), writer.stands(again)) == ([Code.INSUFFICIENT, Code.OK], True)

    def test_what_comes_to_nothing_leaves_nothing_in_clearing(self, writer: Writer) -> None:
        with writer.database.write() as conn:
            service.execute(conn, "gxu", [hold(1, 1)], now=NOW)

        lost = writer.send(single("t1", WALLET, CLEARING, 30, reference="ws_1"))

        assert not writer.stands(lost)
        with writer.database.read() as conn:
            assert service.open_clearing(conn, "gxu") == []

    def test_a_refusal_that_is_no_longer_right_is_noticed(self, writer: Writer) -> None:
        assert writer.stands(writer.send(hold(0, 1)))
        with writer.database.write() as conn:
            service.execute(conn, "gxu", [single("more", "suspense", WALLET, 100)], now=NOW)

        refused = writer.send(hold(1, 600))

        assert (codes(refused), writer.stands(refused)) == ([Code.INSUFFICIENT], False)

    def test_an_id_that_is_there_undoes_its_batch_and_those_built_on_it(self, writer: Writer) -> None:
        sent = [writer.send(hold(1, 1), single("opening", "suspense", WALLET, 9)), writer.send(hold(2, 2))]

        assert [writer.stands(one) for one in sent] == [False, False]
        assert balances(writer) == service.Balances(500, 0, 500)

    def test_a_lost_connection_is_made_anew(self, writer: Writer) -> None:
        assert writer.stands(writer.send(hold(1, 1)))
        with writer.database.write() as conn:
            query = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            conn.execute(text(query + " AND datname = current_database()"))

        lost = writer.ahead.send([hold(2, 2)], NOW)
        assert lost is None or not writer.stands(lost)
        writer.database.engine.dispose()
        writer.catch_up()
        assert writer.stands(writer.send(hold(2, 2)))
        assert balances(writer).held_minor == 3
