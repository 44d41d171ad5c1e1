"""Commands down and records up, on both databases."""

from datetime import timedelta

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from backend.db import Database
from backend.outbox import service
from backend.outbox.service import OutboxRow
from gateway.contract.commands import CloseValve, Command
from gateway.contract.messages import CommandMessage
from gateway.contract.signing import verify
from tests.factories import NOW

KEY = Ed25519PrivateKey.generate()


def enqueue(database: Database, *, sequence: int, device_id: str = "dev_1") -> str:
    """Store a command."""
    with database.write() as conn:
        return service.enqueue_command(
            conn,
            signing=("north-1", KEY),
            tenant_id="north",
            gateway_id="gw_1",
            device_id=device_id,
            sequence=sequence,
            body=CloseValve(water_session_id="ws_1"),
            now=NOW,
        )


def claim(database: Database, after_s: float = 0) -> list[OutboxRow]:
    """Claim what is due some seconds later."""
    with database.write() as conn:
        return service.due(conn, NOW + timedelta(seconds=after_s), 10)


class TestEnqueueCommand:
    def test_stores_what_the_tenants_key_signed(self, database: Database) -> None:
        cmd_id = enqueue(database, sequence=5)

        (row,) = claim(database)
        signed = msgspec.json.decode(row.message, type=CommandMessage).signed
        command = verify(signed, keys={"north-1": KEY.public_key()}, as_type=Command)
        assert (command.cmd_id, command.sequence, command.device) == (cmd_id, 5, "dev_1")
        assert command.not_after_ms - command.issued_at_ms == 20_000
        assert (row.kind, row.subject_id) == ("close_valve", "ws_1")

    def test_leaves_nothing_when_its_transaction_fails(self, database: Database) -> None:
        def fail_after_enqueue() -> None:
            with database.write() as conn:
                service.enqueue_command(
                    conn,
                    signing=("north-1", KEY),
                    tenant_id="north",
                    gateway_id="gw_1",
                    device_id="dev_1",
                    sequence=1,
                    body=CloseValve(water_session_id="ws_1"),
                    now=NOW,
                )
                raise InterruptedError

        with pytest.raises(InterruptedError):
            fail_after_enqueue()

        assert claim(database) == []


class TestDue:
    def test_comes_in_sequence_per_device(self, database: Database) -> None:
        for sequence in (3, 1, 2):
            enqueue(database, sequence=sequence)

        assert [row.sequence for row in claim(database)] == [1, 2, 3]

    def test_is_claimed_for_a_moment(self, database: Database) -> None:
        enqueue(database, sequence=1)

        assert len(claim(database)) == 1
        assert claim(database, service.CLAIM_S - 1) == []
        assert len(claim(database, service.CLAIM_S)) == 1

    def test_waits_behind_a_claimed_command_of_the_same_device(self, database: Database) -> None:
        enqueue(database, sequence=1)
        claim(database)
        enqueue(database, sequence=2)
        enqueue(database, sequence=7, device_id="dev_2")

        assert [row.device_id for row in claim(database)] == ["dev_2"]

    def test_never_has_an_expired_command(self, database: Database) -> None:
        enqueue(database, sequence=1)

        assert claim(database, 20) == []

    def test_has_no_sent_command(self, database: Database) -> None:
        cmd_id = enqueue(database, sequence=1)
        with database.write() as conn:
            service.mark_sent(conn, [("north", cmd_id)], NOW)

        assert claim(database) == []
        with database.read() as conn:
            assert not service.any_due(conn, NOW)


