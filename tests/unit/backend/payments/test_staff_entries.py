"""Entries by staff: two people, once, in the transaction of the second."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from backend.cardholders import service as cardholders
from backend.db import Database
from backend.errors import BackendError
from backend.ledger import service as ledger
from backend.payments import service as payments
from backend.payments import staff_entries
from backend.payments.people_models import staff_entries as table
from tests.unit.backend.payments.office import TENANT, WHY, Office


@pytest.fixture
def office(database: Database) -> Office:
    return Office(database).fill()


def _refused(step: Callable[[], object]) -> str:
    with pytest.raises(BackendError) as refused:
        step()
    return refused.value.code


class TestPropose:
    def test_moves_nothing_and_waits_a_week(self, office: Office) -> None:
        proposed = office.propose()

        assert (proposed.state, proposed.expires_at - office.now) == ("proposed", timedelta(days=7))
        assert (proposed.debit_account_id, proposed.credit_account_id) == ("cash", "cardholder_wallet/ch_ann")
        assert office.purses()["wallet"] == 0
        assert office.entry() == proposed

    def test_is_one_however_often_it_is_sent(self, office: Office) -> None:
        first = office.propose()
        office.now += timedelta(hours=1)

        assert office.propose(reason=f" {WHY} ") == first
        office.approve()
        assert office.propose().state == "executed"

    @pytest.mark.parametrize(
        ("changed", "code"),
        [
            ({"amount_minor": 2_001}, "entry_differs"),
            ({"cardholder_id": "ch_bob"}, "entry_differs"),
            ({"reason": "another reason"}, "entry_differs"),
            ({"proposed_by": "ch_fin2"}, "entry_differs"),
            ({"subject_id": "case_1"}, "entry_differs"),
        ],
    )
    def test_refuses_another_body_under_the_same_id(self, office: Office, changed: dict[str, Any], code: str) -> None:
        first = office.propose()

        assert _refused(lambda: office.propose(**changed)) == code
        assert office.entry() == first

    @pytest.mark.parametrize(
        ("changed", "code"),
        [
            ({"proposed_by": "ch_ann"}, "role_missing"),
            ({"proposed_by": "ch_boss"}, "role_missing"),
            ({"proposed_by": "ch_nobody"}, "cardholder_unknown"),
            ({"cardholder_id": "ch_fin"}, "own_money"),
            ({"amount_minor": 99}, "entry_amount_refused"),
            ({"amount_minor": 50_001}, "entry_amount_refused"),
            ({"amount_minor": -2_000}, "entry_amount_refused"),
            ({"reason": "too short"}, "reason_too_short"),
            ({"reason": "x" * 501}, "reason_too_short"),
            ({"cardholder_id": "ch_nobody"}, "cardholder_unknown"),
            ({"kind": "payout", "subject_id": "po_1", "debit_account_id": "x"}, "payout_not_waiting"),
            ({"kind": "refund", "subject_id": "auth_9"}, "authorization_unknown"),
        ],
    )
    def test_refuses_what_could_never_be_right(self, office: Office, changed: dict[str, Any], code: str) -> None:
        assert _refused(lambda: office.propose(**changed)) == code
        assert _refused(office.entry) == "entry_unknown"

    @pytest.mark.parametrize("entry_id", ["en", "x" * 63, "en 1", "en_1/2", ""])
    def test_refuses_ids_that_are_none(self, office: Office, entry_id: str) -> None:
        assert _refused(lambda: office.propose(entry_id)) == "request_id_malformed"

    @pytest.mark.parametrize(
        ("debit", "credit", "is_fine"),
        [
            ("operator_loss", "cardholder_wallet/ch_ann", True),
            ("opening_equity", "subsidy_fund/school", True),
            ("subsidy_fund/school", "subsidy_fund/ch_ann", True),
            ("refunds_payable/payout", "suspense", True),
            ("suspense", "provider_receivable/alipay", True),
            ("cash", "cash", False),
            ("cash", "cardholder_wallet", False),
            ("cash", "cardholder_wallet/", False),
            ("cash", "cardholder_wallet/ch_nobody", False),
            ("cash", "cardholder_wallet/school", False),
            ("cash", "petty_cash", False),
            ("cash/ch_ann", "suspense", False),
            ("refunds_payable/nobody", "cash", False),
            ("provider_receivable", "cash", False),
            ("provider_receivable/wallet", "cash", False),
            ("cash", "subsidy_fund", False),
            ("payment_clearing/wechat", "cash", False),
            ("cash", "payment_clearing/wallet", False),
            ("", "cash", False),
        ],
    )
    def test_takes_any_two_accounts_of_the_school(self, office: Office, debit: str, credit: str, is_fine: bool) -> None:
        def manual() -> staff_entries.Entry:
            return office.propose(kind="manual", cardholder_id="", debit_account_id=debit, credit_account_id=credit)

        if is_fine:
            assert manual().state == "proposed"
        else:
            assert _refused(manual) == "entry_account_refused"

    def test_gives_no_credit_to_who_has_left(self, office: Office) -> None:
        waiting = office.propose("en_0")
        with office.db.write() as conn:
            cardholders.set_status(conn, TENANT, "ch_ann", "closed")

        assert _refused(office.propose) == "cardholder_inactive"
        assert _refused(lambda: office.approve(waiting.entry_id)) == "cardholder_inactive"
        assert office.entry("en_0").state == "proposed"

    def test_proposes_no_more_refunds_than_was_captured(self, office: Office) -> None:
        office.give("wallet", 1_000)
        office.shower(300)
        refund = {"kind": "refund", "subject_id": "auth_1", "debit_account_id": "", "credit_account_id": ""}

        office.propose("en_1", amount_minor=200, **refund)

        assert _refused(lambda: office.propose("en_2", amount_minor=101, **refund)) == "not_refundable"
        assert _refused(lambda: office.propose("en_2", amount_minor=1, cardholder_id="ch_bob", **refund)) == (
            "not_refundable"
        )
        office.reject("en_1")
        assert office.propose("en_3", amount_minor=300, **refund).state == "proposed"
        office.now += timedelta(days=8)
        assert office.propose("en_4", amount_minor=300, **refund).state == "proposed"
        assert office.entry("en_3").state == "expired"


class TestApprove:
    def test_moves_the_money_with_its_reference(self, office: Office) -> None:
        office.propose()

        done = office.approve()

        assert (done.state, done.decided_by, done.decided_at) == ("executed", "ch_boss", office.now)
        assert office.purses()["wallet"] == office.balance("cash") == 2_000
        with office.db.read() as conn:
            line = payments.wallet_entries(conn, TENANT, "ch_ann", 5)[0]
        assert (line.transfer_id, line.reference, line.memo) == ("en_1.entry", "en_1", "cash top-up")
        assert office.is_even()

    def test_books_it_under_what_it_is_about(self, office: Office) -> None:
        office.give("wallet", 900)
        accounts = {"debit_account_id": "cardholder_wallet/ch_ann", "credit_account_id": "operator_loss"}
        office.propose("en_1", kind="manual", amount_minor=100, subject_id="ws_77", **accounts)
        office.propose("en_2", kind="manual", amount_minor=200, **accounts)
        for entry_id in ("en_1", "en_2"):
            office.approve(entry_id)
        office.payout()
        office.approve("po_1.1")

        with office.db.read() as conn:
            booked = {
                reference: [each.transfer_id for each in ledger.transfers_of(conn, TENANT, reference)]
                for reference in ("ws_77", "en_1", "en_2", "po_1", "po_1.1")
            }
        assert booked == {
            "ws_77": ["en_1.entry"],
            "en_1": [],
            "en_2": ["en_2.entry"],
            "po_1": ["po_1.wallet.own", "po_1.1.entry"],
            "po_1.1": [],
        }

    def test_moves_it_once(self, office: Office) -> None:
        office.propose()
        first = office.approve()

        assert office.approve() == first
        assert _refused(lambda: office.approve(by="ch_fin2")) == "entry_not_open"
        assert office.purses()["wallet"] == 2_000

    @pytest.mark.parametrize(
        ("by", "code"),
        [("ch_fin", "same_person"), ("ch_ann", "role_missing"), ("ch_desk", "role_missing")],
    )
    def test_needs_a_second_person_of_standing(self, office: Office, by: str, code: str) -> None:
        office.propose()

        assert _refused(lambda: office.approve(by=by)) == code
        assert (office.entry().state, office.purses()["wallet"]) == ("proposed", 0)

    def test_is_not_for_whose_money_it_is(self, office: Office) -> None:
        office.propose("en_1", cardholder_id="ch_boss")
        manual = {"kind": "manual", "cardholder_id": "", "debit_account_id": "cash"}
        office.propose("en_2", **manual, credit_account_id="cardholder_wallet/ch_boss")

        assert _refused(office.approve) == _refused(lambda: office.approve("en_2")) == "own_money"
        assert (
            _refused(lambda: office.propose("en_3", **manual, credit_account_id="voucher_fund/ch_fin")) == "own_money"
        )
        assert office.approve(by="ch_fin2").state == "executed"

    def test_takes_a_note_of_some_length(self, office: Office) -> None:
        office.propose()

        with office.db.write() as conn, pytest.raises(BackendError) as refused:
            staff_entries.approve(
                conn, tenant_id=TENANT, entry_id="en_1", approved_by="ch_boss", now=office.now, note="x" * 501
            )

        assert (refused.value.code, office.entry().state) == ("reason_too_short", "proposed")

    def test_is_not_for_who_is_frozen(self, office: Office) -> None:
        office.propose()
        with office.db.write() as conn:
            cardholders.set_status(conn, TENANT, "ch_boss", "frozen")

        assert _refused(office.approve) == "role_missing"

    def test_is_refused_when_the_time_is_over(self, office: Office) -> None:
        office.propose()
        office.now += timedelta(days=7)

        assert _refused(office.approve) == "entry_not_open"
        assert (office.entry().state, office.purses()["wallet"]) == ("expired", 0)

    def test_stays_within_what_the_account_has(self, office: Office) -> None:
        office.give("wallet", 500)
        office.propose(
            kind="manual", amount_minor=501, debit_account_id="cardholder_wallet/ch_ann", credit_account_id="suspense"
        )

        assert _refused(office.approve) == "entry_not_covered"
        assert (office.entry().state, office.purses()["wallet"]) == ("proposed", 500)

        office.give("wallet", 1)
        assert office.approve().state == "executed"
        assert office.purses()["wallet"] == 0

    def test_gives_a_refund_back_to_the_purse(self, office: Office) -> None:
        office.give("wallet", 1_000)
        office.shower(300)
        office.propose(kind="refund", amount_minor=120, subject_id="auth_1")

        office.approve()

        with office.db.read() as conn:
            made = payments.refund(conn, TENANT, "rf_en_1")
        assert (made.amount_minor, made.state, made.auth_id) == (120, "done", "auth_1")
        assert office.purses()["wallet"] == 820
        assert office.is_even()

    def test_is_done_once_by_two_at_the_same_time(self, office: Office) -> None:
        office.propose()
        ready, outcomes = threading.Barrier(6), []

        def decide(by: str) -> None:
            ready.wait()
            try:
                outcomes.append(office.approve(by=by).state if by != "reject" else office.reject(by="ch_fin2").state)
            except BackendError as refusal:
                outcomes.append(refusal.code)

        threads = [
            threading.Thread(target=decide, args=(by,))
            for by in ("ch_boss", "ch_fin2", "ch_boss", "ch_fin2", "ch_fin", "reject")
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

        executed = office.entry().state == "executed"
        assert office.purses()["wallet"] == (2_000 if executed else 0)
        assert ("rejected" in outcomes) is not executed
        assert "same_person" in outcomes
        assert set(outcomes) <= {"executed", "rejected", "entry_not_open", "same_person"}
        assert office.is_even()

    def test_cannot_be_forged_past_the_code(self, office: Office) -> None:
        office.propose()

        with pytest.raises(IntegrityError), office.db.write() as conn:
            conn.execute(update(table).values(state="executed", decided_by="ch_fin"))

    def test_is_nobody_elses_business(self, office: Office) -> None:
        office.propose()
        foreign = Office(office.db, tenant_id="other").fill()

        assert _refused(foreign.approve) == "entry_unknown"
        assert _refused(foreign.reject) == "entry_unknown"


class TestReject:
    def test_moves_nothing_now_or_later(self, office: Office) -> None:
        office.propose()

        refused = office.reject()

        assert (refused.state, refused.decided_by, refused.note) == ("rejected", "ch_boss", "no such receipt exists")
        assert office.reject() == refused
        assert _refused(office.approve) == "entry_not_open"
        assert _refused(lambda: office.reject(by="ch_fin2")) == "entry_not_open"
        assert office.propose().state == "rejected"
        assert office.purses()["wallet"] == 0

    def test_may_be_by_who_proposed_it(self, office: Office) -> None:
        office.propose()

        assert office.reject(by="ch_fin").state == "rejected"

    @pytest.mark.parametrize(
        ("changed", "code"), [({"note": "no"}, "reason_too_short"), ({"by": "ch_ann"}, "role_missing")]
    )
    def test_needs_words_and_a_role(self, office: Office, changed: dict[str, str], code: str) -> None:
        office.propose()

        assert _refused(lambda: office.reject(**changed)) == code
        assert office.entry().state == "proposed"


class TestEntries:
    def test_are_listed_as_they_stand(self, office: Office) -> None:
        for number in range(1, 5):
            office.propose(f"en_{number}", cardholder_id="ch_ann" if number < 4 else "ch_bob")
            office.now += timedelta(days=2)
        office.reject("en_2")

        def listed(**wanted: Any) -> list[str]:
            with office.db.read() as conn:
                found = staff_entries.entries(conn, TENANT, now=office.now, limit=9, **wanted)
            return [each.entry_id for each in found]

        assert listed() == ["en_4", "en_3", "en_2", "en_1"]
        assert listed(state="proposed") == ["en_4", "en_3"]
        assert listed(state="expired") == ["en_1"]
        assert listed(state="rejected") == ["en_2"]
        assert listed(cardholder_id="ch_bob") == ["en_4"]
        assert listed(after="en_3") == ["en_2", "en_1"]


class TestExpireDue:
    def test_marks_what_nobody_decided(self, office: Office) -> None:
        office.propose("en_1")
        office.now += timedelta(days=6)
        office.propose("en_2")
        office.now += timedelta(days=1)

        with office.db.write() as conn:
            expired = staff_entries.expire_due(conn, TENANT, office.now)
            again = staff_entries.expire_due(conn, TENANT, office.now)

        assert [(each.entry_id, each.state) for each in expired] == [("en_1", "expired")]
        assert again == []
        assert office.entry("en_2").state == "proposed"
        assert _refused(lambda: office.approve("en_1")) == "entry_not_open"


class TestNobody:
    @pytest.mark.parametrize("kind", ["cash_top_up", "refund", "payout"])
    @pytest.mark.parametrize("cardholder_id", ["", "ch_nobody", "ch_ann/1"])
    def test_has_no_money_to_move(self, office: Office, kind: str, cardholder_id: str) -> None:
        assert _refused(lambda: office.propose(kind=kind, cardholder_id=cardholder_id)) == "cardholder_unknown"
        assert _refused(office.entry) == "entry_unknown"


class TestSecondPayout:
    def test_is_refused_while_the_first_entry_pays_it(self, office: Office) -> None:
        office.give("wallet", 1_000)
        payout = office.payout()
        second = {
            "kind": "payout",
            "subject_id": payout.payout_id,
            "amount_minor": payout.amount_minor,
            "debit_account_id": "refunds_payable/payout",
            "credit_account_id": "cash",
        }

        assert _refused(lambda: office.propose("en_other", **second)) == "payout_not_waiting"
