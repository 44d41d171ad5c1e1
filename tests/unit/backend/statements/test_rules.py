"""Exact integers, moments and identities."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.statements import rules
from backend.statements.types import Row
from tests.unit.backend.statements.writing import yuan

ROW = Row(1, "payment", "o1", "", "p1", 350, 2_100, datetime(2026, 11, 21, tzinfo=UTC), "SUCCESS")


class TestParseYuan:
    @given(st.integers(-(10**14) + 1, 10**14 - 1), st.sampled_from([2, 5]))
    def test_returns_what_was_written(self, units: int, decimals: int) -> None:
        units = units if decimals == 2 else units * 1_000

        assert rules.parse_yuan(yuan(units, decimals).encode(), decimals) == units

    @pytest.mark.parametrize(
        "text",
        [
            *(
                b"",
                b"1",
                b"1.",
                b".10",
                b"1.0",
                b"1.000",
                b"01.00",
                b"+1.00",
                b"1,000.00",
                b" 1.00",
                b"1.00 ",
                b"1e2.00",
            ),
            *(b"--1.00", "１.00".encode(), "1.0٠".encode(), b"1.00\n", b"\xa31.00", b"1000000000000.00", b"nan"),
        ],
    )
    def test_refuses_what_is_written_otherwise(self, text: bytes) -> None:
        assert rules.parse_yuan(text, 2) is None


class TestChinaMoment:
    def test_is_eight_hours_ahead_of_utc(self) -> None:
        assert rules.china_moment(date(2028, 2, 29), b"00:00:00") == datetime(2028, 2, 28, 16, tzinfo=UTC)

    @pytest.mark.parametrize("text", [b"24:00:00", b"23:60:00", b"23:59:60", b"2:00:00", b"", b"12:00", b"12-00-00"])
    def test_refuses_what_no_clock_shows(self, text: bytes) -> None:
        assert rules.china_moment(date(2026, 11, 21), text) is None


class TestParseNumber:
    @pytest.mark.parametrize(("text", "number"), [(b"a_1-Z", "a_1-Z"), (b"x" * 64, "x" * 64)])
    def test_returns_printable_ascii(self, text: bytes, number: str) -> None:
        assert rules.parse_number(text) == number

    @pytest.mark.parametrize("text", [b"", b"a b", b"a\t", "单".encode(), b"x" * 65, b"\x7f"])
    def test_refuses_the_rest(self, text: bytes) -> None:
        assert rules.parse_number(text) is None


class TestFingerprint:
    def test_does_not_see_where_the_row_stands(self) -> None:
        assert rules.fingerprint(ROW) == rules.fingerprint(ROW._replace(line_number=7))

    @pytest.mark.parametrize(
        "change",
        [
            *({"kind": "refund"}, {"order_no": "o2"}, {"operation_no": "s"}, {"provider_ref": "p"}, {"fee_e5": 0}),
            *({"amount_minor": 351}, {"happened_at": datetime(2026, 11, 22, tzinfo=UTC)}, {"status": "x"}),
        ],
    )
    def test_sees_everything_else(self, change: dict[str, object]) -> None:
        assert rules.fingerprint(ROW) != rules.fingerprint(Row(**{**ROW._asdict(), **change}))


class TestIdentity:
    def test_does_not_depend_on_amounts(self) -> None:
        assert rules.identity(ROW) == rules.identity(ROW._replace(amount_minor=1, fee_e5=2, line_number=3))

    def test_keeps_two_payments_of_one_order_apart(self) -> None:
        assert rules.identity(ROW) != rules.identity(ROW._replace(provider_ref="p2"))
