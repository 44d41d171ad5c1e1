"""Top-ups: the wallet is credited once, whenever the answer comes."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from backend.payments import orders, service, top_ups
from backend.payments.port import Succeeded
from backend.payments.rules import Source
from backend.payments.service import TopUp, TopUpState
from tests.unit.backend.payments.books import assert_settled, balance
from tests.unit.backend.payments.conftest import World

REQUEST = "request-0001"


def top_up(world: World, amount_minor: int = 2_000, request_id: str = REQUEST, **more: str) -> TopUp:
    """Top the wallet up."""
    return service.top_up(
        world.db,
        world.providers,
        "gxu",
        more.get("cardholder_id", "ch_1"),
        more.get("method", "unionpay"),
        amount_minor,
        request_id,
        world.clock,
    )


def wallet_minor(world: World) -> int:
    """Return what the wallet has."""
    return balance(world.db, "cardholder_wallet/ch_1")


class TestTopUp:
    @pytest.mark.parametrize(
        ("behaviour", "first", "last", "credited"),
        [
            ("ok", TopUpState.SUCCEEDED, TopUpState.SUCCEEDED, 2_000),
            ("decline", TopUpState.DECLINED, TopUpState.DECLINED, 0),
            ("lost_answer", TopUpState.CHECKING, TopUpState.SUCCEEDED, 2_000),
            ("lost_request", TopUpState.CHECKING, TopUpState.DECLINED, 0),
            ("late_request", TopUpState.CHECKING, TopUpState.DECLINED, 0),
        ],
    )
    def test_the_answer_decides_now_or_later(
        self, world: World, behaviour: str, first: TopUpState, last: TopUpState, credited: int
    ) -> None:
        world.provider.behave(behaviour)

        assert top_up(world).state is first
        world.settle(seconds=120)
        world.provider.deliver_late()
        world.settle()
        assert top_up(world).state is last
        assert wallet_minor(world) == credited
        assert sum(verb == "charge" for verb, _ in world.provider.calls) == 1
        assert_settled(world.db)

    def test_it_stands_in_the_wallet_when_it_was_paid(self, world: World) -> None:
        world.provider.behave("lost_answer")
        made = top_up(world)
        paid_at, world.now = made.created_at + timedelta(seconds=9), made.created_at + timedelta(hours=2)

        with world.db.write() as conn:
            paid = Succeeded("charged", 2_000, "ref", paid_at)
            orders.apply_answer(conn, "gxu", made.top_up_id, paid, source=Source.STATEMENT, now=world.now)

        with world.db.read() as conn:
            (line,) = service.wallet_entries(conn, "gxu", "ch_1", 9)
        assert (line.change_minor, line.event_at, line.recorded_at) == (2_000, paid_at, world.now)

    def test_a_charge_that_comes_too_late_is_given_back(self, world: World) -> None:
        world.provider.tombstones = False
        world.provider.behave("late_request")
        top_up(world)
        world.settle(seconds=120)
        world.provider.deliver_late()
        world.settle(seconds=7_200)

        assert world.provider.orders["gxu", f"tu_{REQUEST}"].status == "voided"
        assert wallet_minor(world) == 0
        with world.db.read() as conn:
            found = service.find_top_up(conn, "gxu", f"tu_{REQUEST}")
            assert (found.state, found.late_success) == (TopUpState.DECLINED, True)
            assert service.late_successes(conn, "gxu") == 1

    def test_many_at_once_charge_once(self, world: World) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: top_up(world), range(4)))

        assert wallet_minor(world) == 2_000
        assert world.provider.calls == [("charge", f"tu_{REQUEST}")]

    @pytest.mark.parametrize("change", [{"amount_minor": 2_001}, {"cardholder_id": "ch_2"}])
    def test_another_body_is_refused(self, world: World, change: dict[str, object]) -> None:
        top_up(world)

        with pytest.raises(top_ups.TopUpDiffers):
            top_up(world, **change)  # type: ignore[arg-type]

    @pytest.mark.parametrize("amount_minor", [-1, 0, 99, 50_001])
    def test_an_amount_outside_the_limits_is_refused(self, world: World, amount_minor: int) -> None:
        with pytest.raises(top_ups.TopUpAmountRefused):
            top_up(world, amount_minor)
        assert world.provider.calls == []

    @pytest.mark.parametrize("method", ["wallet", "alipay", "seashells"])
    def test_a_method_without_a_provider_is_refused(self, world: World, method: str) -> None:
        with pytest.raises(top_ups.TopUpMethodRefused):
            top_up(world, method=method)

    @pytest.mark.parametrize("request_id", ["", "short", "a b c d e f", "x" * 65, "../../etc"])
    def test_a_malformed_request_id_is_refused(self, world: World, request_id: str) -> None:
        with pytest.raises(top_ups.RequestIdMalformed):
            top_up(world, request_id=request_id)


class TestFindTopUp:
    def test_what_is_not_there_is_unknown(self, world: World) -> None:
        with world.db.read() as conn, pytest.raises(top_ups.TopUpUnknown):
            service.find_top_up(conn, "gxu", "tu_nothing")


class TestTopUps:
    def test_the_newest_come_first(self, world: World) -> None:
        top_up(world)
        world.resolve(seconds=1)
        top_up(world, 300, "request-0002")

        with world.db.read() as conn:
            assert [found.amount_minor for found in service.top_ups(conn, "gxu", "ch_1", 9)] == [300, 2_000]
            assert service.top_ups(conn, "gxu", "ch_2", 9) == []
