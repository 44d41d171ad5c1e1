"""Transactions that are sent before those before them are answered."""

from collections.abc import Iterator

import pytest
from psycopg import Error as DriverError
from sqlalchemy import BigInteger, Column, MetaData, String, Table, bindparam, insert, select, text, update

from backend.db import Database, open_database
from backend.db.sender import NotDone, NotSent, Sender

_PURSES = Table(
    "sender_purses",
    MetaData(),
    Column("name", String(40), primary_key=True),
    Column("minor", BigInteger),
)
_NAME = bindparam("given_name", type_=String())
_STATEMENTS = {
    "put": insert(_PURSES).values(name=_NAME, minor=bindparam("given_minor", type_=BigInteger())),
    "add": update(_PURSES)
    .where(_PURSES.c.name == _NAME)
    .values(minor=_PURSES.c.minor + bindparam("more_minor", type_=BigInteger())),
    "see": select(_PURSES.c.name, _PURSES.c.minor).where(_PURSES.c.name == _NAME).with_for_update(),
}


@pytest.fixture
def purses(postgres_database_url: str) -> Iterator[Database]:
    database = open_database(postgres_database_url)
    _PURSES.create(database.engine)
    yield database
    database.engine.dispose()


@pytest.fixture
def sender(purses: Database) -> Iterator[Sender]:
    sender = Sender(purses.engine, _STATEMENTS)
    yield sender
    sender.close()


def put(name: str, minor: int | None) -> tuple[str, dict[str, str | int | None]]:
    return "put", {"given_name": name, "given_minor": minor}


def see(name: str) -> tuple[str, dict[str, str | int | None]]:
    return "see", {"given_name": name}


def _answered(sender: Sender, command: tuple[str, dict[str, str | int | None]]) -> object:
    sender.send([command])
    return sender.receive()


def stored(purses: Database) -> list[tuple[str, int]]:
    with purses.read() as conn:
        return [tuple(row) for row in conn.execute(select(_PURSES).order_by(_PURSES.c.name))]


class TestReceive:
    def test_tells_what_each_query_found_and_all_is_committed(self, purses: Database, sender: Sender) -> None:
        sender.send([see("浴室"), put("浴室", 5), see("浴室"), ("add", {"given_name": "浴室", "more_minor": 2})])

        assert sender.receive() == [[], [("浴室", "5")]]
        assert stored(purses) == [("浴室", 7)]

    def test_answers_come_in_the_order_of_what_was_sent(self, sender: Sender) -> None:
        for number in range(3):
            sender.send([put(f"p{number}", number or None), see(f"p{number}")])

        assert [sender.receive() for _ in range(3)] == [[[("p0", None)]], [[("p1", "1")]], [[("p2", "2")]]]

    def test_one_that_fails_leaves_nothing_and_does_not_harm_the_next(self, purses: Database, sender: Sender) -> None:
        sender.send([put("a", 1)])
        sender.send([put("b", 2), put("a", 3), put("c", 4)])
        sender.send([put("d", 5), see("d")])

        assert sender.receive() == []
        with pytest.raises(NotDone, match="duplicate key"):
            sender.receive()
        assert sender.receive() == [[("d", "5")]]
        assert stored(purses) == [("a", 1), ("d", 5)]

    def test_waits_for_a_lock_and_sees_what_its_holder_left(self, purses: Database, sender: Sender) -> None:
        sender.send([put("a", 1)])
        sender.receive()
        with purses.write() as conn:
            conn.execute(update(_PURSES).values(minor=40))
            sender.send([see("a"), ("add", {"given_name": "a", "more_minor": 2}), see("a")])

        assert sender.receive() == [[("a", "40")], [("a", "42")]]

    def test_a_message_longer_than_any_buffer_arrives(self, purses: Database, sender: Sender) -> None:
        with purses.write() as conn:
            conn.execute(text("ALTER TABLE sender_purses ALTER COLUMN name TYPE text"))
            conn.execute(text("ALTER TABLE sender_purses DROP CONSTRAINT sender_purses_pkey"))
        for number in range(3):
            sender.send([put(str(number) * 3_000_000, number)])

        assert [sender.receive() for _ in range(3)] == [[], [], []]
        assert [(len(name), minor) for name, minor in stored(purses)] == [(3_000_000, number) for number in range(3)]


class TestSend:
    def test_what_cannot_be_sent_is_not_sent_in_part(self, purses: Database, sender: Sender) -> None:
        with pytest.raises(ValueError, match="NUL"):
            sender.send([put("a", 1), put("b\0", 2)])
        sender.send([put("c", 3)])

        assert sender.receive() == []
        assert stored(purses) == [("c", 3)]

    def test_a_lost_connection_is_told(self, purses: Database, sender: Sender) -> None:
        with purses.write() as conn:
            query = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            conn.execute(text(query + " AND datname = current_database()"))

        with pytest.raises(NotSent):
            _answered(sender, put("a", 1))


class TestSender:
    def test_a_statement_that_makes_no_sense_is_refused_at_once(self, purses: Database) -> None:
        with pytest.raises(NotDone, match="missing"):
            Sender(purses.engine, {"wrong": select(text("missing")).select_from(_PURSES)})

    def test_its_connection_goes_with_it(self, purses: Database) -> None:
        sender = Sender(purses.engine, _STATEMENTS)
        sender.close()

        with pytest.raises((NotSent, DriverError)):
            sender.send([put("a", 1)])
