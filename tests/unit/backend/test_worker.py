"""Duties run by the clock and end when told; a failure of our own ends the worker."""

import threading
import time as clocks
from datetime import datetime, time, timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from backend import worker
from backend.db import Database
from backend.payments import service as payments
from backend.worker import Duty
from tests.fakes.provider import FakeProvider
from tests.fakes.web_site import open_school
from tests.patience import PATIENCE_S
from tests.unit.backend.statements.writing import Said, unionpay_zip


class TestDuty:
    def test_runs_again_and_again_until_stopped(self) -> None:
        thrice = threading.Semaphore(0)
        duty = Duty("count", 0.001, thrice.release)

        duty.start()
        seen = [thrice.acquire(timeout=PATIENCE_S) for _ in range(3)]
        duty.stop()
        duty.join(PATIENCE_S)

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

        assert done.wait(PATIENCE_S)
        duty.stop()
        duty.join(PATIENCE_S)
        assert duty.failure is None

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_keeps_a_failure_of_our_own(self) -> None:
        def work() -> None:
            raise AssertionError("a bug")

        duty = Duty("bug", 0.001, work)
        duty.start()
        duty.join(PATIENCE_S)

        assert isinstance(duty.failure, AssertionError)

    def test_does_not_wait_for_its_next_time_when_stopped(self) -> None:
        begun = threading.Event()
        duty = Duty("slow", 60, begun.set)
        duty.start()
        assert begun.wait(5)
        before = clocks.monotonic()

        duty.stop()
        duty.join(PATIENCE_S)

        assert clocks.monotonic() - before < 4


class TestDuties:
    def test_statements_are_fetched_and_settle_what_nobody_answered(self, database: Database, tmp_path: Path) -> None:
        school = open_school(database, tmp_path, with_tariff=False)
        provider = FakeProvider("unionpay", clock=school.clock)
        school.backend.context.providers["unionpay"] = provider  # type: ignore[index]
        provider.behave("lost_answer")
        ctx = school.backend.context
        payments.top_up(ctx.db, ctx.providers, "gxu", "ch_wang", "unionpay", 500, "request-9", ctx.clock)
        day = school.clock.now.date()
        noon = datetime.combine(day, time(12))
        order = Said("payment", provider.rows[0].order_no, "", "1" * 21, 500, 0, noon, "01")
        provider.files[day] = ("file.zip", unionpay_zip([order], day=day))
        school.clock.now += timedelta(days=1)

        (duty,) = [each for each in worker.duties(school.backend) if each.name == "statements"]
        duty.start()
        duty.stop()
        duty.join(20)

        with database.read() as conn:
            assert payments.find_top_up(conn, "gxu", "tu_request-9").state is payments.TopUpState.SUCCEEDED