class TestResend:
    def test_makes_a_gateways_sent_commands_due_again_in_sequence(self, database: Database) -> None:
        first, second = enqueue(database, sequence=1), enqueue(database, sequence=2)
        claim(database)
        with database.write() as conn:
            service.mark_sent(conn, [("north", first), ("north", second)], NOW)

            assert service.resend(conn, "north", "gw_1", NOW) == 2

        assert [row.cmd_id for row in claim(database)] == [first, second]

    def test_of_all_makes_every_gateways_sent_commands_due_again(self, database: Database) -> None:
        cmd_id = enqueue(database, sequence=1)
        claim(database)
        with database.write() as conn:
            service.mark_sent(conn, [("north", cmd_id)], NOW)

            assert service.resend_all(conn, NOW + timedelta(seconds=20)) == 0
            assert service.resend_all(conn, NOW) == 1

        assert [row.cmd_id for row in claim(database)] == [cmd_id]

    def test_leaves_expired_commands_and_other_gateways_alone(self, database: Database) -> None:
        cmd_id = enqueue(database, sequence=1)
        with database.write() as conn:
            service.mark_sent(conn, [("north", cmd_id)], NOW)

            assert service.resend(conn, "north", "gw_2", NOW) == 0
            assert service.resend(conn, "south", "gw_1", NOW) == 0
            assert service.resend(conn, "north", "gw_1", NOW + timedelta(seconds=20)) == 0


def accept(database: Database, sequence: int, sha256: str = "a") -> bool:
    """Accept a record."""
    with database.write() as conn:
        return service.accept_record(conn, "north", "gw_1", "ep1", sequence, sha256, NOW)


def through(database: Database) -> int:
    """Return the cursor."""
    with database.write() as conn:
        return service.acked_through(conn, "north", "gw_1", "ep1")


class TestAcceptRecord:
    def test_takes_a_record_once(self, database: Database) -> None:
        assert accept(database, 1)
        assert not accept(database, 1)

    def test_refuses_other_bytes_under_the_same_sequence(self, database: Database) -> None:
        accept(database, 1)

        with pytest.raises(service.ConflictingRecord):
            accept(database, 1, "b")


class TestAckedThrough:
    @pytest.mark.parametrize(
        ("sequences", "expected"),
        [([], 0), ([1, 2, 3], 3), ([2, 3], 0), ([1, 3], 1), ([3, 1, 2], 3), ([1, 2, 5, 6], 2)],
    )
    def test_is_the_end_of_the_unbroken_run(self, database: Database, sequences: list[int], expected: int) -> None:
        for sequence in sequences:
            accept(database, sequence)

        assert through(database) == expected

    def test_moves_on_when_a_gap_is_filled(self, database: Database) -> None:
        accept(database, 1)
        accept(database, 3)
        before = through(database)
        accept(database, 2)

        assert (before, through(database)) == (1, 3)


class TestContinuesChain:
    def test_believes_what_it_cannot_check_and_nothing_else(self, database: Database) -> None:
        accept(database, 1, "first")
        with database.read() as conn:
            at = ("north", "gw_1", "ep1")
            assert service.continues_chain(conn, *at, 1, "0" * 64)
            assert not service.continues_chain(conn, *at, 1, "x")
            assert service.continues_chain(conn, *at, 2, "first")
            assert not service.continues_chain(conn, *at, 2, "other")
            assert service.continues_chain(conn, *at, 9, "unknown")


class TestPark:
    def test_is_tried_again_later_and_later(self, database: Database) -> None:
        with database.write() as conn:
            service.park(
                conn,
                tenant_id="north",
                gateway_id="gw_1",
                epoch="ep1",
                sequence=4,
                payload="{}",
                reason="x" * 500,
                now=NOW,
            )
        with database.write() as conn:
            early = service.parked_due(conn, NOW, 10)
            (due,) = service.parked_due(conn, NOW + timedelta(seconds=10), 10)
            assert service.still_parked(conn, due)
            service.postpone_parked(conn, due, reason="again", now=NOW + timedelta(seconds=10))
        with database.write() as conn:
            later = service.parked_due(conn, NOW + timedelta(seconds=20), 10)
            (again,) = service.parked_due(conn, NOW + timedelta(seconds=30), 10)
            assert not service.still_parked(conn, due)
            service.unpark(conn, again)

        assert (early, later) == ([], [])
        assert (due.sequence, again.attempts, again.reason) == (4, 2, "again")
        with database.read() as conn:
            assert service.parked_due(conn, NOW + timedelta(days=1), 10) == []
