"""While nobody can be asked, the card that opened an outlet closes it, and no other does."""

from pathlib import Path

import pytest

from gateway.contract.events import StopReason, WaterSessionEnded
from gateway.contract.messages import CredentialKind, CredentialPresented, Decision
from gateway.devices.ports import Mail
from gateway.sessions.controller import STOPPED_TEXT
from gateway.sessions.device import NO_LINK_TEXT
from gateway.sessions.starters import QUESTIONS_MAX, START_S_MAX, Starters
from tests.fakes.gateway_port import Bench
from tests.unit.gateway.sessions.test_controller import only, opening, run

CARD, OTHER = "04A1B2C3", "04D4E5F6"


def shown(
    value: str = CARD, *, request_id: str = "rq_1", kind: CredentialKind = CredentialKind.UID
) -> CredentialPresented:
    return CredentialPresented(request_id=request_id, at_ms=1, device="dev_o1", kind=kind, value=value)


def answer(reason: str = "ok", *, request_id: str = "rq_1", granted: bool = True) -> Decision:
    return Decision(request_id=request_id, device="dev_o1", granted=granted, reason=reason)


class TestMayStop:
    @pytest.mark.parametrize("answer_first", [True, False])
    def test_the_card_whose_start_was_granted(self, answer_first: bool) -> None:
        starters = Starters(b"key")
        starters.asked(shown(), 10)
        if answer_first:
            starters.decided(answer())
        starters.opened(7, 11)
        if not answer_first:
            starters.decided(answer())
        assert starters.may_stop(7, shown(request_id="rq_2"))
        assert not starters.may_stop(7, shown(OTHER))
        assert not starters.may_stop(7, shown(kind=CredentialKind.CODE))
        assert not starters.may_stop(8, shown())

    def test_a_button_whatever_runs(self) -> None:
        assert Starters(b"key").may_stop(7, shown("", kind=CredentialKind.BUTTON))

    def test_nobody_of_a_session_that_was_started_elsewhere(self) -> None:
        starters = Starters(b"key")
        starters.opened(7, 11)
        assert not starters.may_stop(7, shown())

    @pytest.mark.parametrize(
        "given", [answer("stopped"), answer(granted=False), answer(request_id="rq_9"), answer("insufficient_funds")]
    )
    def test_nobody_whose_start_was_not_granted(self, given: Decision) -> None:
        starters = Starters(b"key")
        starters.asked(shown(), 10)
        starters.decided(given)
        starters.opened(7, 11)
        assert not starters.may_stop(7, shown())

    def test_nobody_whose_start_never_came(self) -> None:
        starters = Starters(b"key")
        starters.asked(shown(), 10)
        starters.decided(answer())
        starters.opened(7, 10 + START_S_MAX + 1)
        assert not starters.may_stop(7, shown())

    def test_after_a_hand_over_the_next_and_not_the_one_before(self) -> None:
        starters = Starters(b"key")
        starters.opened(7, 11)
        starters.asked(shown(), 10)
        starters.decided(answer("handover"))
        assert not starters.may_stop(7, shown())
        starters.opened(8, 20)
        assert starters.may_stop(8, shown())

    def test_questions_nobody_answers_are_forgotten(self) -> None:
        starters = Starters(b"key")
        for number in range(QUESTIONS_MAX + 1):
            starters.asked(shown(request_id=f"rq_{number}"), 10)
        starters.decided(answer(request_id="rq_0"))
        starters.opened(7, 11)
        assert not starters.may_stop(7, shown())


class TestAnswerAlone:
    @pytest.mark.parametrize(("card", "stops"), [(CARD, True), (OTHER, False)])
    def test_closes_for_the_same_card_and_shows_what_it_did(self, tmp_path: Path, card: str, stops: bool) -> None:
        bench = Bench(tmp_path)

        def tap(value: str, sequence: int) -> None:
            bench.outlet.box.append(
                Mail(sequence=sequence, source="UID", value=value, time_s=0, stale=False, direction="in")
            )

        async def work() -> None:
            await bench.controller.cycle()
            tap(CARD, 1)
            await bench.controller.cycle()
            (question,) = bench.uplink.questions
            await bench.controller.decided(answer(request_id=question.request_id), "in")
            await bench.controller.obey(bench.order(opening()))
            bench.outlet.run_water(90)
            bench.uplink.linked = False
            tap(card, 2)
            for _ in range(3):
                await bench.controller.cycle()

        run(work())
        assert bench.outlet.now.is_open is not stops
        assert bench.outlet.shown[-1] == (STOPPED_TEXT if stops else NO_LINK_TEXT)
        if stops:
            end = only(bench, WaterSessionEnded)
            assert (end.stop_reason, end.closing_pulses) == (StopReason.CARD, 1_090)
