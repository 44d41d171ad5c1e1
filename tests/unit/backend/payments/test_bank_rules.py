"""Payouts and the bank's lines: what fits is booked once, what does not is named, in both directions."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from backend.payments import bank_rules
from backend.payments.bank_rules import Compared, Mismatch, Order, Residue, compare, reference
from backend.statements.types import Kind, StatementLine
from tests.factories import NOW

ONE = Order("po_1.1", "po_1", 500, NOW, "bank")
TWO = Order("po_2.1", "po_2", 700, NOW, "bank")
LATER = NOW + bank_rules.GRACE
Expected = list[tuple[str, str, int]]


def line(order: Order | str, amount_minor: int, kind: Kind = "payout", number: int = 1) -> StatementLine:
    """Return a line of the bank's about an order, or naming something else."""
    named = reference(order.entry_id) if isinstance(order, Order) else order
    signed = -amount_minor if kind == "payout" else amount_minor
    return StatementLine("gxu", "bank", date(2026, 3, 2), number, kind, named, "", f"B{number}", signed, 0, NOW, "付")


def residues(*orders: Order) -> dict[str, Residue]:
    """Return what lies in clearing for orders."""
    return {order.payout_id: Residue(order.amount_minor, NOW) for order in orders}


def compared(
    *lines: StatementLine,
    orders: tuple[Order, ...] = (ONE, TWO),
    left: dict[str, Residue] | None = None,
    booked: tuple[str, ...] = (),
    explained: tuple[tuple[str, int], ...] = (),
) -> Compared:
    """Compare a day after the orders were given."""
    return compare(
        orders,
        lines,
        residues=residues(*orders) if left is None else left,
        booked=frozenset(booked),
        explained=frozenset(explained),
        now=NOW + timedelta(days=1),
    )


def said(found: Compared) -> Expected:
    """Return mismatches as kind, what they are about, and the amount."""
    return [_words(each) for each in found.mismatches]


def _words(found: Mismatch) -> tuple[str, str, int]:
    about = found.order.payout_id if found.order else found.reference
    return found.kind, about or (found.line.provider_ref if found.line else ""), found.amount_minor


class TestReference:
    def test_is_one_per_entry_and_can_be_typed(self) -> None:
        seen = {reference(f"po_{number}.{again}") for number in range(500) for again in (1, 2)}

        assert len(seen) == 1_000
        assert all(len(each) == 14 and each.startswith("CT") and each.isalnum() and each.isupper() for each in seen)

    def test_stays_what_it_is(self) -> None:
        assert reference("po_1.1") == "CT4ZR5UYZSU57K"


class TestCompare:
    def test_clears_what_the_bank_lists(self) -> None:
        found = compared(line(ONE, 500), line(TWO, 700, number=2))

        assert [each.transfer_id for each in found.bookings] == ["po_1.1.cleared", "po_2.1.cleared"]
        assert found.mismatches == []

    def test_takes_a_reference_in_small_letters(self) -> None:
        found = compared(replace(line(ONE, 500), order_no=reference(ONE.entry_id).lower()), orders=(ONE,))

        assert [each.transfer_id for each in found.bookings] == ["po_1.1.cleared"]

    def test_owes_again_what_came_back(self) -> None:
        found = compared(line(ONE, 500), line(ONE, 500, "payout_return", 2), orders=(ONE,))

        assert [each.transfer_id for each in found.bookings] == ["po_1.1.cleared", "po_1.1.returned"]
        assert found.mismatches == []

    def test_leaves_other_deposits_alone(self) -> None:
        found = compared(line("", 90_000, "deposit"), orders=())

        assert (found.bookings, found.mismatches) == ([], [])

    def test_knows_what_was_booked_before(self) -> None:
        found = compared(line(ONE, 500), orders=(ONE,), left={}, booked=("po_1.1.cleared",))

        assert ([each.transfer_id for each in found.bookings], said(found)) == (["po_1.1.cleared"], [])

    @pytest.mark.parametrize(
        ("lines", "orders", "expected"),
        [
            ([line("", 500)], (), [("unknown", "B1", 500)]),
            ([line("CTNOBODY", 500)], (), [("unknown", "B1", 500)]),
            ([line(ONE, 500)], (replace(ONE, ordered_at=None),), [("unapproved", "po_1", 500)]),
            ([line(ONE, 510)], (ONE,), [("amount", "po_1", 10)]),
            ([line(ONE, 490)], (ONE,), [("amount", "po_1", -10)]),
            ([line(ONE, 500), line(ONE, 500, number=2)], (ONE,), [("twice", "po_1", 500)]),
            ([line(ONE, 500, "payout_return")], (ONE,), [("back", "po_1", 500)]),
            ([line("", 500, "payout_return")], (), [("back", "B1", 500)]),
            ([line(ONE, 500), line(ONE, 499, "payout_return", 2)], (ONE,), [("back", "po_1", 499)]),
            (
                [line(ONE, 500), *(line(ONE, 500, "payout_return", number) for number in (2, 3))],
                (ONE,),
                [("back", "po_1", 500)],
            ),
            ([line(TWO, 500)], (ONE, TWO), [("amount", "po_2", -200)]),
        ],
    )
    def test_names_what_does_not_fit(
        self, lines: list[StatementLine], orders: tuple[Order, ...], expected: Expected
    ) -> None:
        assert said(compared(*lines, orders=orders)) == expected

    def test_names_a_transfer_of_what_an_entry_had_settled(self) -> None:
        assert said(compared(line(ONE, 500), orders=(ONE,), left={})) == [("twice", "po_1", 500)]

    def test_takes_an_entry_for_a_line_by_the_bank_s_number_and_amount(self) -> None:
        lines = [line("", 500), line("", 501, number=2), line("", 500, number=3)]

        assert said(compared(*lines, orders=(), explained=(("B1", -500), ("B2", -500)))) == [
            ("unknown", "B2", 501),
            ("unknown", "B3", 500),
        ]


class TestUnlisted:
    def compared(self, left: dict[str, Residue], now_after: timedelta, *lines: StatementLine) -> Expected:
        """Compare some time after."""
        return said(
            compare((ONE, TWO), lines, residues=left, booked=frozenset(), explained=frozenset(), now=NOW + now_after)
        )

    def test_is_what_no_statement_lists_in_time(self) -> None:
        left = residues(ONE, TWO)

        assert self.compared(left, bank_rules.GRACE - timedelta(seconds=1)) == []
        assert self.compared(left, bank_rules.GRACE) == [("unlisted", "po_1", 500), ("unlisted", "po_2", 700)]
        assert self.compared(left, bank_rules.GRACE, line(ONE, 500)) == [("unlisted", "po_2", 700)]

    def test_is_not_said_twice_of_another_amount(self) -> None:
        assert self.compared(residues(ONE), bank_rules.GRACE, line(ONE, 499)) == [("amount", "po_1", -1)]

    def test_is_settled_by_an_entry_as_large(self) -> None:
        left = residues(ONE, TWO)

        assert self.compared({**left, "B9": Residue(-700, NOW)}, bank_rules.GRACE) == [("unlisted", "po_1", 500)]
        assert self.compared({**left, "B9": Residue(-600, NOW)}, bank_rules.GRACE) == [
            ("unlisted", "po_1", 500),
            ("unlisted", "po_2", 700),
            ("unlisted", "B9", -600),
        ]

    def test_is_what_an_entry_left_of_a_payout(self) -> None:
        assert self.compared({"po_1": Residue(20, NOW)}, bank_rules.GRACE) == [("unlisted", "po_1", 20)]
