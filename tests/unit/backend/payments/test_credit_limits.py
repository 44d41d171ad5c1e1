"""Credit of a wallet: two people agree to it, it buys water, it ends, and who leaves with a debt is paid nothing."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from backend.cardholders import service as cardholders
from backend.db import Database
from backend.errors import BackendError
from backend.ledger import service as ledger
from backend.payments import credit_limits, entry_checks, leaver, people_rules, staff_entries
from backend.payments import service as payments
from backend.payments.credit_limits import Credit
from tests.unit.backend.payments.office import TENANT, Office

SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def office(database: Database) -> Office:
    return Office(database).fill()


def agree(office: Office, limit_minor: int, entry_id: str = "cl_1", **changed: Any) -> staff_entries.Entry:
    """Propose a credit for ann and approve it."""
    office.propose(entry_id, kind="credit_limit", amount_minor=limit_minor, **changed)
    return office.approve(entry_id)


def credit(office: Office, person: str = "ch_ann") -> Credit | None:
    """Return a person's credit as the wallet shows it."""
    with office.db.read() as conn:
        return credit_limits.credit(conn, TENANT, person)


def follow(office: Office) -> None:
    """Do what the worker does by the clock."""
    with office.db.write() as conn:
        credit_limits.follow(conn, TENANT, office.now)


def in_days(office: Office, days: int) -> datetime:
    """Return a moment so many days ahead."""
    return office.now + timedelta(days=days)


class TestPutInForce:
    def test_waits_for_a_second_person_and_then_buys_water(self, office: Office) -> None:
        office.propose("cl_1", kind="credit_limit", amount_minor=500)
        assert credit(office) is None
        with pytest.raises(staff_entries.SamePerson):
            office.approve("cl_1", by="ch_fin")

        office.approve("cl_1")
        office.shower(300)

        assert credit(office) == Credit(500, 300, 200, None)
        assert office.purses()["wallet"] == -300
        assert office.is_even()
        with office.db.read() as conn:
            (entry,) = staff_entries.entries(conn, TENANT, now=office.now, limit=9)
        assert (entry.state, entry.debit_account_id, entry.credit_account_id) == ("executed", "", "")

    def test_lets_nobody_go_below_it(self, office: Office) -> None:
        agree(office, 500)
        office.hold(501)

        with office.db.read() as conn:
            assert payments.authorization(conn, TENANT, "auth_1").state is payments.State.DECLINED
        office.hold(500, "2")
        with office.db.read() as conn:
            assert payments.authorization(conn, TENANT, "auth_2").state is payments.State.HELD

    def test_the_newest_is_in_force_and_the_one_before_has_ended(self, office: Office) -> None:
        agree(office, 500, ends_at=in_days(office, 3))
        agree(office, 900, "cl_2")

        assert credit(office) == Credit(900, 0, 900, None)
        assert [office.entry(key).state for key in ("cl_1", "cl_2")] == ["ended", "executed"]
        office.now = in_days(office, 4)
        follow(office)
        assert credit(office) == Credit(900, 0, 900, None)

    def test_zero_takes_it_away(self, office: Office) -> None:
        agree(office, 500)
        agree(office, 0, "cl_2")

        assert credit(office) is None

    @SQLITE
    def test_does_not_go_below_what_is_owed_or_held(self, office: Office) -> None:
        agree(office, 500)
        office.shower(200)
        office.hold(200, "2")
        office.propose("cl_2", kind="credit_limit", amount_minor=399)

        with pytest.raises(ledger.CreditInUse):
            office.approve("cl_2")

        assert credit(office) == Credit(500, 200, 100, None)
        assert [office.entry(key).state for key in ("cl_1", "cl_2")] == ["executed", "proposed"]

    @SQLITE
    def test_is_of_the_wallet_of_one_person_only(self, office: Office) -> None:
        agree(office, 500)

        with office.db.read() as conn:
            has = {each.purse: each.available_minor for each in payments.purses(conn, TENANT, "ch_ann")}
        assert has == {"subsidy": 0, "voucher": 0, "wallet": 500}
        assert credit(office, "ch_bob") is None

    @SQLITE
    @pytest.mark.parametrize(
        ("changed", "refusal"),
        [
            ({"amount_minor": 50_001}, entry_checks.EntryAmountRefused),
            ({"amount_minor": -1}, entry_checks.EntryAmountRefused),
            ({"cardholder_id": "ch_fin"}, entry_checks.OwnMoney),
            ({"cardholder_id": "ch_nobody"}, cardholders.CardholderUnknown),
            ({"proposed_by": "ch_desk"}, entry_checks.StaffRoleMissing),
            ({"reason": "short"}, entry_checks.ReasonTooShort),
            ({"ends_in": timedelta(0)}, credit_limits.CreditEndRefused),
            ({"ends_in": timedelta(days=-1)}, credit_limits.CreditEndRefused),
            ({"ends_in": timedelta(days=6 * 366)}, credit_limits.CreditEndRefused),
        ],
    )
    def test_refuses(self, office: Office, changed: dict[str, Any], refusal: type[BackendError]) -> None:
        ends_in = changed.pop("ends_in", None)
        wanted = {"kind": "credit_limit", "amount_minor": 500, **changed}
        if ends_in is not None:
            wanted["ends_at"] = office.now + ends_in

        with pytest.raises(refusal):
            office.propose("cl_1", **wanted)

    @SQLITE
    def test_is_not_agreed_to_after_its_end(self, office: Office) -> None:
        office.propose("cl_1", kind="credit_limit", amount_minor=500, ends_at=in_days(office, 1))
        office.now = in_days(office, 2)

        with pytest.raises(credit_limits.CreditEndRefused):
            office.approve("cl_1")
        assert credit(office) is None

    @SQLITE
    def test_is_not_agreed_to_for_who_left_meanwhile(self, office: Office) -> None:
        office.propose("cl_1", kind="credit_limit", amount_minor=500)
        with office.db.write() as conn:
            cardholders.set_status(conn, TENANT, "ch_ann", "closed")

        with pytest.raises(cardholders.CardholderInactive):
            office.approve("cl_1")
        assert credit(office) is None


