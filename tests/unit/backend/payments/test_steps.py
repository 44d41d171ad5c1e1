"""Steps whose answer is missing: asked about first, said again the same, settled once; refusals are cases."""

from datetime import timedelta

import pytest

from backend.ledger import service as ledger
from backend.ledger.rules import TransferKind, TransferRequest
from backend.payments import cases, queue_repository, service, steps
from backend.payments.port import NOT_FOUND, Answer, Declined, Order, Step, Succeeded, Unknown
from backend.payments.rules import Source
from backend.payments.types import Operation
from tests.unit.backend.payments.books import assert_settled, balance
from tests.unit.backend.payments.conftest import World
from tests.unit.backend.payments.office import Office

#: Which rows are written is the same on both databases; `test_random_lives` and `test_service` look at both.
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def told(world: World) -> list[str]:
    """Return what the provider was told and asked after the order itself."""
    return [verb for verb, _ in world.provider.calls][1:]


def statuses(world: World) -> list[tuple[str, str]]:
    """Return what is unsettled."""
    with world.db.read() as conn:
        return [(row.operation_id, row.status) for row in service.unknowns(conn, "gxu")]


class TestResolveDue:
    @pytest.mark.parametrize(
        ("behaviours", "calls"),
        [
            (["ok"], ["capture"]),
            (["lost_answer"], ["capture", "query_step"]),
            (["lost_request"], ["capture", "query_step", "capture"]),
            (["lost_answer", "lost_answer"], ["capture", "query_step", "query_step"]),
            (["lost_request", "ok", "lost_answer"], ["capture", "query_step", "capture", "query_step"]),
        ],
    )
    def test_a_step_is_asked_about_before_it_is_said_again(
        self, world: World, behaviours: list[str], calls: list[str]
    ) -> None:
        world.held("unionpay")
        world.capture(120)
        world.provider.behave(*behaviours)
        world.settle()

        assert told(world) == calls
        assert world.provider.owed_minor("gxu") == 120
        assert_settled(world.db)

    def test_the_step_is_the_same_on_every_attempt(self, world: World) -> None:
        seen: list[Step] = []
        real = world.provider.capture

        def capture(order: Order, step: Step) -> Answer:
            seen.append(step)
            return real(order, step)

        world.provider.capture = capture  # type: ignore[method-assign]
        world.held("unionpay")
        world.capture(120)
        world.provider.behave("lost_request", "ok", "lost_request")
        world.settle()

        assert len(seen) == 3
        assert len(set(seen)) == 1

    def test_the_order_carries_what_the_provider_calls_it(self, world: World) -> None:
        seen: list[Order] = []
        real = world.provider.capture

        def capture(order: Order, step: Step) -> Answer:
            seen.append(order)
            return real(order, step)

        world.provider.capture = capture  # type: ignore[method-assign]
        opened = world.held("unionpay")
        world.capture(120)
        world.settle()

        assert opened.provider_ref == "ref"
        assert seen == [Order("gxu", "auth_1", "hold", 300, opened.created_at, "ref")]

    def test_a_capture_of_another_amount_is_a_case(self, world: World) -> None:
        world.provider.capture = lambda order, step: Succeeded("captured", 121)  # type: ignore[method-assign]
        world.held("unionpay")
        world.capture(120)
        world.settle()

        assert world.cases() == [("amount_differs", "cap_1.capture")]
        assert statuses(world) == [("cap_1.capture", "refused")]

    def test_a_void_the_provider_refuses_is_a_case(self, world: World) -> None:
        world.held("unionpay")
        world.void()
        world.provider.behave("decline")
        world.settle()

        assert world.cases() == [("void_refused", "auth_1.void")]

    def test_a_capture_the_provider_refuses_is_our_loss_and_a_case(self, world: World) -> None:
        world.held("unionpay")
        world.capture(120)
        world.provider.behave("decline")
        world.settle()

        assert balance(world.db, "operator_loss") == 120
        assert world.cases() == [("capture_refused", "cap_1.capture")]

    def test_a_hold_whose_capture_is_refused_is_let_go(self, world: World) -> None:
        world.held("unionpay")
        world.capture(120)
        world.provider.behave("decline")
        world.settle()

        assert told(world) == ["capture", "void"]
        assert [order.status for order in world.provider.orders.values()] == ["voided"]
        assert_settled(world.db)

    def test_a_step_nobody_answers_for_days_is_abandoned_and_a_case(self, world: World) -> None:
        world.held("unionpay")
        world.capture(120)
        world.provider.behave("lost_request", *["lost_answer"] * 9)
        world.resolve()
        world.resolve(seconds=60)
        world.resolve(seconds=4 * 86_400)

        assert statuses(world) == [("cap_1.capture", "abandoned")]
        assert world.cases() == [("unknown_abandoned", "cap_1.capture")]
        assert world.resolve(seconds=86_400) == 0

    def test_what_waited_for_days_unsaid_is_said_all_the_same(self, world: World) -> None:
        world.held("unionpay")
        world.capture(120)
        world.now += timedelta(days=9)
        world.settle()

        assert world.provider.owed_minor("gxu") == 120
        assert world.cases() == []

    def test_a_refund_that_was_paid_at_the_counter_meanwhile_is_a_case(self, world: World) -> None:
        office = Office(world.db).fill()
        world.held("unionpay")
        world.capture(120)
        world.settle(seconds=60)
        world.refund(80)
        hear(world, "rf_1.refund", Declined("do_not_honor"))
        paid = {"kind": "manual", "debit_account_id": "refunds_payable/unionpay", "credit_account_id": "cash"}
        office.propose(cardholder_id="", amount_minor=80, subject_id="rf_1.refund", **paid)
        office.approve()
        hear(world, "rf_1.refund", Succeeded("refunded", 80, "ref"))

        with world.db.read() as conn:
            assert service.refund(conn, "gxu", "rf_1").state == "done"
            states = {each.kind: each.state for each in cases.cases(conn, "gxu", limit=9)}
        assert states == {"refund_refused": "closed", "amount_differs": "open"}
        assert balance(world.db, "provider_receivable/unionpay") == 40
        assert balance(world.db, "suspense") == -80
        assert_settled(world.db)

    def test_an_undo_that_finds_money_is_a_late_success_and_a_case(self, world: World) -> None:
        world.provider.behave("lost_answer")
        world.held("unionpay")
        world.void()
        world.settle()

        assert world.auth().late_success
        assert world.cases() == [("late_success", "auth_1")]

    def test_an_undo_that_is_refused_is_a_case(self, world: World) -> None:
        world.provider.behave("lost_answer")
        world.held("unionpay")
        world.void()
        world.provider.behave("decline")
        world.settle(seconds=10)

        assert ("void_refused", "auth_1.undo1") in world.cases()


