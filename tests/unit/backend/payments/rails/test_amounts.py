"""Money as providers write it, to the fen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.payments.rails.amounts import (
    code_fits,
    compact_time,
    from_fen,
    from_rfc3339,
    from_spaced_time,
    from_trace_time,
    from_yuan,
    spaced_time,
    to_yuan,
)
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


class TestFromSpacedTime:
    def test_reads_back_what_spaced_time_writes(self) -> None:
        assert from_spaced_time(spaced_time(NOW)) == NOW
        assert from_spaced_time(f"{spaced_time(NOW)}.000") == NOW

    @pytest.mark.parametrize(
        "text", ["", "2026-03-01", "2026-02-30 10:00:00", "0001-01-01 00:00:00", "2026-03-01T10:00:00", " x", None, 7]
    )
    def test_refuses_the_rest(self, text: object) -> None:
        assert from_spaced_time(text) is None


class TestFromRfc3339:
    @pytest.mark.parametrize(
        "text", ["2026-03-01T20:00:07+08:00", "2026-03-01T12:00:07Z", "2026-03-01T12:00:07.000000+00:00"]
    )
    def test_reads_any_zone(self, text: str) -> None:
        assert from_rfc3339(text) == NOW

    @pytest.mark.parametrize("text", ["", "2026-03-01T12:00:07", "2026-13-01T12:00:07Z", "20260301T120007Z", None, {}])
    def test_refuses_the_rest(self, text: object) -> None:
        assert from_rfc3339(text) is None


class TestFromTraceTime:
    @pytest.mark.parametrize(
        ("text", "ordered", "written"),
        [
            ("0301200007", "20260301195955", "2026-03-01 20:00:07"),
            ("0101000003", "20261231235958", "2027-01-01 00:00:03"),  # the year turned in between
            ("0229120000", "20240229115959", "2024-02-29 12:00:00"),
        ],
    )
    def test_takes_the_year_of_the_order(self, text: str, ordered: str, written: str) -> None:
        assert from_trace_time(text, ordered) == from_spaced_time(written)

    @pytest.mark.parametrize(
        ("text", "ordered"),
        [
            ("", "20260301195955"),
            ("0301200007", ""),
            ("0230200007", "20260301195955"),
            (None, "20260301195955"),
            ("0301200007", None),
        ],
    )
    def test_refuses_the_rest(self, text: object, ordered: object) -> None:
        assert from_trace_time(text, ordered) is None
