"""The layout data agrees with the published widths and headers, counted here once more by hand."""

import pytest

from backend.statements import layouts, reading_unionpay
from backend.statements.layouts import Field
from tests.unit.backend.statements import writing


class TestFixedWidth:
    @pytest.mark.parametrize(
        ("name", "widths", "record_bytes"),
        [
            ("unionpay-zm-41", f"{writing.ZM_COMMON},{writing.ZM_TAILS[41]}", 607),
            ("unionpay-zm-42", f"{writing.ZM_COMMON},{writing.ZM_TAILS[42]}", 607),
            ("unionpay-zm-46", f"{writing.ZM_COMMON},{writing.ZM_TAILS[46]}", 608),
            ("unionpay-zme-22", writing.ZME_WIDTHS, 339),
        ],
    )
    def test_has_the_published_widths(self, name: str, widths: str, record_bytes: int) -> None:
        data = layouts.load("unionpay_zm")
        known = {
            version.name: version
            for section in ("zm", "zme")
            for version in layouts.fixed_width(data, section, ("amount",))
        }

        version = known[name]

        assert ",".join(str(field.byte_count) for field in version.fields) == widths
        assert version.record_bytes == record_bytes == version.fields[-1].end
        assert [f.start for f in version.fields[1:]] == [f.end + 1 for f in version.fields[:-1]]

    def test_names_are_unique_within_a_version(self) -> None:
        for version in layouts.fixed_width(layouts.load("unionpay_zm"), "zm", ()):
            assert len({field.name for field in version.fields}) == len(version.fields)

    def test_every_field_that_is_read_exists(self) -> None:
        for versions in reading_unionpay._VERSIONS.values():
            for version in versions:
                assert {"amount", "fee", "settled", "merchant", "time"} <= set(version.pattern.groupindex)


class TestColumns:
    @pytest.mark.parametrize(
        ("name", "header", "count"),
        [("wechat_tradebill", writing.WECHAT_HEADER, 27), ("alipay_detail", writing.ALIPAY_HEADER, 25)],
    )
    def test_are_the_published_ones(self, name: str, header: str, count: int) -> None:
        assert layouts.load(name)["columns"] == header.split(",")
        assert len(header.split(",")) == count

    def test_the_totals_are_the_published_ones(self) -> None:
        assert list(layouts.load("wechat_tradebill")["totals"]) == writing.WECHAT_TOTALS.split(",")


class TestField:
    @pytest.mark.parametrize(
        ("syntax", "good", "bad"),
        [
            ("any", [b"\xb0\xa1\x0a\x00", b"    "], []),
            ("digits", [b"0019"], [b" 019", b"001x", b"    ", b"-001"]),
            ("digits?", [b"0019", b"    "], [b"001 ", b"  19"]),
            ("signed", [b"C001", b"D999"], [b"0001", b"c001", b"C01 ", b"    "]),
            ("signed?", [b"C001", b"    "], [b" 001", b"C   "]),
            ("id", [b"a1  ", b"S22x"], [b"    ", b" a1 ", b"a\xb0\xa1 ", b"a\t  "]),
            ("id?", [b"a1  ", b"    "], [b"a\xb0\xa1 ", b"a\x00  "]),
        ],
    )
    def test_allows_what_its_syntax_says(self, syntax: layouts.Syntax, good: list[bytes], bad: list[bytes]) -> None:
        field = Field("name", 0, 4, syntax, "名")

        assert [value for value in good if not field.allows(value)] == []
        assert [value for value in bad if field.allows(value)] == []
