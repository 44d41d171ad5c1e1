"""What staff paid by hand of what a provider did not give back is tracked refund by refund."""

import pytest

from backend.ledger import service as ledger
from backend.payments import cases, orders, queue_repository, returning, service, steps, top_ups
from backend.payments.cases import Case
from backend.payments.paid_otherwise import NotPayable
from backend.payments.port import Succeeded
from backend.payments.rules import Source
from tests.unit.backend.payments.books import balance
from tests.unit.backend.payments.conftest import World
from tests.unit.backend.payments.office import Office

PAYABLE = "refunds_payable/wechat"


@pytest.fixture
def office(world: World) -> Office:
    """Return the staff of a school that owes two payers ¥3 each, for WeChat refused to give them back."""
    found = Office(world.db, now=world.now).fill()
    for number in "12":
        world.held("wechat", 300, f"auth_{number}")
        world.capture(300, f"cap_{number}", f"auth_{number}")
    world.wechat.behave("decline", "decline")
    for number in "12":
        world.refund(300, f"rf_{number}", f"auth_{number}")
    world.settle(60)
    world.wechat.forget_behaviours()
    assert balance(world.db, PAYABLE) == 600
    return found


def case(office: Office, number: int = 1, kind: str = "refund_refused") -> Case:
    """Return the case of a refund."""
    with office.db.read() as conn:
        found = cases.case_of(conn, "gxu", kind, f"rf_{number}.refund")
    assert found is not None
    return found


def propose(office: Office, subject_id: str, minor: int = 300, entry_id: str = "en_1", **changed: str) -> None:
    """Propose to pay what is owed in cash."""
    accounts = {"debit_account_id": PAYABLE, "credit_account_id": "cash"} | changed
    office.propose(entry_id, kind="manual", cardholder_id="", amount_minor=minor, subject_id=subject_id, **accounts)


def given(world: World, number: int = 1) -> None:
    """Be told that a refund was given after all."""
    with world.db.write() as conn:
        seen = queue_repository.find(conn, "gxu", f"rf_{number}.refund")
        assert seen is not None
        answer = Succeeded("refunded", 300, "ref")
        steps.apply_step(conn, seen, answer, source=Source.NOTIFICATION, now=world.now)


class TestCheck:
    @pytest.mark.parametrize(
        ("subject_id", "minor", "changed"),
        [
            ("", 300, {}),
            ("ws_1", 300, {}),
            ("cap_1", 300, {}),
            ("rf_1.refund", 301, {}),
            ("rf_1.refund", 300, {"debit_account_id": "refunds_payable/alipay"}),
            ("rf_1.refund", 300, {"credit_account_id": "refunds_payable/alipay"}),
            ("rf_1.refund", 300, {"debit_account_id": "cash", "credit_account_id": PAYABLE}),
        ],
    )
    def test_refuses_what_names_no_refund_that_owes_so_much(
        self, office: Office, subject_id: str, minor: int, changed: dict[str, str]
    ) -> None:
        with pytest.raises(NotPayable):
            propose(office, subject_id, minor, **changed)

    def test_a_refund_is_paid_once_by_its_case_or_its_step(self, office: Office) -> None:
        propose(office, case(office).case_id, 200)
        with pytest.raises(NotPayable):
            propose(office, "rf_1.refund", 101, "en_2")
        propose(office, "rf_1.refund", 100, "en_2")
        office.approve("en_2")
        assert case(office).state == "open"
        office.approve("en_1")

        assert (case(office).state, case(office).closed_by) == ("closed", "ch_boss")
        assert (balance(office.db, PAYABLE), balance(office.db, "cash")) == (300, -300)
        with pytest.raises(NotPayable):
            propose(office, "rf_1.refund", 1, "en_3")

    def test_a_rejected_entry_owes_again(self, office: Office) -> None:
        propose(office, "rf_1.refund")
        office.reject()
        propose(office, "rf_1.refund", entry_id="en_2")
        assert office.approve("en_2").state == "executed"

    def test_is_not_approved_when_the_provider_gave_it_meanwhile(self, office: Office, world: World) -> None:
        propose(office, "rf_1.refund")
        given(world)
        with pytest.raises(NotPayable):
            office.approve()
        assert (office.entry().state, balance(world.db, "cash")) == ("proposed", 0)


class TestSettledMinor:
    def test_what_is_given_after_cash_leaves_the_others_share_and_is_a_case(self, office: Office, world: World) -> None:
        propose(office, case(office).case_id)
        office.approve()
        given(world)

        assert (balance(world.db, PAYABLE), balance(world.db, "suspense")) == (300, -300)
        assert case(office, kind="amount_differs").state == "open"
        given(world, 2)
        assert (balance(world.db, PAYABLE), balance(world.db, "suspense")) == (0, -300)
        assert case(office, 2).state == "closed"

    def test_what_was_paid_in_part_is_booked_in_part(self, office: Office, world: World) -> None:
        propose(office, "rf_1.refund", 100)
        office.approve()
        given(world)

        assert (balance(world.db, PAYABLE), balance(world.db, "suspense")) == (300, -100)
        assert case(office, kind="amount_differs").state == "open"
        with world.db.read() as conn:
            assert ledger.verify(conn, "gxu") == []

    def test_nobody_asks_again_for_what_was_paid(self, office: Office) -> None:
        propose(office, "rf_1.refund", 100)
        with office.db.read() as conn:
            assert returning.may_ask_again(conn, case(office))
        office.approve()
        with office.db.read() as conn:
            assert not returning.may_ask_again(conn, case(office))
            assert returning.may_ask_again(conn, case(office, 2))


class TestIntentCases:
    def test_a_reported_top_up_closes_its_case_when_it_arrives(self, world: World) -> None:
        world.wechat.behave("lost_answer")
        code = "134524350966727175"
        top_up = service.top_up(world.db, world.providers, "gxu", "ch_1", "wechat", 500, "request-1", world.clock, code)
        assert top_up.state == "checking"
        world.now += top_ups.REPORT_AFTER
        with world.db.write() as conn:
            top_ups.report_missing(conn, "gxu", top_up.top_up_id, world.now)
        world.settle(600)

        with world.db.read() as conn:
            listed = [(each.kind, each.state, each.closed_by) for each in cases.cases(conn, "gxu", limit=9)]
        assert listed == [("top_up_missing", "closed", cases.BY_ITSELF)]

    def test_an_abandoned_charge_closes_its_case_when_its_fate_is_known(self, world: World) -> None:
        world.wechat.behave(*["lost_answer"] * 600)
        world.held("wechat")
        for wait_s in (10, 4 * 86_400):
            world.resolve(wait_s)
        with world.db.write() as conn:
            about = cases.case_of(conn, "gxu", "unknown_abandoned", "auth_1")
            assert about is not None
            assert about.state == "open"
            answer = Succeeded("charged", 300, "ref")
            orders.apply_answer(conn, "gxu", "auth_1", answer, source=Source.STATEMENT, now=world.now)
            about = cases.case(conn, "gxu", about.case_id)
        assert (about.state, about.closed_by) == ("closed", cases.BY_ITSELF)
