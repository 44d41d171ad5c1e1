"""Methods that cannot hold: the worst case is taken at the start, and what was not used goes back."""

import pytest

from backend.ledger import service as ledger
from backend.payments import service
from backend.payments.service import State
from tests.unit.backend.payments.books import assert_settled, balance
from tests.unit.backend.payments.conftest import World

#: Which rows are written is the same on both databases; `test_random_lives` and `test_service` look at both.
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def clearing(world: World) -> list[tuple[str, int]]:
    """Return what is in clearing, by session."""
    with world.db.read() as conn:
        return ledger.open_clearing(conn, "gxu")


def verbs(world: World) -> list[str]:
    """Return what the provider was asked."""
    return [verb for verb, _ in world.wechat.calls]


class TestPerform:
    def test_the_deposit_is_charged_and_waits_in_clearing(self, world: World) -> None:
        assert world.held("wechat").state is State.HELD

        assert verbs(world) == ["charge"]
        assert balance(world.db, "provider_receivable/wechat") == 300
        assert clearing(world) == [("ws_1", 300)]

    @pytest.mark.parametrize(
        ("behaviour", "first", "last"),
        [
            ("decline", State.DECLINED, State.DECLINED),
            ("lost_answer", State.UNKNOWN, State.HELD),
            ("lost_request", State.UNKNOWN, State.DECLINED),
            ("waiting", State.UNKNOWN, State.UNKNOWN),
        ],
    )
    def test_the_answer_decides_now_or_later(self, world: World, behaviour: str, first: State, last: State) -> None:
        world.wechat.behave(behaviour)

        assert world.held("wechat").state is first
        world.settle(seconds=120)
        assert world.auth().state is last
        assert verbs(world).count("charge") == 1

    def test_a_payer_who_confirms_late_is_found_by_asking(self, world: World) -> None:
        world.wechat.behave("waiting")
        world.held("wechat")
        world.settle(seconds=30)
        world.wechat.confirm()
        world.settle(seconds=60)

        assert world.auth().state is State.HELD


class TestCapture:
    @pytest.mark.parametrize("amount_minor", [1, 120, 299])
    def test_the_used_part_is_revenue_and_the_rest_goes_back(self, world: World, amount_minor: int) -> None:
        world.held("wechat")
        world.capture(amount_minor)

        assert clearing(world) == []
        assert balance(world.db, "water_revenue") == amount_minor
        assert balance(world.db, "refunds_payable/wechat") == 300 - amount_minor
        world.settle()
        assert balance(world.db, "refunds_payable/wechat") == 0
        assert balance(world.db, "provider_receivable/wechat") == amount_minor == world.wechat.owed_minor("gxu")
        assert_settled(world.db)
        assert world.cases() == []

    def test_a_deposit_that_was_used_up_is_not_refunded(self, world: World) -> None:
        world.held("wechat")
        world.capture(300)
        world.settle()

        assert verbs(world) == ["charge"]
        assert balance(world.db, "provider_receivable/wechat") == 300
        assert_settled(world.db)

    @pytest.mark.parametrize(
        "behaviours", [["lost_request"], ["lost_answer"], ["late_request"], ["lost_answer", "lost_answer"]]
    )
    def test_the_rest_is_given_back_once_whatever_is_lost(self, world: World, behaviours: list[str]) -> None:
        world.held("wechat")
        world.capture(120)
        world.wechat.behave(*behaviours)
        world.settle()
        world.wechat.deliver_late()
        world.settle()

        assert world.wechat.owed_minor("gxu") == 120 == balance(world.db, "provider_receivable/wechat")
        assert balance(world.db, "refunds_payable/wechat") == 0
        assert_settled(world.db)

    def test_a_rest_the_provider_will_not_return_stays_owed_and_is_a_case(self, world: World) -> None:
        world.held("wechat")
        world.capture(120)
        world.wechat.behave("decline")
        world.settle()

        assert balance(world.db, "refunds_payable/wechat") == 180
        assert balance(world.db, "provider_receivable/wechat") == 300 == world.wechat.owed_minor("gxu")
        assert world.cases() == [("refund_refused", "cap_1.rest")]
        assert_settled(world.db)

    def test_the_same_again_takes_once(self, world: World) -> None:
        world.held("wechat")

        assert world.capture(120) == world.capture(120)
        world.settle()
        assert verbs(world) == ["charge", "refund"]


class TestVoid:
    @pytest.mark.parametrize("how", ["void", "capture_of_nothing", "expiry"])
    def test_the_whole_deposit_goes_back(self, world: World, how: str) -> None:
        found = world.held("wechat")
        if how == "void":
            world.void()
        elif how == "capture_of_nothing":
            world.capture(0)
        else:
            world.now = found.expires_at
            with world.db.write() as conn:
                service.expire_due(conn, "gxu", world.now, 9)
        assert clearing(world) == []
        assert balance(world.db, "refunds_payable/wechat") == 300
        world.settle()

        assert world.wechat.orders["gxu", "auth_1"].status == "voided"
        for account in ("refunds_payable/wechat", "provider_receivable/wechat", "water_revenue"):
            assert balance(world.db, account) == 0
        assert_settled(world.db)

    def test_a_deposit_the_provider_will_not_undo_stays_owed_and_is_a_case(self, world: World) -> None:
        world.held("wechat")
        world.void()
        world.wechat.behave("decline")
        world.settle()

        assert balance(world.db, "refunds_payable/wechat") == 300
        assert world.cases() == [("void_refused", "auth_1.void")]

    def test_a_provider_that_forgot_the_deposit_is_a_case(self, world: World) -> None:
        world.held("wechat")
        world.void()
        del world.wechat.orders["gxu", "auth_1"]
        world.settle()

        assert balance(world.db, "refunds_payable/wechat") == 300
        assert world.cases() == [("void_refused", "auth_1.void")]

    @pytest.mark.parametrize("tombstones", [True, False])
    def test_a_deposit_taken_after_we_gave_up_is_undone_and_a_case(self, world: World, tombstones: bool) -> None:
        world.wechat.tombstones = tombstones
        world.wechat.behave("late_request")
        world.held("wechat")
        world.void()
        world.settle(seconds=30)
        world.wechat.deliver_late()
        world.settle(seconds=7_200)

        assert world.wechat.owed_minor("gxu") == 0 == balance(world.db, "provider_receivable/wechat")
        assert world.cases() == ([] if tombstones else [("late_success", "auth_1")])
        assert_settled(world.db)
