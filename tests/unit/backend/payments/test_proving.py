"""What is new in the books is counted again by the clock; what differs is a case, and nothing is proven past it."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from backend.ledger import service as ledger
from backend.ledger.models import accounts
from backend.payments import cases, proving
from backend.payments.proving import Proof
from tests.unit.backend.payments.conftest import World


def _prove(world: World) -> list[str]:
    with world.db.write() as conn:
        return [each.account_id for each in proving.prove(conn, "gxu", world.now)]


def _last(world: World) -> Proof | None:
    with world.db.read() as conn:
        return proving.last(conn, "gxu")


def _number(world: World) -> int:
    with world.db.read() as conn:
        return ledger.last_number(conn, "gxu")


def _tamper(world: World, by_minor: int) -> None:
    with world.db.write() as conn:
        conn.execute(
            update(accounts)
            .where(accounts.c.tenant_id == "gxu", accounts.c.account_id == "cardholder_wallet/ch_1")
            .values(credits_posted=accounts.c.credits_posted + by_minor)
        )


class TestProve:
    def test_goes_on_from_where_the_last_one_came(self, world: World) -> None:
        assert _last(world) is None
        world.credit(1_000)
        assert _prove(world) == []
        first = _last(world)
        assert first == Proof(1, world.now, world.now, 0)

        world.held("wallet")
        world.capture(120)
        world.now += timedelta(minutes=5)
        assert _prove(world) == []

        assert _last(world) == Proof(_number(world), world.now, world.now, 0)
        assert _number(world) > 1

    def test_what_differs_is_a_case_once_and_ends_when_it_is_mended(self, world: World) -> None:
        world.credit(1_000)
        _prove(world)
        proven_at = world.now
        _tamper(world, 7)
        world.credit(50)

        for _ in range(2):
            world.now += timedelta(minutes=5)
            assert _prove(world) == ["cardholder_wallet/ch_1"]

        assert _last(world) == Proof(1, proven_at, world.now, 1)
        with world.db.read() as conn:
            (case,) = cases.cases(conn, "gxu", limit=9)
        assert (case.kind, case.subject_id, case.amount_minor) == ("books_differ", "cardholder_wallet/ch_1@1", 7)
        assert (case.times_seen, case.evidence["proven_number"]) == (2, 1)
        assert (case.evidence["running"], case.evidence["counted"]) == ("0, 0, 0, 1057", "0, 0, 0, 1050")

        _tamper(world, -7)
        assert _prove(world) == []
        assert _last(world) == Proof(2, world.now, world.now, 0)

    @pytest.mark.parametrize("database", ["sqlite"], indirect=True)
    def test_a_new_difference_in_the_same_account_is_a_new_case(self, world: World) -> None:
        world.credit(1_000)
        _tamper(world, 7)
        _prove(world)
        _tamper(world, -7)
        _prove(world)
        _tamper(world, 5)
        _prove(world)

        with world.db.read() as conn:
            subjects = sorted(case.subject_id for case in cases.cases(conn, "gxu", limit=9))
        assert subjects == ["cardholder_wallet/ch_1@0", "cardholder_wallet/ch_1@1"]
