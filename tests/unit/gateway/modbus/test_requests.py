import asyncio
from collections.abc import Callable
from itertools import permutations, product
from typing import Any

import pytest

from gateway.modbus.frames import TcpAnswer
from gateway.modbus.requests import (
    FAILURES_BEFORE_BACKOFF,
    QUEUE_MAX,
    Declined,
    Desk,
    NoAnswer,
    NotTried,
    Priority,
    Request,
)

ORDER = ["CLOSE", "OPEN", "EXTEND", "MAILBOX", "HOT", "LOG", "FLAGS", "SLOW", "LOOK", "SPARE"]


def at_a_desk(work: Callable[[Desk, asyncio.AbstractEventLoop], None]) -> None:
    async def run() -> None:
        work(Desk("l1"), asyncio.get_running_loop())

    asyncio.run(run())


def asked(loop: asyncio.AbstractEventLoop, priority: Priority, unit: int = 1) -> Request:
    return Request(unit, int(priority), lambda client: None, loop.create_future())


def waiting(request: Request) -> "asyncio.Future[Any]":
    assert isinstance(request.answer, asyncio.Future)
    return request.answer


def fail_quietly(request: Request) -> BaseException | None:
    return waiting(request).exception()


class TestPriority:
    def test_is_the_order_of_what_matters(self) -> None:
        assert [priority.name for priority in sorted(Priority)] == ORDER


class TestTake:
    @pytest.mark.parametrize(("first", "second"), [pair for pair in permutations(ORDER, 2)])
    def test_of_any_two_the_more_urgent_goes_first_whichever_came_first(self, first: str, second: str) -> None:
        def work(desk: Desk, loop: asyncio.AbstractEventLoop) -> None:
            for name in (first, second):
                desk.put(asked(loop, Priority[name]))

            taken = [desk.take(), desk.take()]

            wanted = sorted((first, second), key=ORDER.index)
            assert [Priority(request.priority).name for request in taken if request] == wanted
            assert desk.take() is None

        at_a_desk(work)

    def test_of_equals_the_one_that_came_first_goes_first(self) -> None:
        def work(desk: Desk, loop: asyncio.AbstractEventLoop) -> None:
            for unit, priority in product((3, 1, 2), (Priority.HOT, Priority.CLOSE)):
                desk.put(asked(loop, priority, unit))

            taken = [desk.take() for _ in range(6)]

            assert [request.unit for request in taken if request] == [3, 1, 2, 3, 1, 2]

        at_a_desk(work)

    def test_leaves_out_whom_nobody_waits_for(self) -> None:
        def work(desk: Desk, loop: asyncio.AbstractEventLoop) -> None:
            gone = asked(loop, Priority.CLOSE)
            desk.put(gone)
            desk.put(asked(loop, Priority.SLOW, unit=2))
            waiting(gone).cancel()

            taken = desk.take()

            assert taken is not None
            assert taken.unit == 2

        at_a_desk(work)

    def test_holds_what_is_for_a_unit_that_is_still_answering_and_keeps_its_place(self) -> None:
        def work(desk: Desk, loop: asyncio.AbstractEventLoop) -> None:
            for unit, priority in ((1, Priority.CLOSE), (2, Priority.SLOW), (1, Priority.FLAGS)):
                desk.put(asked(loop, priority, unit))

            other = desk.take(busy={1})
            none = desk.take(busy={1, 2})
            desk.release(1)
            held = [desk.take(), desk.take()]

            assert other is not None
            assert other.unit == 2
            assert none is None
            assert [request.priority for request in held if request] == [Priority.CLOSE, Priority.FLAGS]

        at_a_desk(work)


