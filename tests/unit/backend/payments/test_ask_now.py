"""A top-up that does not arrive: its owner asks now, and lets finance look; neither ever charges anything."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from backend.payments import cases, queue_repository, service
from backend.payments.service import AskedJustNow, Operation, ReportTooEarly, State, TopUpState
from backend.payments.top_ups import REPORT_AFTER, TopUpUnknown
from tests.unit.backend.payments.books import assert_settled
from tests.unit.backend.payments.conftest import World
from tests.unit.backend.payments.test_top_ups import REQUEST, top_up, wallet_minor

ORDER = f"tu_{REQUEST}"


def ask(world: World, order_id: str = ORDER) -> bool:
    """Ask about an order now."""
    return service.ask_now(world.db, world.providers, "gxu", order_id, clock=world.clock)


def verbs(world: World) -> list[str]:
    """Return what the provider was called for."""
    return [verb for verb, _ in world.provider.calls]


def question(world: World) -> Operation:
    """Return what is being asked about the top-up."""
    with world.db.read() as conn:
        found = service.question(conn, "gxu", ORDER)
    assert found is not None
    return found


def report(world: World) -> cases.Case | None:
    """Let finance look at the top-up."""
    with world.db.write() as conn:
        return service.report_missing(conn, "gxu", ORDER, world.now)


class TestAskNow:
    def test_finds_the_money_that_was_taken_and_charges_nothing(self, world: World) -> None:
        world.provider.behave("lost_answer")
        assert top_up(world).state is TopUpState.CHECKING
        world.now += timedelta(seconds=10)

        assert ask(world)

        assert top_up(world).state is TopUpState.SUCCEEDED
        assert wallet_minor(world) == 2_000
        assert verbs(world) == ["charge", "query"]
        world.settle()
        assert wallet_minor(world) == 2_000
        assert_settled(world.db)

    def test_without_an_answer_leaves_it_checking_and_the_queue_goes_on(self, world: World) -> None:
        world.provider.behave("lost_answer", "lost_answer")
        top_up(world)
        world.now += timedelta(seconds=10)

        assert ask(world)

        assert top_up(world).state is TopUpState.CHECKING
        assert (question(world).attempts, question(world).asked_at) == (1, world.now)
        assert question(world).next_at > world.now
        world.settle(seconds=300)
        assert wallet_minor(world) == 2_000
        assert verbs(world)[0] == "charge"
        assert set(verbs(world)[1:]) == {"query"}

    @pytest.mark.parametrize("seconds", [0, 9])
    def test_is_refused_moments_after_it_was_sent(self, world: World, seconds: int) -> None:
        world.provider.behave("lost_answer")
        top_up(world)
        world.now += timedelta(seconds=seconds)

        with pytest.raises(AskedJustNow):
            ask(world)

        assert verbs(world) == ["charge"]
        assert question(world).attempts == 0

    def test_is_refused_moments_after_it_was_asked(self, world: World) -> None:
        world.provider.behave("lost_answer", "lost_answer")
        top_up(world)
        world.now += timedelta(seconds=10)
        ask(world)
        world.now += timedelta(seconds=9)

        with pytest.raises(AskedJustNow):
            ask(world)

        assert verbs(world) == ["charge", "query"]

    @pytest.mark.parametrize("behaviour", ["ok", "decline"])
    def test_of_what_is_settled_asks_nobody(self, world: World, behaviour: str) -> None:
        world.provider.behave(behaviour)
        top_up(world)
        world.now += timedelta(seconds=60)

        assert not ask(world)
        assert verbs(world) == ["charge"]

    @pytest.mark.parametrize("order_id", ["tu_nothing", ""])
    def test_of_what_is_not_there_asks_nobody(self, world: World, order_id: str) -> None:
        assert not ask(world, order_id)
        assert verbs(world) == []

    def test_takes_no_step_ahead_of_its_time(self, world: World) -> None:
        world.held("unionpay")
        world.capture(200)
        with world.db.read() as conn:
            (step,) = queue_repository.of_order(conn, "gxu", "auth_1", "capture")
        assert step.status == "pending"
        world.now += timedelta(seconds=60)

        assert not ask(world, step.operation_id)
        assert verbs(world) == ["authorize"]
        assert world.auth().state is State.CAPTURED

    def test_of_another_school_asks_nobody(self, world: World) -> None:
        world.provider.behave("lost_answer")
        top_up(world)
        world.now += timedelta(seconds=60)

        assert not service.ask_now(world.db, world.providers, "other", ORDER, clock=world.clock)
        assert verbs(world) == ["charge"]

    def test_asks_once_for_many_who_ask_together(self, world: World) -> None:
        world.provider.behave("lost_answer")
        top_up(world)
        world.now += timedelta(seconds=10)

        def one(_: int) -> str:
            try:
                return "asked" if ask(world) else "settled"
            except AskedJustNow:
                return "refused"

        with ThreadPoolExecutor(4) as pool:
            told = list(pool.map(one, range(4)))

        assert told.count("asked") == 1
        assert verbs(world) == ["charge", "query"]
        assert wallet_minor(world) == 2_000


class TestReportMissing:
    def test_opens_one_case_with_what_is_known(self, world: World) -> None:
        world.provider.behave("lost_answer", *["lost_answer"] * 50)
        top_up(world)
        world.settle(seconds=600)

        first, second = report(world), report(world)

        assert first is not None
        assert second is not None
        assert first.case_id == second.case_id
        assert (first.kind, first.subject_id, first.amount_minor) == ("top_up_missing", ORDER, 2_000)
        assert first.evidence["number"] == question(world).number
        assert first.evidence["method"] == "unionpay"
        assert first.evidence["cardholder_id"] == "ch_1"
        assert first.evidence["attempts"] == question(world).attempts > 0
        assert world.cases() == [("top_up_missing", ORDER)]

    def test_is_refused_while_answers_still_come_by_themselves(self, world: World) -> None:
        world.provider.behave("lost_answer")
        top_up(world)
        world.now += REPORT_AFTER - timedelta(seconds=1)

        with pytest.raises(ReportTooEarly):
            report(world)

        assert world.cases() == []

    @pytest.mark.parametrize("behaviour", ["ok", "decline"])
    def test_of_what_is_settled_is_no_case(self, world: World, behaviour: str) -> None:
        world.provider.behave(behaviour)
        top_up(world)
        world.now += REPORT_AFTER

        assert report(world) is None
        assert world.cases() == []

    def test_of_what_is_not_there_is_refused(self, world: World) -> None:
        with pytest.raises(TopUpUnknown):
            report(world)

    def test_keeps_the_money_from_nobody(self, world: World) -> None:
        world.provider.behave("lost_answer", *["lost_answer"] * 4)
        top_up(world)
        world.now += REPORT_AFTER
        report(world)

        world.settle(seconds=3_600)

        assert top_up(world).state is TopUpState.SUCCEEDED
        assert wallet_minor(world) == 2_000
        assert_settled(world.db)
