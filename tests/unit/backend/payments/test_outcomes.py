"""A bill says what really became of the money, not what was meant to."""

import pytest

from backend.payments import service
from backend.payments.service import Outcome, RefundExceedsCapture
from tests.unit.backend.payments.conftest import World

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def became(world: World) -> Outcome:
    """Return what became of the money."""
    with world.db.read() as conn:
        return service.outcome(conn, "gxu", "auth_1")


class TestOutcome:
    def test_of_the_campus_purses_is_what_the_ledger_did(self, world: World) -> None:
        world.credit(1_000)
        world.held("wallet")
        assert became(world) == Outcome(300, 0, 0)
        world.capture(120)

        assert became(world) == Outcome(300, 120, 180)

    @pytest.mark.parametrize("method", ["unionpay", "wechat"])
    def test_is_nothing_while_the_provider_has_taken_nothing(self, world: World, method: str) -> None:
        world.at(method).behave("lost_request")
        world.held(method)
        assert became(world) == Outcome(0, 0, 0)
        world.settle(seconds=120)

        assert became(world) == Outcome(0, 0, 0)

    @pytest.mark.parametrize("method", ["unionpay", "wechat"])
    def test_is_on_its_way_back_until_the_provider_says_it_is(self, world: World, method: str) -> None:
        world.held(method)
        world.capture(120)
        assert became(world) == Outcome(300, 120, 180, "requested")
        world.settle(seconds=60)

        assert became(world) == Outcome(300, 120, 180, "done")

    def test_of_a_deposit_that_is_not_given_back_says_so(self, world: World) -> None:
        world.held("wechat")
        world.capture(120)
        world.wechat.behave("decline")
        world.settle(seconds=60)

        assert became(world) == Outcome(300, 120, 180, "refused")

    @pytest.mark.parametrize("method", ["unionpay", "wechat"])
    def test_of_a_voided_one_goes_back_whole(self, world: World, method: str) -> None:
        world.held(method)
        world.void()
        assert became(world) == Outcome(300, 0, 300, "requested")
        world.settle(seconds=60)

        assert became(world) == Outcome(300, 0, 300, "done")

    def test_what_the_provider_refused_to_pay_was_not_spent_and_is_not_refunded(self, world: World) -> None:
        world.held("unionpay")
        world.capture(120)
        world.provider.behave("decline")
        world.settle(seconds=60)

        assert became(world) == Outcome(300, 0, 300, "done")
        with pytest.raises(RefundExceedsCapture):
            world.refund(1)
