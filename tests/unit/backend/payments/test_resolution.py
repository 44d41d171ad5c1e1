"""Unknowns: resolved by asking, given up in bounded time, undone when they succeed too late."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from backend.payments import service
from backend.payments.port import Answer, Order, Payer
from backend.payments.service import State
from tests.factories import NOW
from tests.unit.backend.payments.books import assert_settled
from tests.unit.backend.payments.conftest import World

#: Which rows are written is the same on both databases; `test_random_lives` and `test_service` look at both.
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def late_successes(world: World) -> int:
    """Return how many orders came too late."""
    with world.db.read() as conn:
        return service.late_successes(conn, "gxu")


def sends(world: World) -> int:
    """Return how often the order itself was sent."""
    return sum(verb in ("authorize", "charge") for verb, _ in world.provider.calls)


class TestResolveDue:
    def test_leaves_an_order_to_the_process_that_opened_it_for_half_a_minute(self, world: World) -> None:
        world.open()

        assert [world.resolve(seconds) for seconds in (0, 29, 1)] == [0, 0, 1]
        assert (world.auth().state, world.auth().reason) == (State.DECLINED, "never_sent")

    def test_asks_nothing_while_the_answer_to_the_order_is_still_awaited(self, world: World) -> None:
        send, meanwhile = world.provider.authorize, []

        def slow(order: Order, payer: Payer) -> Answer:
            meanwhile.append(world.resolve(seconds=7))
            return send(order, payer)

        world.provider.authorize = slow  # type: ignore[method-assign]

        assert world.held("unionpay").state is State.HELD
        assert meanwhile == [0]

    def test_one_that_runs_into_a_bug_waits_and_stops_no_other(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in (1, 2):
            world.provider.behave("lost_answer")
            world.open(auth_id=f"auth_{number}")
            world.perform(f"auth_{number}")
        ask, asked = world.provider.query, []

        def broken(order: Order) -> Answer:
            asked.append(order.order_id)
            assert order.order_id != "auth_1", "a bug"
            return ask(order)

        monkeypatch.setattr(world.provider, "query", broken)

        world.resolve(seconds=1)
        assert (world.auth("auth_1").state, world.auth("auth_2").state) == (State.UNKNOWN, State.HELD)
        for _ in range(60):
            world.resolve(seconds=1)
        assert 3 <= asked.count("auth_1") <= 8, "it is tried again, less and less often"
        monkeypatch.undo()
        world.settle(seconds=600)
        assert world.auth("auth_1").state is State.HELD

    def test_a_lost_answer_is_found_by_asking(self, world: World) -> None:
        world.provider.behave("lost_answer")
        world.open()
        world.perform()

        assert world.resolve(seconds=1) == 1
        assert world.auth().state is State.HELD
        assert sends(world) == 1
        world.capture(300)
        world.settle()
        assert_settled(world.db)

    def test_a_lost_request_is_declined_after_a_bounded_time(self, world: World) -> None:
        world.provider.behave("lost_request")
        world.open()
        world.perform()
        world.settle(seconds=30)
        assert world.auth().state is State.UNKNOWN
        world.settle(seconds=60)

        assert (world.auth().state, world.auth().reason) == (State.DECLINED, "not_found")
        assert sends(world) == 1
        world.settle()
        assert late_successes(world) == 0
        assert_settled(world.db)

    def test_asking_backs_off(self, world: World) -> None:
        world.provider.behave("lost_request", *["lost_answer"] * 200)
        world.open()
        world.perform()
        world.settle(seconds=3_600)

        assert 10 <= sum(verb == "query" for verb, _ in world.provider.calls) <= 25
        assert world.auth().state is State.UNKNOWN
        with world.db.read() as conn:
            assert [row.operation_id for row in service.unknowns(conn, "gxu")] == ["auth_1"]

    def test_a_question_nobody_answers_for_days_is_abandoned_and_listed(self, world: World) -> None:
        world.provider.behave("lost_request", *["lost_answer"] * 9)
        world.open()
        world.perform()
        world.resolve(seconds=1)
        world.resolve(seconds=4 * 86_400)

        with world.db.read() as conn:
            assert [row.status for row in service.unknowns(conn, "gxu")] == ["abandoned"]
        assert world.resolve(seconds=86_400) == 0

    def test_a_request_that_arrives_before_we_give_up_counts(self, world: World) -> None:
        world.provider.behave("late_request")
        world.open()
        world.perform()
        world.settle(seconds=20)
        world.provider.deliver_late()
        world.settle(seconds=60)

        assert world.auth().state is State.HELD
        assert late_successes(world) == 0

    @pytest.mark.parametrize("tombstones", [True, False])
    def test_a_request_that_arrives_after_we_gave_up_is_undone(self, world: World, tombstones: bool) -> None:
        world.provider.tombstones = tombstones
        world.provider.behave("late_request")
        world.open()
        world.perform()
        world.settle(seconds=55)
        assert world.auth().state is State.DECLINED
        world.provider.deliver_late()
        world.settle(seconds=7_200)

        assert world.provider.orders["gxu", "auth_1"].status == ("declined" if tombstones else "voided")
        assert late_successes(world) == (0 if tombstones else 1)
        assert world.auth().state is State.DECLINED
        assert_settled(world.db)

    def test_the_calls_own_answer_after_a_void_is_undone(self, world: World) -> None:
        world.open()
        real = world.provider.authorize

        def slow(order: Order, payer: Payer) -> Answer:
            world.void()
            world.settle(seconds=10)  # the undo overtakes the order
            return real(order, payer)

        world.provider.tombstones = False
        world.provider.authorize = slow  # type: ignore[method-assign]
        assert world.perform().state is State.VOIDED
        world.settle(seconds=5)  # at once, not when it is looked at again

        assert world.provider.orders["gxu", "auth_1"].status == "voided"
        assert late_successes(world) == 1
        assert_settled(world.db)

    def test_an_answer_that_comes_after_the_question_was_answered_changes_nothing(self, world: World) -> None:
        world.open()
        real = world.provider.authorize

        def slow(order: Order, payer: Payer) -> Answer:
            answer = real(order, payer)
            world.settle(seconds=15)
            world.void()
            world.settle(seconds=15)
            return answer

        world.provider.authorize = slow  # type: ignore[method-assign]
        assert world.perform().state is State.VOIDED
        world.settle()

        assert late_successes(world) == 0
        assert world.provider.orders["gxu", "auth_1"].status == "voided"
        assert_settled(world.db)

    def test_a_success_over_another_amount_is_not_believed(self, world: World) -> None:
        world.provider.behave("lost_answer")
        world.open()
        world.perform()
        world.provider.orders["gxu", "auth_1"].amount_minor = 30_000
        world.settle(seconds=600)

        assert world.auth().state is State.UNKNOWN

    def test_a_success_after_the_authorizations_time_is_undone(self, world: World) -> None:
        world.provider.behave("lost_answer", *["lost_answer"] * 5)
        world.open()
        world.perform()
        world.settle(seconds=30)
        world.resolve(seconds=7 * 3_600)
        world.settle()

        assert world.auth().state is not State.HELD
        assert world.provider.orders["gxu", "auth_1"].status == "voided"
        assert_settled(world.db)

    def test_an_intent_nobody_sent_is_declined_without_asking(self, world: World) -> None:
        world.open()
        world.settle(seconds=60)

        assert (world.auth().state, world.auth().reason) == (State.DECLINED, "never_sent")
        assert world.perform().state is State.DECLINED
        assert world.provider.calls == []

    def test_a_process_that_died_before_the_answer_is_made_good(self, world: World) -> None:
        class Died(BaseException):
            """The process is gone."""

        real = world.provider.authorize

        def die(order: Order, payer: Payer) -> Answer:
            real(order, payer)
            raise Died

        world.open()
        world.provider.authorize = die  # type: ignore[method-assign]
        with pytest.raises(Died):
            world.perform()
        world.settle(seconds=30)

        assert world.auth().state is State.HELD
        assert sends(world) == 1

    def test_many_workers_attempt_each_operation_once(self, world: World) -> None:
        for number in range(8):
            world.open(auth_id=f"auth_{number}")
            world.perform(f"auth_{number}")
            world.capture(10, f"cap_{number}", f"auth_{number}")

        with ThreadPoolExecutor(4) as pool:
            attempts = sum(pool.map(lambda _: world.resolve(), range(4)))
        assert attempts == 8
        assert sum(verb == "capture" for verb, _ in world.provider.calls) == 8

    def test_the_limit_bounds_a_round(self, world: World) -> None:
        for number in range(3):
            world.open(auth_id=f"auth_{number}")
            world.perform(f"auth_{number}")
            world.capture(10, f"cap_{number}", f"auth_{number}")

        assert service.resolve_due(world.db, world.providers, clock=lambda: NOW, limit=2) == 2

    def test_what_is_not_due_waits(self, world: World) -> None:
        world.open()

        assert world.resolve() == 0
        assert world.now - NOW == timedelta(0)
