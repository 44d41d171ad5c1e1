"""Daily statements: fetched once, and the last word on what nobody answered."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from backend.payments import cases, orders, service
from backend.payments.order_numbers import order_no, step_nos
from backend.payments.service import State, TopUpState
from backend.statements.service import days, import_file
from backend.tenants import service as tenants
from tests.factories import NOW
from tests.fakes.provider import Row
from tests.unit.backend.payments.books import ZONE, assert_settled, balance, import_days
from tests.unit.backend.payments.conftest import World
from tests.unit.backend.statements.writing import UNIONPAY_MERCHANT, Said, unionpay_zip, zm

TODAY = NOW.astimezone(ZONE).date()
TOMORROW = TODAY + timedelta(days=1)
_CUT = ["lost_answer"] * 400


def a_file(day: date) -> tuple[str, bytes]:
    """Return a provider's file with one row."""
    noon = datetime.combine(day, time(12))
    return "file.zip", unionpay_zip([Said("payment", "order00001", "", "1" * 21, 350, 0, noon, "01")], day=day)


@pytest.fixture
def world(world: World) -> World:
    """Return a world whose tenant is a school."""
    with world.db.write() as conn:
        tenants.create(conn, tenants.Tenant("gxu", "广西大学", "Guangxi University"))
    return world


def read(world: World) -> int:
    """Settle what the imported statements settle."""
    return service.resolve_from_statements(world.db, "gxu", clock=world.clock)


def top_up(world: World, *behaviours: str) -> None:
    """Top up through a provider that then answers nothing."""
    world.provider.behave(*behaviours, *_CUT)
    service.top_up(world.db, world.providers, "gxu", "ch_1", "unionpay", 500, "request-0001", world.clock)
    world.resolve(seconds=10)


def state(world: World) -> TopUpState:
    """Return the top-up's state."""
    with world.db.read() as conn:
        return service.find_top_up(conn, "gxu", "tu_request-0001").state


