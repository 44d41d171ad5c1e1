"""Money as providers write it, to the fen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.payments.rails.amounts import code_fits, compact_time, from_fen, from_yuan, spaced_time, to_yuan
from tests.unit.backend.payments.rails.parties import CODES, NOW


class TestFromYuan:
    @given(st.integers(min_value=0, max_value=10**14 - 1))
    def test_reads_back_what_to_yuan_writes(self, amount_minor: int) -> None:
        assert from_yuan(to_yuan(amount_minor)) == amount_minor

    @pytest.mark.parametrize(
        ("text", "amount_minor"), [("1", 100), ("1.2", 120), ("0.29", 29), ("1234567.89", 123456789)]
    )
    def test_is_exact(self, text: str, amount_minor: int) -> None:
        assert from_yuan(text) == amount_minor

    @pytest.mark.parametrize(
        "text",
        ["", ".", "1.", ".5", "1.234", "-1.00", "+1", "1e2", "NaN", "١.٠٠", " 1.00", "1.00\n", 1.0, 100, None, True],
    )
    def test_refuses_the_rest(self, text: object) -> None:
        assert from_yuan(text) is None


class TestFromFen:
    @pytest.mark.parametrize(
        ("text", "fen"), [("0", 0), ("300", 300), ("3.00", None), ("-1", None), ("", None), (3, None)]
    )
    def test_takes_whole_fen_only(self, text: object, fen: int | None) -> None:
        assert from_fen(text) == fen


class TestCodeFits:
    @pytest.mark.parametrize("method", CODES)
    def test_knows_its_own_brand_only(self, method: str) -> None:
        assert [brand for brand in CODES if code_fits(brand, CODES[method])] == [method]

    @pytest.mark.parametrize(
        "code", ["", "134524350966727175\n", "1３4524350966727175", "SC1:AAAA", "hQVDUFYwMQ==", "000201"]
    )
    def test_takes_nothing_else(self, code: str) -> None:
        assert not any(code_fits(brand, code) for brand in CODES)


class TestTimes:
    def test_are_in_beijing(self) -> None:
        assert (compact_time(NOW), spaced_time(NOW)) == ("20260301200007", "2026-03-01 20:00:07")
