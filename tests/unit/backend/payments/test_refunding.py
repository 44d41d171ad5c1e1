"""Refunds: never more than was captured, once, and owed until the provider has given them back."""

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from backend.payments import service
from backend.payments.service import Refund
from tests.unit.backend.payments.books import assert_settled, balance
from tests.unit.backend.payments.conftest import World

SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
METHODS = ["wallet", "unionpay", "wechat"]


def captured(world: World, method: str, amount_minor: int = 200) -> None:
    """Have a hold of 300 captured in part, and what the provider must hear of it said."""
    world.credit(1_000)
    world.held(method)
    world.capture(amount_minor)
    world.settle(seconds=60)


def found(world: World, refund_id: str = "rf_1") -> Refund:
    """Return a refund as it is."""
    with world.db.read() as conn:
        return service.refund(conn, "gxu", refund_id)


class TestRequestRefund:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("amount_minor", [1, 80, 200])
    def test_part_or_all_goes_back(self, world: World, method: str, amount_minor: int) -> None:
        captured(world, method)
        first = world.refund(amount_minor)
        assert first.state == ("done" if method == "wallet" else "requested")
        assert balance(world.db, "water_revenue") == 200 - amount_minor
        world.settle()

        assert (found(world).state, found(world).amount_minor, found(world).reason) == ("done", amount_minor, "cold")
        if method == "wallet":
            assert balance(world.db, "cardholder_wallet/ch_1") == 800 + amount_minor
        else:
            owed = world.at(method).owed_minor("gxu")
            assert owed == 200 - amount_minor == balance(world.db, f"provider_receivable/{method}")
            assert balance(world.db, f"refunds_payable/{method}") == 0
        assert_settled(world.db)

    @SQLITE
    @pytest.mark.parametrize("method", METHODS)
    def test_the_same_again_gives_back_once(self, world: World, method: str) -> None:
        captured(world, method)
        first = world.refund(80)

        assert world.refund(80) == first
        world.settle()
        assert world.refund(80).state == "done"
        assert balance(world.db, "water_revenue") == 120

    @SQLITE
    @pytest.mark.parametrize("method", METHODS)
    def test_another_amount_under_its_id_is_refused(self, world: World, method: str) -> None:
        captured(world, method)
        world.refund(80)

        with pytest.raises(service.RefundDiffers):
            world.refund(81)

    @SQLITE
    @pytest.mark.parametrize("method", METHODS)
    def test_no_more_than_was_captured(self, world: World, method: str) -> None:
        captured(world, method)
        world.refund(150)

        with pytest.raises(service.RefundExceedsCapture) as refused:
            world.refund(51, "rf_2")
        assert refused.value.details["refundable_minor"] == 50
        assert world.refund(50, "rf_3").amount_minor == 50

    @SQLITE
    @pytest.mark.parametrize("method", METHODS)
    def test_what_was_not_captured_is_not_refunded(self, world: World, method: str) -> None:
        world.credit(1_000)
        world.held(method)
        with pytest.raises(service.RefundExceedsCapture):
            world.refund(1)
        world.void()
        with pytest.raises(service.RefundExceedsCapture):
            world.refund(1)

    @SQLITE
    @pytest.mark.parametrize("refunded_minor", [0, 80])
    def test_what_the_provider_never_paid_out_is_not_refunded(self, world: World, refunded_minor: int) -> None:
        world.held("unionpay")
        world.capture(200)
        if refunded_minor:
            world.refund(refunded_minor)  # while the capture is still on its way
        world.provider.behave("decline")
        world.settle(seconds=60)
        assert ("capture_refused", "cap_1.capture") in world.cases()

        with world.db.read() as conn:
            assert service.authorization(conn, "gxu", "auth_1").captured_minor == 200
            assert service.refundable_minor(conn, "gxu", "auth_1") == 0
        with pytest.raises(service.RefundExceedsCapture) as refused:
            world.refund(1, "rf_2")
        assert refused.value.details["refundable_minor"] == 0

    @SQLITE
    @pytest.mark.parametrize("method", METHODS)
    def test_what_is_left_shrinks_with_every_refund(self, world: World, method: str) -> None:
        captured(world, method)
        left = []
        for number, amount_minor in enumerate((120, 30, 50)):
            world.refund(amount_minor, f"rf_{number}")
            with world.db.read() as conn:
                left.append(service.refundable_minor(conn, "gxu", "auth_1"))

        assert left == [80, 50, 0]

    @SQLITE
    @pytest.mark.parametrize("amount_minor", [0, -1])
    def test_a_refund_is_more_than_nothing(self, world: World, amount_minor: int) -> None:
        with pytest.raises(service.RefundAmountRefused):
            world.refund(amount_minor)

    @SQLITE
    def test_an_unknown_authorization_is_told(self, world: World) -> None:
        with pytest.raises(service.AuthorizationUnknown):
            world.refund(1)

    @SQLITE
    @pytest.mark.parametrize("method", ["unionpay", "wechat"])
    def test_a_refund_the_provider_refuses_stays_owed_and_is_a_case(self, world: World, method: str) -> None:
        captured(world, method)
        world.refund(80)
        world.at(method).behave("decline")
        world.settle()

        assert (found(world).state, found(world).reason) == ("refused", "do_not_honor")
        assert balance(world.db, f"refunds_payable/{method}") == 80
        assert world.cases() == [("refund_refused", "rf_1.refund")]
        with pytest.raises(service.RefundExceedsCapture):
            world.refund(121, "rf_2")

    @SQLITE
    @pytest.mark.parametrize("behaviour", ["lost_request", "lost_answer", "late_request"])
    def test_a_lost_refund_is_asked_about_and_given_once(self, world: World, behaviour: str) -> None:
        captured(world, "unionpay")
        world.refund(80)
        world.provider.behave(behaviour)
        world.settle()
        world.provider.deliver_late()
        world.settle()

        assert found(world).state == "done"
        assert world.provider.owed_minor("gxu") == 120 == balance(world.db, "provider_receivable/unionpay")

    @SQLITE
    def test_it_does_not_overtake_its_capture(self, world: World) -> None:
        world.held("unionpay")
        world.capture(200)
        world.refund(80)
        world.provider.behave("lost_request", "lost_answer", "lost_request")
        world.settle()

        told = [verb for verb, _ in world.provider.calls if verb in ("capture", "refund")]
        assert told.index("refund") > max(at for at, verb in enumerate(told) if verb == "capture")
        assert found(world).state == "done"
        assert world.provider.owed_minor("gxu") == 120

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("seed", [1])
    def test_requests_at_once_never_exceed_what_was_captured(self, world: World, method: str, seed: int) -> None:
        chance = random.Random(seed)
        captured(world, method)
        asked = [(f"rf_{chance.randrange(6)}", chance.choice([30, 70, 110])) for _ in range(10)]

        def ask(each: tuple[str, int]) -> None:
            with suppress(service.RefundExceedsCapture, service.RefundDiffers):
                world.refund(each[1], each[0])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(ask, asked))
        with world.db.read() as conn:
            given = service.refunds(conn, "gxu", auth_id="auth_1")
            left = service.refundable_minor(conn, "gxu", "auth_1")
        total = sum(refund.amount_minor for refund in given)
        assert total + left == 200
        assert left < 110
        assert {(refund.refund_id, refund.amount_minor) for refund in given} <= set(asked)
        world.settle()
        assert balance(world.db, "water_revenue") == 200 - total
        assert_settled(world.db)


class TestRefunds:
    def test_they_are_found_by_authorization_and_person_newest_first(self, world: World) -> None:
        captured(world, "wallet")
        world.refund(10)
        world.settle(seconds=1)
        world.refund(20, "rf_2")

        with world.db.read() as conn:
            assert [each.amount_minor for each in service.refunds(conn, "gxu", auth_id="auth_1")] == [20, 10]
            assert [each.amount_minor for each in service.refunds(conn, "gxu", cardholder_id="ch_1", limit=1)] == [20]
            assert service.refunds(conn, "gxu", cardholder_id="ch_2") == []
            assert service.refunds(conn, "gux") == []


class TestRefund:
    @SQLITE
    def test_what_is_not_there_is_unknown(self, world: World) -> None:
        with pytest.raises(service.RefundUnknown):
            found(world)
