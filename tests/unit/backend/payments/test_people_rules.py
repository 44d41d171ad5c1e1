"""Rules of the money that people move."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.payments import people_rules
from backend.payments.people_rules import own_minor, suggested_minor

_MOVES = st.lists(
    st.tuples(st.sampled_from(["own_in", "given", "spent", "refunded", "own_out"]), st.integers(1, 100)), max_size=20
)


class TestPairs:
    def test_let_ones_own_money_go_and_come_back_and_no_scheme_money_become_ones_own(self) -> None:
        assert people_rules.pairs("any school") == {("wallet", "voucher"): "any", ("voucher", "wallet"): "own"}

    def test_may_be_a_schools_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(people_rules.PAIRS_OF_TENANT, "gxu", {})

        assert people_rules.pairs("gxu") == {}
        assert people_rules.pairs("other") == people_rules.PAIRS


class TestOwnMinor:
    @pytest.mark.parametrize(
        ("moves", "own"),
        [
            ([], 0),
            ([("given", 100)], 0),
            ([("own_in", 100)], 100),
            ([("own_in", 100), ("own_out", 40)], 60),
            ([("own_in", 100), ("given", 50), ("spent", 60)], 90),
            ([("own_in", 100), ("spent", 100), ("given", 100)], 0),
            ([("own_in", 100), ("spent", 100), ("refunded", 30)], 30),
            ([("own_in", 10), ("given", 50), ("spent", 60), ("refunded", 60)], 10),
        ],
    )
    def test_follows_the_money(self, moves: list[tuple[people_rules.Move, int]], own: int) -> None:
        assert own_minor(moves) == own

    @given(_MOVES)
    def test_is_never_more_than_was_put_in_or_is_there(self, moves: list[tuple[people_rules.Move, int]]) -> None:
        balance = own_in = own_out = 0
        believable: list[tuple[people_rules.Move, int]] = []
        for move, amount in moves:
            own = own_minor(believable)
            spent = sum(n for kind, n in believable if kind == "spent") - sum(
                n for kind, n in believable if kind == "refunded"
            )
            room = {"own_out": own, "spent": balance, "refunded": spent}.get(move, amount)
            if (fitting := min(amount, room)) > 0:
                believable.append((move, fitting))
                balance += fitting if move in ("own_in", "given", "refunded") else -fitting
                own_in += fitting if move == "own_in" else 0
                own_out += fitting if move == "own_out" else 0

        assert 0 <= own_minor(believable) <= min(balance, own_in - own_out)


class TestIsReason:
    @pytest.mark.parametrize(
        ("text", "fits"), [("0123456789", True), (" 012345678 ", False), ("x" * 500, True), ("x" * 501, False)]
    )
    def test_counts_characters_without_the_space_around(self, text: str, fits: bool) -> None:
        assert people_rules.is_reason(text) is fits


class TestSuggestedMinor:
    @pytest.mark.parametrize(
        ("reason", "volume_ml", "temperature", "suggested"),
        [
            ("no_water", 0, None, 300),
            ("no_water", 500, None, 300),
            ("no_water", 501, None, None),
            ("no_water", None, None, None),
            ("too_cold", 40_000, 319, 300),
            ("too_cold", 40_000, 320, None),
            ("too_cold", 40_000, None, None),
            ("not_me", 0, 100, None),
        ],
    )
    def test_gives_all_back_where_the_meter_agrees(
        self, reason: str, volume_ml: int | None, temperature: int | None, suggested: int | None
    ) -> None:
        found = suggested_minor(reason, captured_minor=300, volume_ml=volume_ml, temperature_decidegc=temperature)

        assert found == suggested