class TestResolveFromStatements:
    def test_a_row_says_that_it_was_taken(self, world: World) -> None:
        top_up(world, "lost_answer")
        import_days(world.db, world.provider, [TODAY])

        assert (read(world), read(world)) == (1, 0)
        assert state(world) is TopUpState.SUCCEEDED
        assert balance(world.db, "cardholder_wallet/ch_1") == 500
        assert balance(world.db, "provider_receivable/unionpay") == 500 == world.provider.owed_minor("gxu")
        with world.db.read() as conn:
            (line,) = service.wallet_entries(conn, "gxu", "ch_1", 9)
        assert (line.event_at, line.recorded_at) == (NOW, world.now)  # paid at once, read ten seconds later

    def test_no_row_in_two_days_says_that_it_was_not(self, world: World) -> None:
        top_up(world, "lost_request")
        import_days(world.db, world.provider, [TODAY])
        assert read(world) == 0
        assert state(world) is TopUpState.CHECKING
        import_days(world.db, world.provider, [TOMORROW])

        assert read(world) == 1
        assert state(world) is TopUpState.DECLINED
        assert balance(world.db, "provider_receivable/unionpay") == 0

    def test_no_row_in_a_file_that_may_be_cut_off_says_nothing(self, world: World) -> None:
        top_up(world, "lost_request")
        import_days(world.db, world.provider, [TODAY])
        noon = datetime.combine(TOMORROW, time(12))
        rows = [Said("payment", "order00001", "", "1" * 21, 350, 0, noon, "01")]
        moment = datetime.combine(TOMORROW + timedelta(days=1), time(12), ZONE)
        for data, settled, after in (
            (zm(rows), 0, TopUpState.CHECKING),
            (unionpay_zip(rows, day=TOMORROW), 1, TopUpState.DECLINED),
        ):
            with world.db.write() as conn:
                import_file(conn, tenant_id="gxu", method="unionpay", day=TOMORROW, name="x", data=data, now=moment)
            assert read(world) == settled
            assert state(world) is after

    def test_a_row_of_the_next_day_counts(self, world: World) -> None:
        top_up(world, "late_request")
        world.now += timedelta(hours=8)
        world.provider.deliver_late()
        import_days(world.db, world.provider, [TODAY])
        assert read(world) == 0
        import_days(world.db, world.provider, [TOMORROW])

        assert read(world) == 1
        assert state(world) is TopUpState.SUCCEEDED

    def test_what_was_abandoned_is_settled_too(self, world: World) -> None:
        top_up(world, "lost_answer")
        world.resolve(seconds=4 * 86_400)
        assert world.cases() == [("unknown_abandoned", "tu_request-0001")]
        import_days(world.db, world.provider, [TODAY])

        assert read(world) == 1
        assert state(world) is TopUpState.SUCCEEDED
        with world.db.read() as conn:
            assert service.unknowns(conn, "gxu") == []

    def test_another_amount_is_a_case_and_settles_nothing(self, world: World) -> None:
        top_up(world, "lost_answer")
        row = world.provider.rows[0]
        world.provider.rows = [type(row)(row.tenant_id, row.at, row.kind, row.order_no, row.operation_no, 501)]
        import_days(world.db, world.provider, [TODAY, TOMORROW])

        assert read(world) == 0
        assert state(world) is TopUpState.CHECKING
        assert world.cases() == [("amount_differs", "tu_request-0001")]

    def test_one_that_went_back_the_same_day_was_not_taken(self, world: World) -> None:
        top_up(world, "lost_answer")
        row = world.provider.rows[0]
        world.provider.rows.append(type(row)(row.tenant_id, row.at, "refund", row.order_no, "op", -500))
        import_days(world.db, world.provider, [TODAY])

        assert read(world) == 1
        assert state(world) is TopUpState.DECLINED

    def test_an_order_given_up_that_was_paid_is_undone_and_a_case(self, world: World) -> None:
        world.wechat.tombstones = False
        world.wechat.behave("late_request")
        world.held("wechat")
        world.void()
        world.settle(seconds=2 * 86_400)
        world.wechat.clock = lambda: NOW
        world.wechat.deliver_late()
        import_days(world.db, world.wechat, [TODAY])

        assert (read(world), read(world)) == (1, 0)
        world.settle(seconds=10)
        assert world.wechat.owed_minor("gxu") == 0
        assert world.cases() == [("late_success", "auth_1")]
        assert_settled(world.db)

    def test_an_order_given_up_that_was_given_back_is_left_alone(self, world: World) -> None:
        world.wechat.behave("lost_answer")
        world.held("wechat")
        world.void()
        world.settle(seconds=60)
        calls = list(world.wechat.calls)
        import_days(world.db, world.wechat, [TODAY])

        assert read(world) == 0
        world.resolve(seconds=1)
        assert world.wechat.calls == calls

    def test_a_hold_that_is_in_no_file_stays_open(self, world: World) -> None:
        world.provider.behave("lost_answer", *_CUT)
        world.held("unionpay")
        world.resolve(seconds=10)
        import_days(world.db, world.provider, [TODAY, TOMORROW])

        assert read(world) == 0
        assert world.auth().state is State.UNKNOWN

    @pytest.mark.parametrize("method", ["unionpay", "wechat"])
    def test_a_refund_is_settled_by_its_row(self, world: World, method: str) -> None:
        world.held(method)
        world.capture(200)
        world.settle(seconds=60)
        world.refund(80)
        world.at(method).behave("lost_answer", *_CUT)
        world.resolve(seconds=1)
        import_days(world.db, world.at(method), [TODAY])

        assert read(world) == 1
        with world.db.read() as conn:
            assert service.refund(conn, "gxu", "rf_1").state == "done"
        assert balance(world.db, f"provider_receivable/{method}") == 120 == world.at(method).owed_minor("gxu")

    @pytest.mark.parametrize("status", ["PROCESSING", "CHANGE", "FAIL"])
    def test_a_refund_that_is_listed_but_not_done_stays_open(self, world: World, status: str) -> None:
        world.held("wechat")
        world.capture(200)
        world.settle(seconds=60)
        world.refund(80)
        world.wechat.behave("lost_answer", *_CUT)
        world.resolve(seconds=1)
        world.resolve(seconds=4 * 86_400)
        asked_on = [TODAY + timedelta(days=number) for number in range(7)]
        import_days(world.db, world.wechat, asked_on, status=status)

        assert read(world) == 0
        with world.db.read() as conn:
            assert service.refund(conn, "gxu", "rf_1").state == "requested"

    def test_a_deposit_given_back_whole_is_settled_by_the_orders_rows(self, world: World) -> None:
        world.held("wechat")
        world.void()
        world.wechat.behave("lost_answer", *_CUT)
        world.resolve(seconds=1)
        for at, row in enumerate(world.wechat.rows):
            world.wechat.rows[at] = type(row)(row.tenant_id, row.at, row.kind, row.order_no, "", row.amount_minor)
        import_days(world.db, world.wechat, [TODAY])

        assert read(world) == 1
        assert balance(world.db, "refunds_payable/wechat") == 0 == balance(world.db, "provider_receivable/wechat")

    def test_a_capture_is_settled_by_its_row_and_written_off_without_one(self, world: World) -> None:
        for number, behaviour in ((1, "lost_answer"), (2, "lost_request")):
            world.provider.forget_behaviours()
            world.held("unionpay", 300, f"auth_{number}")
            world.capture(100 * number, f"cap_{number}", f"auth_{number}")
            world.provider.behave(behaviour, *_CUT)
            world.resolve(seconds=1)
        import_days(world.db, world.provider, [TODAY, TOMORROW])
        assert read(world) == 1
        assert balance(world.db, "operator_loss") == 0
        world.resolve(seconds=10)
        world.resolve(seconds=4 * 86_400)
        asked_on = [TODAY + timedelta(days=number) for number in range(2, 7)]
        import_days(world.db, world.provider, asked_on)

        assert read(world) == 1
        assert balance(world.db, "operator_loss") == 200
        assert balance(world.db, "provider_receivable/unionpay") == 100 == world.provider.owed_minor("gxu")
        assert ("capture_refused", "cap_2.capture") in world.cases()
        assert_settled(world.db)

    @pytest.mark.parametrize(("method", "round_number"), [("unionpay", 0), ("unionpay", 1), ("wechat", 0)])
    def test_a_refund_refused_and_then_listed_is_booked_once(
        self, world: World, method: str, round_number: int
    ) -> None:
        world.held(method)
        world.capture(120)
        world.settle(seconds=60)
        world.refund(80)
        world.at(method).behave("decline")
        world.settle(seconds=60)
        refused = balance(world.db, f"refunds_payable/{method}")
        with world.db.read() as conn:
            refused_step = service.unknowns(conn, "gxu")[0]
        assert step_nos(refused_step.operation_id)[0] == refused_step.number
        number = step_nos(refused_step.operation_id)[round_number]
        world.at(method).rows.append(Row("gxu", world.now, "refund", order_no("auth_1"), number, -80))
        import_days(world.db, world.at(method), [TODAY])

        assert (refused, read(world), read(world)) == (80, 1, 0)
        assert balance(world.db, f"refunds_payable/{method}") == 0
        with world.db.read() as conn:
            assert service.refund(conn, "gxu", "rf_1").state == "done"
            assert cases.cases(conn, "gxu", state="open", limit=9) == []
        assert_settled(world.db)

    def test_one_that_runs_into_a_bug_leaves_the_others_theirs(
        self, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        top_up(world, "lost_answer")
        world.provider.forget_behaviours()
        world.provider.behave("lost_answer")
        service.top_up(world.db, world.providers, "gxu", "ch_1", "unionpay", 900, "request-0003", world.clock)
        import_days(world.db, world.provider, [TODAY])
        real = orders.apply_answer

        def buggy(conn: Connection, tenant_id: str, order: str, *args: Any, **more: Any) -> Any:
            after = real(conn, tenant_id, order, *args, **more)
            if order == "tu_request-0001":
                raise AssertionError("a bug")
            return after

        monkeypatch.setattr(orders, "apply_answer", buggy)

        assert read(world) == 1
        assert state(world) is TopUpState.CHECKING
        assert balance(world.db, "cardholder_wallet/ch_1") == 900
        assert "not settled by statement" in caplog.text
        monkeypatch.undo()
        assert read(world) == 1
        assert balance(world.db, "cardholder_wallet/ch_1") == 1_400

    def test_days_are_the_schools_not_greenwichs(self, world: World) -> None:
        world.now = datetime(2026, 11, 22, 17, tzinfo=UTC)  # 01:00 on the 23rd at the school
        top_up(world, "lost_request")
        import_days(world.db, world.provider, [TODAY, TOMORROW])
        assert read(world) == 0
        import_days(world.db, world.provider, [TOMORROW + timedelta(days=1)])

        assert read(world) == 1
        assert state(world) is TopUpState.DECLINED

    def test_no_file_of_the_day_before_is_needed_for_what_was_sent_after_midnight(self, world: World) -> None:
        world.now = datetime(2026, 11, 22, 17, tzinfo=UTC)
        top_up(world, "lost_request")
        import_days(world.db, world.provider, [TOMORROW, TOMORROW + timedelta(days=1)])

        assert read(world) == 1

    def test_silence_about_a_step_counts_from_when_it_was_last_asked_for(self, world: World) -> None:
        world.held("unionpay")
        world.capture(120)
        world.provider.behave("lost_request", *["lost_request"] * 400)
        for wait_s in (1, 86_400 * 2, 86_400 * 2):
            world.resolve(seconds=wait_s)
        import_days(world.db, world.provider, [TODAY, TOMORROW])
        assert read(world) == 0
        import_days(world.db, world.provider, [TOMORROW + timedelta(days=number) for number in range(1, 5)])

        assert read(world) == 1
        assert balance(world.db, "operator_loss") == 120

    def test_a_step_listed_with_another_amount_is_a_case_and_stays_open(self, world: World) -> None:
        world.held("unionpay")
        world.capture(120)
        world.provider.behave("lost_answer", *_CUT)
        world.resolve(seconds=1)
        (listed,) = world.provider.rows
        world.provider.rows[0] = replace(listed, amount_minor=119)
        import_days(world.db, world.provider, [TODAY])

        assert read(world) == 0
        assert world.cases() == [("amount_differs", "cap_1.capture")]
        with world.db.read() as conn:
            assert [each.status for each in service.unknowns(conn, "gxu")] == ["pending"]

    def test_a_capture_may_be_listed_as_a_payment(self, world: World) -> None:
        world.held("unionpay")
        world.capture(120)
        world.provider.behave("lost_answer", *_CUT)
        world.resolve(seconds=1)
        (listed,) = world.provider.rows
        world.provider.rows[0] = replace(listed, kind="payment")
        import_days(world.db, world.provider, [TODAY])

        assert read(world) == 1
        with world.db.read() as conn:
            assert service.unknowns(conn, "gxu") == []

    def test_a_step_still_asked_about_is_not_settled_by_silence(self, world: World) -> None:
        world.held("unionpay")
        world.capture(120)
        world.provider.behave("lost_request", *_CUT)
        world.resolve(seconds=1)
        import_days(world.db, world.provider, [TODAY, TOMORROW])

        assert read(world) == 0


class TestFetchStatements:
    def _fetch(self, world: World) -> list[date]:
        found = service.fetch_statements(world.db, world.providers, "gxu", clock=world.clock)
        return [file.day for file in found]

    def _asked(self, world: World) -> list[str]:
        return [subject for verb, subject in world.provider.calls if verb == "statement"]

    def test_yesterdays_file_is_asked_for_from_ten_o_clock_until_it_is_there(self, world: World) -> None:
        world.held("unionpay")
        world.now = datetime(2026, 11, 23, 1, 59, tzinfo=UTC)  # 09:59 at the school
        assert self._fetch(world) == []
        assert self._asked(world) == []
        world.now += timedelta(minutes=1)
        assert self._fetch(world) == []
        world.provider.files[TODAY] = a_file(TODAY)

        assert self._fetch(world) == [TODAY]
        assert self._fetch(world) == []
        assert self._asked(world) == ["gxu/2026-11-22"] * 2
        with world.db.read() as conn:
            assert days(conn, "gxu", "unionpay") == [TODAY]

    def test_a_day_that_was_missed_is_asked_for_later_but_not_forever(self, world: World) -> None:
        world.held("unionpay")
        world.now = datetime(2026, 11, 25, 4, tzinfo=UTC)
        self._fetch(world)
        assert self._asked(world) == ["gxu/2026-11-22", "gxu/2026-11-23", "gxu/2026-11-24"]
        world.provider.calls.clear()
        world.now = datetime(2026, 12, 9, 4, tzinfo=UTC)
        self._fetch(world)

        assert self._asked(world) == ["gxu/2026-12-06", "gxu/2026-12-07", "gxu/2026-12-08"]

    def test_the_first_day_is_the_schools(self, world: World) -> None:
        world.now = datetime(2026, 11, 22, 17, tzinfo=UTC)  # 01:00 on the 23rd at the school
        world.held("unionpay")
        world.now = datetime(2026, 11, 24, 4, tzinfo=UTC)
        self._fetch(world)

        assert self._asked(world) == ["gxu/2026-11-23"]

    def test_a_provider_that_was_never_used_is_not_asked(self, world: World) -> None:
        world.now += timedelta(days=5)

        assert self._fetch(world) == []
        assert self._asked(world) == []

    def test_another_merchants_file_is_refused(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        world.held("unionpay")
        world.now += timedelta(days=1)
        world.provider.files[TODAY] = a_file(TODAY)
        monkeypatch.setattr(type(world.provider), "merchant_no", lambda provider, tenant_id: "999999999999999")
        assert self._fetch(world) == []
        monkeypatch.setattr(type(world.provider), "merchant_no", lambda provider, tenant_id: UNIONPAY_MERCHANT)

        assert self._fetch(world) == [TODAY]

    def test_a_provider_that_runs_into_a_bug_stops_no_other(
        self, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        world.held("wechat")
        world.held("unionpay", auth_id="auth_2")
        world.now = datetime.combine(TOMORROW, time(10), ZONE)
        world.provider.files[TODAY] = a_file(TODAY)

        def buggy(*_: object) -> tuple[str, bytes] | None:
            raise KeyError("a bug")

        monkeypatch.setattr(world.wechat, "statement", buggy)
        fetched = service.fetch_statements(
            world.db, {"wechat": world.wechat, "unionpay": world.provider}, "gxu", clock=world.clock
        )

        assert [(file.method, file.day) for file in fetched] == [("unionpay", TODAY)]
        assert "statement not read" in caplog.text

    def test_a_file_that_is_refused_stops_nothing(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        world.held("unionpay")
        world.now += timedelta(days=1)
        world.provider.files[TODAY] = ("broken.zip", b"no zip")

        assert self._fetch(world) == []
        assert "statement refused" in caplog.text
