"""Money on its way back: the person sees it, and what a provider refused it can be asked to give after all."""

import pytest

from backend.cardholders import service as cardholders
from backend.ledger import service as ledger
from backend.ledger.rules import TransferKind, TransferRequest
from backend.payments import cases, entry_checks, queue_repository, returning, service
from backend.payments.cases import Case
from backend.payments.returning import CaseNotAskable, Returning
from backend.payments.types import Operation
from tests.factories import NOW
from tests.unit.backend.payments.books import assert_settled, balance
from tests.unit.backend.payments.conftest import World

STAFF = {"ch_fin": {"finance"}, "ch_boss": {"approver"}, "ch_ann": {"student"}, "ch_desk": {"gate_desk"}}


@pytest.fixture
def world(world: World) -> World:
    """Return a world with staff."""
    with world.db.write() as conn:
        for name, roles in STAFF.items():
            person = cardholders.Cardholder("gxu", name, name, name, name, "staff", "active", frozenset(roles))
            cardholders.add_cardholder(conn, person, "a long password", NOW)
    return world


def back(world: World, person: str = "ch_1") -> list[Returning]:
    """Return what somebody gets back."""
    with world.db.read() as conn:
        return returning.returning(conn, "gxu", person)


def about(world: World, kind: str, subject_id: str) -> Case:
    """Return a case."""
    with world.db.read() as conn:
        found = cases.case_of(conn, "gxu", kind, subject_id)
    assert found is not None
    return found


def ask(world: World, of: Case, by: str = "ch_fin") -> Operation:
    """Have the provider asked again."""
    with world.db.write() as conn:
        return returning.ask_again(conn, tenant_id="gxu", case_id=of.case_id, asked_by=by, now=world.now)


def rest_refused(world: World) -> Case:
    """Return the case of a deposit's rest that the provider would not give back."""
    world.held("wechat")
    world.capture(120)
    world.wechat.behave("decline")
    world.settle()
    return about(world, "refund_refused", "cap_1.rest")


class TestReturning:
    def test_shows_a_deposits_rest_from_the_capture_until_it_is_back(self, world: World) -> None:
        world.held("wechat")
        assert back(world) == []
        world.capture(120)

        (rest,) = back(world)
        assert (rest.operation_id, rest.water_session_id, rest.method) == ("cap_1.rest", "ws_1", "wechat")
        assert (rest.amount_minor, rest.state, rest.since) == (180, "requested", world.now)
        assert back(world, "ch_2") == []
        world.settle()
        assert back(world) == []

    def test_shows_a_refused_rest_until_finance_has_seen_to_it(self, world: World) -> None:
        case = rest_refused(world)

        assert [(each.operation_id, each.amount_minor, each.state) for each in back(world)] == [
            ("cap_1.rest", 180, "refused")
        ]
        with world.db.write() as conn:
            words = "paid in cash at the desk"
            cases.close_case(conn, tenant_id="gxu", case_id=case.case_id, closed_by="ch_fin", note=words, now=world.now)
        assert back(world) == []

    def test_shows_refunds_and_whole_deposits_oldest_first(self, world: World) -> None:
        world.held("unionpay", auth_id="auth_1")
        world.capture(120)
        world.settle(seconds=60)
        world.held("wechat", auth_id="auth_2")
        world.void("auth_2")
        world.now = world.now.replace(minute=30)
        world.refund(80)

        assert [(each.operation_id, each.amount_minor) for each in back(world)] == [
            ("auth_2.void", 300),
            ("rf_1.refund", 80),
        ]


