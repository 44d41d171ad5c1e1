"""Where the money stands: sums over everything, on both kinds of database."""

from datetime import timedelta
from pathlib import Path

import pytest

from backend.db import Database
from backend.payments import service as payments
from backend.payments import standing
from backend.payments.standing import AgeClass, Sum
from tests.fakes.web_finance import furnish, hold, open_case, propose
from tests.fakes.web_site import School, open_school


@pytest.fixture
def school(database: Database, tmp_path: Path) -> School:
    return open_school(database, tmp_path)


class TestHoldsByAge:
    def test_puts_a_hold_that_is_just_so_old_into_the_older_class(self, school: School) -> None:
        ages = (timedelta(0), timedelta(hours=1), timedelta(hours=1, milliseconds=1), timedelta(days=7, seconds=1))
        for number, age in enumerate(ages):
            hold(school, f"h{number}", age=age, amount_minor=10**number)
        with school.db.write() as conn:
            payments.void(conn, tenant_id="gxu", auth_id="auth_h0", now=school.clock.now)

        with school.db.read() as conn:
            found = standing.holds_by_age(conn, "gxu", school.clock.now)
            elsewhere = standing.holds_by_age(conn, "other", school.clock.now)

        assert found == [
            AgeClass("hour", 1, 10),
            AgeClass("day", 1, 100),
            AgeClass("week", 0, 0),
            AgeClass("older", 1, 1_000),
        ]
        assert {each.count for each in elsewhere} == {0}


class TestOldestHolds:
    def test_come_oldest_first_and_no_more_than_asked(self, school: School) -> None:
        for name, hours in (("new", 1), ("oldest", 9), ("old", 5)):
            hold(school, name, age=timedelta(hours=hours))

        with school.db.read() as conn:
            found = standing.oldest_holds(conn, "gxu", 2)

        assert [each.auth_id for each in found] == ["auth_oldest", "auth_old"]


class TestOpenCases:
    def test_are_summed_by_kind_the_oldest_first(self, school: School) -> None:
        begun = school.clock.now
        for number, kind in enumerate(("statement_only", "amount_differs", "statement_only")):
            open_case(school, f"subject-{number}", kind, amount_minor=10**number)
            school.clock.now += timedelta(minutes=1)

        with school.db.read() as conn:
            found = standing.open_cases(conn, "gxu")

        assert [(each.kind, each.count, each.amount_minor) for each in found] == [
            ("statement_only", 2, 101),
            ("amount_differs", 1, 10),
        ]
        assert found[0].since == begun


class TestWaitingEntries:
    def test_leave_out_what_has_expired(self, school: School) -> None:
        propose(school, "en_old-1", amount_minor=100)
        school.clock.now += timedelta(days=7)
        propose(school, "en_new-1", amount_minor=300)

        with school.db.read() as conn:
            assert standing.waiting_entries(conn, "gxu", school.clock.now) == Sum(1, 300)


class TestRefunds:
    def test_page_through_all_and_count_what_has_not_arrived(self, school: School) -> None:
        furnish(school)
        with school.db.read() as conn:
            auth_id = standing.refunds(conn, "gxu", limit=1)[0].auth_id
        for number in range(3):
            with school.db.write() as conn:
                payments.request_refund(
                    conn, tenant_id="gxu", refund_id=f"rf_{number}", auth_id=auth_id, amount_minor=1, reason="staff",
                    now=school.clock.now,
                )  # fmt: skip

        with school.db.read() as conn:
            first = standing.refunds(conn, "gxu", state="done", limit=2)
            rest = standing.refunds(conn, "gxu", state="done", after=first[-1].refund_id, limit=5)
            owed = standing.unpaid_refunds(conn, "gxu")

        assert {each.refund_id for each in first + rest} == {"rf_office", "rf_0", "rf_1", "rf_2"}
        assert len(first + rest) == 4
        assert owed == Sum(0, 0)
