"""Duties run by the clock and end when told; a failure of our own ends the worker."""

import threading
import time

import pytest
from sqlalchemy.exc import OperationalError

from backend.worker import Duty


class TestDuty:
    def test_runs_again_and_again_until_stopped(self) -> None:
        thrice = threading.Semaphore(0)
        duty = Duty("count", 0.001, thrice.release)

        duty.start()
        seen = [thrice.acquire(timeout=5) for _ in range(3)]
        duty.stop()
        duty.join(5)

        assert seen == [True, True, True]
        assert duty.failure is None

    def test_goes_on_after_a_lost_database(self) -> None:
        done = threading.Event()
        tries = []

        def work() -> None:
            tries.append(1)
            if len(tries) == 1:
                raise OperationalError("SELECT 1", {}, Exception("gone"))
            done.set()

        duty = Duty("lost", 0.001, work)
        duty.start()

        assert done.wait(5)
        duty.stop()
        duty.join(5)
        assert duty.failure is None

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_keeps_a_failure_of_our_own(self) -> None:
        def work() -> None:
            raise AssertionError("a bug")

        duty = Duty("bug", 0.001, work)
        duty.start()
        duty.join(5)

        assert isinstance(duty.failure, AssertionError)

    def test_does_not_wait_for_its_next_time_when_stopped(self) -> None:
        begun = threading.Event()
        duty = Duty("slow", 60, begun.set)
        duty.start()
        assert begun.wait(5)
        before = time.monotonic()

        duty.stop()
        duty.join(5)

        assert time.monotonic() - before < 4
