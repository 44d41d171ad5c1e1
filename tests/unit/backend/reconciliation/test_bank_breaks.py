"""A payout and the bank that do not agree are a break with amount, cause and owner, whichever side is wrong."""

from datetime import timedelta

import pytest

from backend.db import Database
from backend.payments import bank_payouts
from backend.reconciliation import service
from backend.reconciliation.rules import Break
from backend.web.phrases import phrase
from backend.web.words import word
from tests.unit.backend.payments.bank_desk import DESTINATION, bring_day, moved, pay_by_bank
from tests.unit.backend.payments.office import TENANT, Office

DAY = timedelta(days=1)


@pytest.fixture
def office(database: Database) -> Office:
    """Return an office that ann has left with 10.03, by bank."""
    filled = Office(database).fill()
    pay_by_bank(filled)
    return filled


def breaks(office: Office, later: timedelta = timedelta()) -> list[Break]:
    """Book what fits and reconcile, some time later."""
    with office.db.write() as conn:
        bank_payouts.clear(conn, TENANT, office.now)
        return list(service.run(conn, TENANT, office.now + later).breaks)


class TestOfMismatch:
    def test_finds_nothing_when_both_sides_agree(self, office: Office) -> None:
        bring_day(office, [moved("付", "po_1.1", 1_003), moved("收", "", 90_000, 2, named="")])

        assert breaks(office, 9 * DAY) == []

    def test_names_what_the_bank_lacks(self, office: Office) -> None:
        day = office.now.date()
        bring_day(office, [])

        assert breaks(office, 4 * DAY) == [
            Break(
                "payout_unlisted",
                "po_1",
                1_003,
                0,
                f"in payout clearing since {day}, and no bank statement lists it",
                "finance",
            )
        ]

    @pytest.mark.parametrize(
        ("movement", "kind", "subject", "amount_minor", "cause"),
        [
            (
                moved("付", "", 700, named="CTNOBODY"),
                *("payout_unknown", "bank/B0000000001", 700, "is for no payout of ours; it names CTNOBODY"),
            ),
            (
                moved("付", "", 700, named=""),
                *("payout_unknown", "bank/B0000000001", 700, "is for no payout of ours; it names nothing"),
            ),
            (moved("付", "po_1.1", 1_030), *("payout_amount", "po_1", 27, "is over 1030, the payout 1003")),
            (
                moved("退", "po_1.1", 1_003),
                *("payout_back", "po_1", 1_003, "came back, and none of this number and amount had gone out"),
            ),
        ],
    )
    def test_names_what_the_bank_has_otherwise(
        self, office: Office, movement: tuple[str, ...], kind: str, subject: str, amount_minor: int, cause: str
    ) -> None:
        day = bring_day(office, [movement])

        assert breaks(office) == [
            Break(kind, subject, amount_minor, 0, f"transfer B0000000001 of {day} {cause}", "finance")
        ]

    def test_names_a_second_transfer(self, office: Office) -> None:
        day = bring_day(office, [moved("付", "po_1.1", 1_003), moved("付", "po_1.1", 1_003, 2)])

        cause = f"transfer B0000000002 of {day} is for a payout that was settled before"
        assert breaks(office) == [Break("payout_twice", "po_1", 1_003, 0, cause, "finance")]

    @pytest.mark.parametrize(
        ("channel", "cause"),
        [("cash", "a payout that goes in cash"), ("bank", "a payout that no second person has agreed to")],
    )
    def test_names_a_transfer_nobody_had_agreed_to(self, office: Office, channel: str, cause: str) -> None:
        office.give("wallet", 250, "ch_bob")
        office.payout("po_2", cardholder_id="ch_bob", channel=channel, destination=DESTINATION)
        day = bring_day(office, [moved("付", "po_1.1", 1_003), moved("付", "po_2.1", 250, 2)])

        cause = f"transfer B0000000002 of {day} is for {cause}"
        assert breaks(office) == [Break("payout_unapproved", "po_2", 250, 0, cause, "finance")]

    def test_is_said_in_both_languages(self, office: Office) -> None:
        bring_day(office, [moved("付", "po_9.1", 700), moved("退", "po_1.1", 5, 2)])

        for found in breaks(office, 5 * DAY):
            assert word("cause", found.kind, "zh") != found.kind
            assert phrase(found.cause, "zh") != found.cause