def found(world: World, operation_id: str) -> Operation:
    """Return an operation as it is."""
    with world.db.read() as conn:
        seen = queue_repository.find(conn, "gxu", operation_id)
    assert seen is not None
    return seen


def hear(world: World, operation_id: str, answer: Answer) -> None:
    """Be notified about a step."""
    with world.db.write() as conn:
        steps.apply_step(conn, found(world, operation_id), answer, source=Source.NOTIFICATION, now=world.now)


class TestApplyStep:
    def test_a_refund_given_after_a_refusal_is_booked_and_closes_its_case(self, world: World) -> None:
        world.held("unionpay")
        world.capture(120)
        world.settle(seconds=60)
        world.refund(80)
        hear(world, "rf_1.refund", Declined("do_not_honor"))
        assert balance(world.db, "refunds_payable/unionpay") == 80
        for _ in range(2):
            hear(world, "rf_1.refund", Succeeded("refunded", 80, "ref"))

        assert found(world, "rf_1.refund").status == "done"
        assert balance(world.db, "refunds_payable/unionpay") == 0
        assert balance(world.db, "provider_receivable/unionpay") == 40
        with world.db.read() as conn:
            assert service.refund(conn, "gxu", "rf_1").state == "done"
            about = cases.case_of(conn, "gxu", "refund_refused", "rf_1.refund")
        assert about is not None
        assert (about.state, about.closed_by) == ("closed", cases.BY_ITSELF)
        assert_settled(world.db)

    def test_a_refund_paid_otherwise_and_then_given_is_a_case_of_its_own(self, world: World) -> None:
        world.held("unionpay")
        world.capture(120)
        world.settle(seconds=60)
        world.refund(80)
        hear(world, "rf_1.refund", Declined("do_not_honor"))
        with world.db.write() as conn:
            request = TransferRequest(
                transfer_id="by-hand",
                kind=TransferKind.SINGLE,
                debit_account_id="refunds_payable/unionpay",
                credit_account_id="cash",
                amount_minor=80,
                event_at=world.now,
            )
            assert ledger.execute(conn, "gxu", [request], now=world.now)[0].stands
        hear(world, "rf_1.refund", Succeeded("refunded", 80, "ref"))

        assert balance(world.db, "suspense") == -80
        assert ("amount_differs", "rf_1.refund") in world.cases()
        assert_settled(world.db)

    @pytest.mark.parametrize(
        "answer",
        [Succeeded("refunded", 79, "ref"), Succeeded("absent", 0), Declined("do_not_honor"), Unknown("timeout")],
    )
    def test_nothing_else_moves_what_was_refused(self, world: World, answer: Answer) -> None:
        world.held("unionpay")
        world.capture(120)
        world.settle(seconds=60)
        world.refund(80)
        hear(world, "rf_1.refund", Declined("do_not_honor"))
        for _ in range(2):
            hear(world, "rf_1.refund", answer)

        assert found(world, "rf_1.refund").status == "refused"
        assert balance(world.db, "refunds_payable/unionpay") == 80
        with world.db.read() as conn:
            listed = cases.cases(conn, "gxu", state="open", limit=9)
        assert {each.times_seen for each in listed} == {1}

    def test_a_capture_that_was_refused_stays_written_off(self, world: World) -> None:
        world.held("unionpay")
        world.capture(120)
        hear(world, "cap_1.capture", Declined("do_not_honor"))
        hear(world, "cap_1.capture", Succeeded("captured", 120, "ref"))

        assert found(world, "cap_1.capture").status == "refused"
        assert balance(world.db, "operator_loss") == 120

    @pytest.mark.parametrize("method", ["unionpay", "wechat"])
    def test_a_void_done_after_a_refusal_closes_its_case(self, world: World, method: str) -> None:
        world.held(method)
        world.void()
        hear(world, "auth_1.void", Declined("do_not_honor"))
        hear(world, "auth_1.void", Succeeded("voided", 300, "ref"))

        assert found(world, "auth_1.void").status == "done"
        with world.db.read() as conn:
            about = cases.case_of(conn, "gxu", "void_refused", "auth_1.void")
        assert about is not None
        assert about.state == "closed"
        assert balance(world.db, f"refunds_payable/{method}") == 0
        assert_settled(world.db)

    @pytest.mark.parametrize(
        ("answer", "case"),
        [(Succeeded("voided", 299, "ref"), "amount_differs"), (Succeeded("absent", 0), "void_refused")],
    )
    def test_a_deposit_given_back_otherwise_stays_owed_and_is_a_case(
        self, world: World, answer: Answer, case: str
    ) -> None:
        world.held("wechat")
        world.void()
        hear(world, "auth_1.void", answer)

        assert found(world, "auth_1.void").status == "refused"
        assert balance(world.db, "refunds_payable/wechat") == 300
        assert world.cases() == [(case, "auth_1.void")]

    def test_a_step_the_provider_does_not_know_yet_waits(self, world: World) -> None:
        world.held("unionpay")
        world.capture(120)
        hear(world, "cap_1.capture", Declined(NOT_FOUND))

        assert found(world, "cap_1.capture").status == "pending"
        assert balance(world.db, "operator_loss") == 0

    def test_an_undo_that_finds_nothing_is_no_late_success(self, world: World) -> None:
        world.provider.behave("lost_request")
        world.held("unionpay")
        world.void()
        world.settle(seconds=30)

        assert (found(world, "auth_1.undo1").status, world.auth().late_success) == ("done", False)
        assert world.cases() == []


class TestApplyWatch:
    def test_looks_four_times_within_a_day_and_a_half(self, world: World) -> None:
        world.provider.behave("lost_request")
        world.held("unionpay")
        world.void()
        world.settle(seconds=36 * 3_600)

        watched = found(world, "auth_1.watch")
        assert (watched.attempts, watched.status) == (4, "done")
