"""Duties run by the clock and end when told; a failure of our own ends the worker."""

import threading
import time as clocks
from datetime import datetime, time, timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from backend import worker
from backend.db import Database
from backend.ledger import service as ledger
from backend.payments import credit_limits, proving, staff_entries
from backend.payments import service as payments
from backend.tenants import service as tenants
from backend.worker import Duty
from tests.fakes.provider import FakeProvider
from tests.fakes.web_site import open_school
from tests.patience import PATIENCE_S
from tests.unit.backend.statements.writing import Said, unionpay_zip

_DUTY_OF = {"fetch_statements": "statements", "resolve_from_statements": "statements", "expire_due": "expire"}


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
        duty = Duty("slow", 10 * PATIENCE_S, begun.set)
        duty.start()
        assert begun.wait(PATIENCE_S)
        before = clocks.monotonic()

        duty.stop()
        duty.join(PATIENCE_S)

        assert clocks.monotonic() - before < PATIENCE_S


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
        duty.join(PATIENCE_S)

        with database.read() as conn:
            assert payments.find_top_up(conn, "gxu", "tu_request-9").state is payments.TopUpState.SUCCEEDED

    @pytest.mark.parametrize("name", ["fetch_statements", "resolve_from_statements", "expire_due"])
    def test_a_bug_that_one_schools_data_brings_out_stops_neither_the_others_nor_the_worker(
        self,
        database: Database,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        name: str,
    ) -> None:
        school = open_school(database, tmp_path, with_tariff=False)
        with database.write() as conn:
            tenants.create(conn, tenants.Tenant("other", "另一所大学", "Another University"))
            tenant_ids = [each.tenant_id for each in tenants.list_all(conn)]
        done: list[str] = []

        def buggy(_db: object, second: object, third: object = "", *_: object, **_more: object) -> int:
            tenant_id = second if isinstance(second, str) else third
            done.append(str(tenant_id))
            if tenant_id == tenant_ids[0]:
                raise LookupError("a bug")
            return 0

        monkeypatch.setattr(payments, name, buggy)
        duty = next(each for each in worker.duties(school.backend) if each.name == _DUTY_OF[name])
        duty.start()
        duty.stop()
        duty.join(PATIENCE_S)

        assert duty.failure is None
        assert done == tenant_ids
        assert "duty failed for a school" in caplog.text

    def test_books_are_proven_and_credits_end(self, database: Database, tmp_path: Path) -> None:
        school = open_school(database, tmp_path)
        with database.write() as conn:
            staff_entries.propose(
                conn,
                tenant_id="gxu",
                entry_id="cl_1",
                kind="credit_limit",
                cardholder_id="ch_wang",
                amount_minor=500,
                reason="a guest until Friday",
                proposed_by=school.person("fin").cardholder_id,
                now=school.clock.now,
                ends_at=school.clock.now + timedelta(days=1),
            )
            approver = school.person("approver").cardholder_id
            staff_entries.approve(conn, tenant_id="gxu", entry_id="cl_1", approved_by=approver, now=school.clock.now)
        school.clock.now += timedelta(days=1)

        for duty in worker.duties(school.backend):
            if duty.name in ("expire", "books"):
                duty.start()
                duty.stop()
                duty.join(PATIENCE_S)
                assert duty.failure is None

        with database.read() as conn:
            assert credit_limits.credit(conn, "gxu", "ch_wang") is None
            proof = proving.last(conn, "gxu")
            assert proof is not None
            assert (proof.proven_number, proof.discrepancies) == (ledger.last_number(conn, "gxu"), 0)

    def test_hours_later_holds_and_proposals_past_their_time_are_over(self, database: Database, tmp_path: Path) -> None:
        school = open_school(database, tmp_path)
        with database.write() as conn:
            payments.open_authorization(
                conn,
                tenant_id="gxu",
                auth_id="auth_old",
                water_session_id="ws_old",
                cardholder_id="ch_wang",
                method="wallet",
                amount_minor=100,
                expires_at=school.clock.now + timedelta(hours=26),
                now=school.clock.now,
            )
            staff_entries.propose(
                conn,
                tenant_id="gxu",
                entry_id="en_old",
                kind="cash_top_up",
                cardholder_id="ch_wang",
                amount_minor=2_000,
                reason="the counter's receipt 17",
                proposed_by=school.person("fin").cardholder_id,
                now=school.clock.now,
            )

        def after(wait: timedelta) -> tuple[str, str]:
            school.clock.now += wait
            (duty,) = [each for each in worker.duties(school.backend) if each.name == "expire"]
            duty.start()
            duty.stop()
            duty.join(PATIENCE_S)
            assert duty.failure is None
            with database.read() as conn:
                auth = payments.authorization(conn, "gxu", "auth_old")
                return auth.state.value, staff_entries.entry(conn, "gxu", "en_old").state

        seconds, rest = timedelta(seconds=1), timedelta(days=7) - timedelta(hours=26)
        assert after(timedelta(hours=26) - seconds) == ("held", "proposed")
        assert after(seconds) == ("voided", "proposed")
        assert after(rest - seconds) == ("voided", "proposed")
        assert after(seconds) == ("voided", "expired")