class TestFollow:
    def test_an_end_lets_the_limit_sink_with_the_debt_to_zero(self, office: Office) -> None:
        ends_at = in_days(office, 10)
        agree(office, 1_000, ends_at=ends_at)
        office.shower(300)
        assert credit(office) == Credit(1_000, 300, 700, ends_at)

        follow(office)
        assert credit(office) == Credit(1_000, 300, 700, ends_at)
        office.now = ends_at
        follow(office)
        assert credit(office) == Credit(300, 300, 0, ends_at)
        office.propose("en_1", amount_minor=100)
        office.approve("en_1")
        assert credit(office) == Credit(200, 200, 0, ends_at)
        office.propose("en_2", amount_minor=500)
        office.approve("en_2")

        assert credit(office) is None
        assert office.purses()["wallet"] == 300
        assert office.entry("cl_1").state == "ended"

    @SQLITE
    def test_money_that_is_held_keeps_the_limit_up(self, office: Office) -> None:
        agree(office, 1_000, ends_at=in_days(office, 1))
        office.hold(400)
        office.now = in_days(office, 1)
        follow(office)
        assert credit(office) == Credit(400, 0, 0, office.now)

        office.capture(150)
        follow(office)

        assert credit(office) == Credit(150, 150, 0, office.now)


class TestLeave:
    def test_ones_own_money_pays_the_debt_first_and_the_rest_is_owed(self, office: Office) -> None:
        office.give("wallet", 200)
        office.transfer(200)  # own money in the voucher purse
        office.give("voucher", 70)
        agree(office, 1_000)
        office.shower(570)  # the school's 70, the 200, and 300 of credit

        assert office.purses() == {"subsidy": 0, "voucher": 0, "wallet": -300}
        office.give("subsidy", 50)
        payout = office.payout()

        assert (payout.state, payout.amount_minor, payout.owed_minor, payout.returned_minor) == ("owes", 0, 300, 50)
        assert (payout.entry_id, payout.paid_at) == ("", None)
        assert office.purses() == {"subsidy": 0, "voucher": 0, "wallet": -300}
        assert credit(office) == Credit(300, 300, 0, None)
        assert office.entry("cl_1").state == "ended"
        assert office.balance("refunds_payable/payout") == 0
        assert office.is_even()

    @pytest.mark.parametrize(("kept", "owed", "paid"), [(120, 180, 0), (300, 0, 0), (450, 0, 150)])
    def test_nobody_who_owes_is_paid_gross(self, office: Office, kept: int, owed: int, paid: int) -> None:
        agree(office, 1_000)
        office.shower(300)
        office.give("wallet", 300 + kept)  # paid back, and moved on to the vouchers
        office.transfer(kept)
        office.shower(300, "2")  # the voucher purse is spent first
        with office.db.read() as conn:
            own = {each.purse: each.posted_minor for each in payments.purses(conn, TENANT, "ch_ann")}
        assert own == {"subsidy": 0, "voucher": max(kept - 300, 0), "wallet": -max(300 - kept, 0)}

        payout = office.payout()

        assert (payout.owed_minor, payout.amount_minor) == (owed, paid)
        assert payout.state == ("owes" if owed else "waiting" if paid else "paid")
        assert office.is_even()

    def test_own_vouchers_pay_a_debt_of_the_wallet(self, office: Office) -> None:
        agree(office, 1_000)
        office.shower(300)
        office.give("wallet", 500)
        office.transfer(200)
        office.propose(  # an entry by finance takes the wallet below zero again
            "en_9",
            kind="manual",
            amount_minor=120,
            debit_account_id="cardholder_wallet/ch_ann",
            credit_account_id="operator_loss",
        )
        office.approve("en_9")
        assert office.purses() == {"subsidy": 0, "voucher": 200, "wallet": -120}

        payout = office.payout()

        assert (payout.amount_minor, payout.owed_minor, payout.state) == (80, 0, "waiting")
        assert office.purses() == {"subsidy": 0, "voucher": 0, "wallet": 0}
        assert credit(office) is None
        assert office.balance("refunds_payable/payout") == 80
        with office.db.read() as conn:
            memos = {line.memo: line.change_minor for line in payments.wallet_entries(conn, TENANT, "ch_ann", 9)}
        assert memos["payout"] == -80
        assert "debt settled" in memos
        assert office.is_even()

    @SQLITE
    def test_own_money_in_two_purses_pays_a_debt_once(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        own_everywhere = {("wallet", "voucher"): "any", ("wallet", "subsidy"): "any"}
        monkeypatch.setitem(people_rules.PAIRS_OF_TENANT, TENANT, own_everywhere)
        agree(office, 1_000)
        office.give("wallet", 300)
        office.transfer(200)
        office.transfer(100, to_purse="subsidy", request_id="request-0002")
        office.propose(
            "en_9",
            kind="manual",
            amount_minor=80,
            debit_account_id="cardholder_wallet/ch_ann",
            credit_account_id="operator_loss",
        )
        office.approve("en_9")

        payout = office.payout()

        assert (payout.amount_minor, payout.owed_minor, payout.state) == (220, 0, "waiting")
        assert office.purses() == {"subsidy": 0, "voucher": 0, "wallet": 0}
        assert office.is_even()

    def test_a_debt_is_paid_in_cash_up_to_the_fen_and_then_the_payout_is_over(self, office: Office) -> None:
        agree(office, 1_000)
        office.shower(300)
        office.payout()
        with pytest.raises(cardholders.CardholderInactive):
            office.propose("en_1", amount_minor=301)
        office.propose("en_1", amount_minor=200)
        office.propose("en_2", amount_minor=200)
        office.approve("en_1")
        assert credit(office) == Credit(100, 100, 0, None)

        with pytest.raises(cardholders.CardholderInactive):
            office.approve("en_2")
        office.propose("en_3", amount_minor=100)
        office.approve("en_3")

        assert credit(office) is None
        with office.db.read() as conn:
            paid = leaver.find_payout(conn, TENANT, "po_1")
        assert (paid.state, paid.paid_at, paid.owed_minor) == ("paid", office.now, 300)
        assert office.purses()["wallet"] == 0
        assert office.is_even()

    @SQLITE
    def test_a_late_refund_pays_the_debt(self, office: Office) -> None:
        agree(office, 1_000)
        office.shower(300)
        office.payout()

        with office.db.write() as conn:
            payments.request_refund(
                conn,
                tenant_id=TENANT,
                refund_id="rf_1",
                auth_id="auth_1",
                amount_minor=300,
                reason="late",
                now=office.now,
            )
        follow(office)

        with office.db.read() as conn:
            assert leaver.find_payout(conn, TENANT, "po_1").state == "paid"
        assert credit(office) is None

    @SQLITE
    def test_a_second_payout_goes_on_with_the_debt_of_the_first(self, office: Office) -> None:
        agree(office, 1_000)
        office.shower(300)
        office.payout()

        second = office.payout("po_2")

        with office.db.read() as conn:
            states = {each.payout_id: each.state for each in leaver.payouts(conn, TENANT, limit=9)}
        assert states == {"po_1": "paid", "po_2": "owes"}
        assert second.owed_minor == 300