class TestPut:
    def test_is_bounded(self) -> None:
        def work(desk: Desk, loop: asyncio.AbstractEventLoop) -> None:
            for _ in range(QUEUE_MAX):
                desk.put(asked(loop, Priority.SLOW))

            with pytest.raises(NotTried, match="overloaded"):
                desk.put(asked(loop, Priority.CLOSE))

        at_a_desk(work)

    @pytest.mark.parametrize("name", ORDER)
    def test_a_unit_that_rests_is_only_closed(self, name: str) -> None:
        def work(desk: Desk, loop: asyncio.AbstractEventLoop) -> None:
            desk.record(1).failures = FAILURES_BEFORE_BACKOFF
            desk.put(asked(loop, Priority.SLOW))  # the one probe
            if name in ("CLOSE", "LOOK"):
                desk.put(asked(loop, Priority[name]))
            else:
                with pytest.raises(NotTried, match="resting"):
                    desk.put(asked(loop, Priority[name]))

        at_a_desk(work)

    def test_one_resting_unit_at_most_is_tried_in_a_while(self) -> None:
        def work(desk: Desk, loop: asyncio.AbstractEventLoop) -> None:
            for unit in range(1, 20):
                desk.record(unit).failures = FAILURES_BEFORE_BACKOFF
            tried = 0
            for unit in range(1, 20):
                try:
                    desk.put(asked(loop, Priority.FLAGS, unit))
                except NotTried:
                    continue
                tried += 1

            assert tried == 1

        at_a_desk(work)


class TestAnswered:
    def test_passes_on_what_came(self) -> None:
        def work(desk: Desk, loop: asyncio.AbstractEventLoop) -> None:
            request = asked(loop, Priority.HOT)
            desk.record(1).failures = 1

            desk.answered(request, TcpAnswer(b"\x04\x04\x00\x01\x00\x02"))

            assert list(waiting(request).result().registers) == [1, 2]
            assert desk.record(1).failures == 0

        at_a_desk(work)

    def test_an_exception_of_the_unit_is_an_answer(self) -> None:
        def work(desk: Desk, loop: asyncio.AbstractEventLoop) -> None:
            request = asked(loop, Priority.HOT)

            desk.answered(request, TcpAnswer(b"\x84\x02"))

            assert isinstance(fail_quietly(request), Declined)
            assert (desk.record(1).failures, desk.errors) == (0, 1)

        at_a_desk(work)

    @pytest.mark.parametrize("code", [10, 11])
    def test_an_exception_of_a_box_in_between_is_silence(self, code: int) -> None:
        def work(desk: Desk, loop: asyncio.AbstractEventLoop) -> None:
            request = asked(loop, Priority.HOT)

            desk.answered(request, TcpAnswer(bytes((0x84, code))))

            assert isinstance(fail_quietly(request), NoAnswer)
            assert desk.record(1).failures == 1

        at_a_desk(work)


class TestSent:
    @pytest.mark.parametrize("priority", [p for p in Priority if p != Priority.SPARE])
    def test_counts_the_time_it_took(self, priority: Priority) -> None:
        def work(desk: Desk, loop: asyncio.AbstractEventLoop) -> None:
            desk.sent(asked(loop, priority), 0.25)
            desk.sent(asked(loop, priority), 0.5)

            assert (desk.requests, desk.busy_s) == (2, 0.75)

        at_a_desk(work)

    def test_spare_time_that_is_used_is_no_load(self) -> None:
        def work(desk: Desk, loop: asyncio.AbstractEventLoop) -> None:
            desk.sent(asked(loop, Priority.SPARE), 0.25)

            assert (desk.requests, desk.busy_s) == (1, 0.0)

        at_a_desk(work)


class TestSilent:
    def test_says_nothing_of_a_unit_that_may_not_exist(self) -> None:
        def work(desk: Desk, loop: asyncio.AbstractEventLoop) -> None:
            request = asked(loop, Priority.LOOK, unit=9)

            desk.silent(request, "nothing")

            assert isinstance(fail_quietly(request), NoAnswer)
            assert (desk.errors, 9 in desk.units) == (0, False)

        at_a_desk(work)


class TestGiveUp:
    def test_nobody_waits_for_ever(self) -> None:
        def work(desk: Desk, loop: asyncio.AbstractEventLoop) -> None:
            waiting = [asked(loop, priority) for priority in Priority]
            for request in waiting:
                desk.put(request)
            desk.take(busy={1})

            desk.give_up()

            assert all(isinstance(fail_quietly(request), NotTried) for request in waiting)

        at_a_desk(work)
