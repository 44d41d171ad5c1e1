"""Payouts by bank leave clearing when the bank's statement lists them, and come back when the bank gives them back."""

from datetime import timedelta
from typing import Any

import pytest

from backend.db import Database
from backend.payments import bank_payouts, leaver
from backend.payments import service as payments
from backend.payments.leaver import Payout
from backend.tenants import service as tenants
from tests.unit.backend.payments.bank_desk import DESTINATION, bring_day, moved, pay_by_bank
from tests.unit.backend.payments.office import TENANT, WHY, Office

DAY = timedelta(days=1)


@pytest.fixture
def office(database: Database) -> Office:
    """Return an office that nobody has left yet."""
    return Office(database).fill()


def clear(office: Office) -> int:
    """Do what a worker does when a file has come."""
    with office.db.write() as conn:
        return bank_payouts.clear(conn, TENANT, office.now)


def payout(office: Office, payout_id: str = "po_1") -> Payout:
    """Return a payout as it is."""
    with office.db.read() as conn:
        return leaver.find_payout(conn, TENANT, payout_id)


def mismatches(office: Office, later: timedelta = timedelta()) -> list[tuple[str, int]]:
    """Return what does not agree, some time later."""
    with office.db.read() as conn:
        return [(each.kind, each.amount_minor) for each in bank_payouts.mismatches(conn, TENANT, office.now + later)]


def balances(office: Office) -> tuple[int, int, int]:
    """Return what lies in payout clearing, at the bank, and is owed to leavers."""
    assert office.is_even()
    return tuple(office.balance(each) for each in ("payout_clearing", "bank", "refunds_payable/payout"))  # type: ignore[return-value]


def propose_manual(office: Office, entry_id: str, **values: Any) -> None:
    """Propose a manual entry and let another agree."""
    office.propose(entry_id, kind="manual", cardholder_id="", reason=WHY, **values)
    office.approve(entry_id)


class TestClear:
    def test_does_nothing_without_a_statement(self, office: Office) -> None:
        pay_by_bank(office)

        assert clear(office) == 0
        assert balances(office) == (1_003, 0, 0)

    def test_books_what_the_bank_lists_once_at_the_bank_s_time(self, office: Office) -> None:
        pay_by_bank(office)
        pay_by_bank(office, 250, person="bob", payout_id="po_2")
        bring_day(office, [moved("付", "po_1.1", 1_003)], later=DAY)

        assert (clear(office), clear(office)) == (1, 0)

        assert balances(office) == (250, -1_003, 0)
        assert payout(office).state == "paid"
        bring_day(office, [moved("付", "po_2.1", 250)], later=2 * DAY)
        assert (clear(office), balances(office)) == (1, (0, -1_253, 0))
        assert mismatches(office, 9 * DAY) == []

    def test_owes_again_what_came_back_and_pays_it_another_time(self, office: Office) -> None:
        pay_by_bank(office)
        bring_day(office, [moved("付", "po_1.1", 1_003)])
        clear(office)
        bring_day(office, [moved("退", "po_1.1", 1_003, 2)], later=DAY)

        assert (clear(office), clear(office)) == (1, 0)

        assert balances(office) == (0, 0, 1_003)
        assert (payout(office).state, payout(office).entry_id, payout(office).paid_at) == ("payable", "", None)
        with office.db.write() as conn:
            leaver.propose_again(
                conn,
                tenant_id=TENANT,
                payout_id="po_1",
                entry_id="po_1.2",
                channel="bank",
                destination=DESTINATION,
                reason="the account's name was wrong",
                proposed_by="ch_fin",
                now=office.now,
            )
        assert clear(office) == 0
        office.approve("po_1.2")
        bring_day(office, [moved("付", "po_1.2", 1_003, 3)], later=2 * DAY)
        assert clear(office) == 1
        assert balances(office) == (0, -1_003, 0)
        assert (payout(office).state, mismatches(office, 9 * DAY)) == ("paid", [])

    @pytest.mark.parametrize(
        ("movement", "kind", "amount_minor"),
        [
            (moved("付", "po_1.1", 1_004), "amount", 1),
            (moved("付", "po_9.1", 1_003), "unknown", 1_003),
            (moved("付", "", 1_003, named=""), "unknown", 1_003),
            (moved("退", "po_1.1", 1_003), "back", 1_003),
        ],
    )
    def test_books_nothing_that_does_not_fit(
        self, office: Office, movement: tuple[str, ...], kind: str, amount_minor: int
    ) -> None:
        pay_by_bank(office)
        bring_day(office, [movement])

        assert clear(office) == 0
        assert balances(office) == (1_003, 0, 0)
        assert mismatches(office) == [(kind, amount_minor)]

    @pytest.mark.parametrize(("channel", "approves"), [("bank", False), ("cash", True)])
    def test_books_nothing_that_was_not_ordered(self, office: Office, channel: str, approves: bool) -> None:
        office.give("wallet", 1_003)
        office.payout(channel=channel, destination=DESTINATION)
        if approves:
            office.approve("po_1.1")
        bring_day(office, [moved("付", "po_1.1", 1_003)])

        assert clear(office) == 0
        assert mismatches(office) == [("unapproved", 1_003)]

    def test_runs_with_the_daily_files(self, office: Office) -> None:
        with office.db.write() as conn:
            tenants.create(conn, tenants.Tenant(TENANT, "大学", "University"))
        pay_by_bank(office)
        bring_day(office, [moved("付", "po_1.1", 1_003)])

        assert payments.resolve_from_statements(office.db, TENANT, clock=lambda: office.now) == 1
        assert balances(office) == (0, -1_003, 0)

    def test_keeps_schools_apart(self, office: Office) -> None:
        pay_by_bank(office)
        bring_day(office, [moved("付", "po_1.1", 1_003)])

        with office.db.write() as conn:
            assert bank_payouts.clear(conn, "other", office.now) == 0
            assert bank_payouts.mismatches(conn, "other", office.now) == []


class TestMismatches:
    def test_are_none_before_anybody_left(self, office: Office) -> None:
        assert mismatches(office) == []

    def test_name_what_no_statement_lists(self, office: Office) -> None:
        pay_by_bank(office)

        assert mismatches(office, 3 * DAY) == []
        assert mismatches(office, 4 * DAY) == [("unlisted", 1_003)]

    def test_end_with_an_entry_that_names_the_bank_s_number(self, office: Office) -> None:
        pay_by_bank(office)
        bring_day(office, [moved("付", "", 1_003, named="CTMISTYPED")])
        assert mismatches(office, 5 * DAY) == [("unknown", 1_003), ("unlisted", 1_003)]

        propose_manual(
            office,
            "en_typo",
            amount_minor=1_003,
            debit_account_id="payout_clearing",
            credit_account_id="bank",
            subject_id="B0000000001",
        )

        assert mismatches(office, 5 * DAY) == []
        assert balances(office) == (0, -1_003, 0)

    def test_name_a_transfer_of_what_an_entry_paid_in_cash(self, office: Office) -> None:
        pay_by_bank(office)
        propose_manual(
            office,
            "en_cash",
            amount_minor=1_003,
            debit_account_id="payout_clearing",
            credit_account_id="cash",
            subject_id="po_1",
        )
        assert mismatches(office, 9 * DAY) == []

        bring_day(office, [moved("付", "po_1.1", 1_003)])

        assert (clear(office), mismatches(office)) == (0, [("twice", 1_003)])