class TestAskAgain:
    @pytest.mark.parametrize("by", ["ch_fin", "ch_boss"])
    def test_gives_a_refused_rest_back_and_closes_the_case(self, world: World, by: str) -> None:
        case = rest_refused(world)

        asked = ask(world, case, by)
        assert (asked.status, asked.operation_id, asked.attempts, asked.sent_at) == ("pending", "cap_1.rest", 0, None)
        assert [each.state for each in back(world)] == ["requested"]
        world.resolve()

        assert world.wechat.owed_minor("gxu") == 120 == balance(world.db, "provider_receivable/wechat")
        assert balance(world.db, "refunds_payable/wechat") == 0
        closed = about(world, "refund_refused", "cap_1.rest")
        assert (closed.state, closed.closed_by) == ("closed", cases.BY_ITSELF)
        assert closed.evidence["asked_again_by"] == by
        assert back(world) == []
        assert_settled(world.db)

    def test_says_the_same_step_and_asks_about_it_when_the_answer_is_lost(self, world: World) -> None:
        case = rest_refused(world)
        number = ask(world, case).number
        world.wechat.behave("lost_answer")
        world.settle(seconds=60)

        assert [verb for verb, _ in world.wechat.calls][-2:] == ["refund", "query_step"]
        assert world.wechat.owed_minor("gxu") == 120
        with world.db.read() as conn:
            done = queue_repository.find(conn, "gxu", "cap_1.rest")
        assert done is not None
        assert (done.number, done.status) == (number, "done")
        assert_settled(world.db)

    def test_counts_the_case_when_it_is_refused_again_and_may_be_repeated(self, world: World) -> None:
        case = rest_refused(world)
        ask(world, case)
        world.wechat.behave("decline")
        world.resolve()

        again = about(world, "refund_refused", "cap_1.rest")
        assert (again.case_id, again.state, again.times_seen) == (case.case_id, "open", 2)
        ask(world, again)
        world.resolve()
        assert balance(world.db, "refunds_payable/wechat") == 0

    def test_asks_for_a_staff_refund_and_shows_it_on_its_way(self, world: World) -> None:
        world.held("unionpay")
        world.capture(120)
        world.settle(seconds=60)
        world.refund(80)
        world.provider.behave("decline")
        world.settle(seconds=60)
        ask(world, about(world, "refund_refused", "rf_1.refund"))

        with world.db.read() as conn:
            assert service.refund(conn, "gxu", "rf_1").state == "requested"
        world.resolve()
        with world.db.read() as conn:
            assert service.refund(conn, "gxu", "rf_1").state == "done"
        assert_settled(world.db)

    def test_gives_what_nobody_answered_for_days_days_again(self, world: World) -> None:
        world.held("wechat")
        world.capture(120)
        world.wechat.behave(*["lost_request"] * 400)
        for wait_s in (0, 10, 4 * 86_400):
            world.resolve(wait_s)
        case = about(world, "unknown_abandoned", "cap_1.rest")
        ask(world, case)
        world.settle(seconds=3_600)
        with world.db.read() as conn:
            asked = queue_repository.find(conn, "gxu", "cap_1.rest")
        assert asked is not None
        assert (asked.status, asked.attempts > 3) == ("pending", True)
        world.wechat.forget_behaviours()
        world.settle(seconds=3_600)

        assert about(world, "unknown_abandoned", "cap_1.rest").state == "closed"
        assert balance(world.db, "refunds_payable/wechat") == 0
        assert_settled(world.db)

    @pytest.mark.parametrize("by", ["ch_ann", "ch_desk"])
    def test_is_for_finance_and_approvers(self, world: World, by: str) -> None:
        with pytest.raises(entry_checks.StaffRoleMissing):
            ask(world, rest_refused(world), by)

    def test_refuses_what_is_being_asked_already_or_is_over(self, world: World) -> None:
        case = rest_refused(world)
        ask(world, case)
        with pytest.raises(CaseNotAskable):
            ask(world, case)
        world.resolve()
        with pytest.raises(CaseNotAskable):
            ask(world, case)
        with world.db.read() as conn:
            assert not returning.may_ask_again(conn, about(world, "refund_refused", "cap_1.rest"))

    def test_refuses_what_was_paid_otherwise_meanwhile(self, world: World) -> None:
        case = rest_refused(world)
        with world.db.write() as conn:
            request = TransferRequest(
                transfer_id="by-hand",
                kind=TransferKind.SINGLE,
                debit_account_id="refunds_payable/wechat",
                credit_account_id="cash",
                amount_minor=1,
                event_at=world.now,
            )
            assert ledger.execute(conn, "gxu", [request], now=world.now)[0].stands

        with pytest.raises(CaseNotAskable):
            ask(world, case)

    def test_refuses_a_question_that_has_no_step(self, world: World) -> None:
        world.provider.behave(*["lost_answer"] * 400)
        world.held("unionpay")
        for wait_s in (10, 4 * 86_400):
            world.resolve(wait_s)

        with pytest.raises(CaseNotAskable):
            ask(world, about(world, "unknown_abandoned", "auth_1"))

    def test_lets_a_refused_hold_go_after_all(self, world: World) -> None:
        world.held("unionpay")
        world.void()
        world.provider.behave("decline")
        world.settle(seconds=60)
        ask(world, about(world, "void_refused", "auth_1.void"))
        world.resolve()

        assert world.provider.orders["gxu", "auth_1"].status == "voided"
        assert about(world, "void_refused", "auth_1.void").state == "closed"
