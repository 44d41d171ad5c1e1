"""ZM and ZME files, each written here byte by byte."""

import gzip
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from backend.statements import reading_unionpay
from backend.statements.types import StatementRefused
from tests.unit.backend.statements import writing
from tests.unit.backend.statements.samples import ADJUSTMENTS, UNIONPAY, at, expected, read, said
from tests.unit.backend.statements.writing import DAY, UNIONPAY_MERCHANT, zipped, zm, zm_line, zme_line

LINE = zm_line(UNIONPAY[0])
NAME = f"INN26112188ZM_{UNIONPAY_MERCHANT}"
#: Where fields begin in a record, counted from the published widths: sum of the widths before, and as many blanks.
STARTS = [sum(int(width) + 1 for width in f"{writing.ZM_COMMON},32,98".split(",")[:place]) for place in range(42)]
CODE, TIME, AMOUNT, ORDER, FEE, SETTLED, TYPE, ORIGINAL, MERCHANT, SECOND, NET = (
    STARTS[number - 1] for number in (1, 5, 7, 12, 16, 17, 20, 27, 28, 32, 33)
)


def _changed(start: int, value: bytes, line: bytes = LINE) -> bytes:
    return line[:start] + value + line[start + len(value) :] + b"\r\n"


def _refused(data: bytes, *, name: str = "file", day: date = DAY, merchant_no: str = "") -> dict[str, str | int | None]:
    with pytest.raises(StatementRefused) as refused:
        read("unionpay", data, name=name, day=day, merchant_no=merchant_no)
    return refused.value.details


class TestRead:
    @pytest.mark.parametrize("fields", [42, 46])
    @pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
    def test_returns_each_row(self, fields: int, newline: bytes) -> None:
        reading = reading_unionpay.read("x", zm(UNIONPAY, fields=fields, newline=newline), DAY, "")

        assert said(list(reading.rows)) == expected(UNIONPAY)
        assert (reading.layout, reading.merchant_no) == (f"unionpay-zm-{fields}+unvouched", UNIONPAY_MERCHANT)

    def test_returns_rows_of_the_layout_without_orders_originals(self) -> None:
        lines = [zm_line(row, fields=41) for row in UNIONPAY]
        lines[0] = lines[0][:-131] + "备".encode("gbk") * 65 + b" "  # text where newer layouts have a border

        reading = reading_unionpay.read("x", b"\n".join(lines), DAY, "")

        assert reading.layout == "unionpay-zm-41+unvouched"
        assert said(list(reading.rows)) == expected(
            [replace(row, order_no="") if row.status not in ("01", "02") else row for row in UNIONPAY]
        )

    def test_returns_adjustments_after_the_payments(self) -> None:
        rows = read("unionpay", writing.unionpay_zip(UNIONPAY, ADJUSTMENTS), name="x.zip")

        assert said(rows) == expected([*UNIONPAY, *ADJUSTMENTS])
        assert [row.line_number for row in rows] == list(range(1, 9))

    def test_returns_a_plain_file_of_adjustments(self) -> None:
        data = zme_line(ADJUSTMENTS[0]) + b"\n" + zme_line(replace(ADJUSTMENTS[0], amount_minor=40, fee_e5=0))

        assert [row.amount_minor for row in read("unionpay", data)] == [-350, 40]

    @pytest.mark.parametrize("data", [gzip.compress(b"", mtime=0), writing.unionpay_zip([])])
    def test_a_day_without_business_is_empty(self, data: bytes) -> None:
        assert read("unionpay", data) == []

    def test_nothing_is_no_file_unless_it_is_packed(self) -> None:
        assert _refused(b"")["cause"] == "container"

    @pytest.mark.parametrize("data", [gzip.compress(zm(UNIONPAY), mtime=0), writing.unionpay_zip(UNIONPAY)])
    def test_packing_vouches_for_all_rows(self, data: bytes) -> None:
        assert "unvouched" not in reading_unionpay.read("x", data, DAY, "").layout

    @pytest.mark.parametrize(
        "name",
        [
            "热水",
            "汉字满了整个字段的宽度三十二字节",
            "a汉字跨过了字段宽度的最后一个字节的边界去",
            "ａｂｃ，１２３　",
            "`|\\~汉",
        ],
    )
    def test_names_may_hold_any_character_and_be_cut_in_half(self, name: str) -> None:
        rows = [replace(row, name=name) for row in UNIONPAY]

        assert said(read("unionpay", zm(rows))) == expected(UNIONPAY)

    def test_a_trail_byte_that_looks_like_ascii_is_no_border(self) -> None:
        tricky = [
            chr(code) for code in range(0x4E00, 0x9FA5) if chr(code).encode("gbk")[1:] in (b"|", b"`", b"\\", b"~")
        ]
        rows = [replace(UNIONPAY[0], name="".join(tricky[:16])), *UNIONPAY[1:]]

        assert said(read("unionpay", zm(rows))) == expected(UNIONPAY)

    @pytest.mark.parametrize(
        ("day", "wall", "moment"),
        [
            (date(2028, 2, 29), at("00:00:00", date(2028, 2, 29)), datetime(2028, 2, 28, 16, tzinfo=UTC)),
            (date(2028, 3, 1), at("23:00:00", date(2028, 2, 29)), datetime(2028, 2, 29, 15, tzinfo=UTC)),
            (date(2026, 11, 22), at("22:00:00", date(2026, 11, 21)), datetime(2026, 11, 21, 14, tzinfo=UTC)),
            (date(2026, 11, 22), at("23:00:00", date(2026, 11, 21)), datetime(2026, 11, 21, 15, tzinfo=UTC)),
            (date(2026, 11, 22), at("23:00:00", date(2026, 11, 22)), datetime(2026, 11, 22, 15, tzinfo=UTC)),
            (date(2027, 1, 1), at("23:30:00", date(2026, 12, 31)), datetime(2026, 12, 31, 15, 30, tzinfo=UTC)),
            (date(2026, 12, 31), at("23:59:59", date(2026, 12, 31)), datetime(2026, 12, 31, 15, 59, 59, tzinfo=UTC)),
        ],
    )
    def test_the_year_follows_from_the_clearing_day(self, day: date, wall: datetime, moment: datetime) -> None:
        (row,) = read("unionpay", zm([replace(UNIONPAY[0], wall=wall)]), day=day)

        assert row.happened_at == moment


class TestRefusal:
    @pytest.mark.parametrize(
        ("data", "cause", "field"),
        [
            (LINE[:-1] + b"\r\n", "layout", ""),
            (LINE + b"\r\n" + LINE[:-1] + b"\r\n", "length", ""),
            (LINE + b"\r\n" + LINE + b" \r\n", "length", ""),
            (LINE + b"\r\n\r\n", "length", ""),
            (_changed(AMOUNT - 1, b"0"), "separator", "帐号"),
            (_changed(AMOUNT, b" 00000000350"), "number", "交易金额"),
            (_changed(AMOUNT, b"00000000035x"), "number", "交易金额"),
            (_changed(AMOUNT, b"000000000000"), "number", "交易金额"),
            (_changed(AMOUNT, b"000000000351"), "inconsistent", "结算金额"),
            (_changed(FEE, b"D000000000003"), "inconsistent", "结算金额"),
            (_changed(FEE, b"C000000000002"), "inconsistent", "结算金额"),
            (_changed(FEE, b"X000000000002"), "number", "商户手续费"),
            (_changed(SETTLED, b"D000000000348"), "inconsistent", "结算金额"),
            (_changed(NET, b"C000000000349"), "inconsistent", "清算净额"),
            (_changed(SECOND, b"C000000000001"), "kind", "二级商户分账入账金额"),
            (_changed(TYPE, b"04"), "inconsistent", "原交易查询流水号"),
            (_changed(TYPE, b"03"), "inconsistent", "原交易查询流水号"),
            (_changed(TYPE, b"02"), "inconsistent", "结算金额"),
            (_changed(TYPE, b"13"), "kind", "交易类型"),
            (_changed(ORIGINAL, b"2"), "inconsistent", "原交易查询流水号"),
            (_changed(ORDER, b"auth 1"), "text", "商户订单号"),
            (_changed(ORDER, b" "), "text", "商户订单号"),
            (_changed(ORDER, b"\xb0"), "text", "商户订单号"),
            (_changed(CODE, b"   "), "text", "交易代码"),
            (_changed(TIME, b"1321120000"), "day", "交易传输时间"),
            (_changed(TIME, b"1121240000"), "date", "交易传输时间"),
            (_changed(TIME, b"112112006x"), "number", "交易传输时间"),
            (_changed(TIME, b"1122000000"), "day", "交易传输时间"),
            (_changed(TIME, b"1120215959"), "day", "交易传输时间"),
            (LINE + b"\r\n" + _changed(MERCHANT, b"777290058110049"), "merchant", "商户代码"),
        ],
    )
    def test_says_where_and_why(self, data: bytes, cause: str, field: str) -> None:
        details = _refused(data)

        assert (details["cause"], details["field"], details["file"]) == (cause, field, "file")
        assert details["line"] == data.count(b"\n") if data.endswith(b"\n") else 1
        assert details["reason"]

    def test_refuses_another_merchant_than_the_caller_knows(self) -> None:
        assert _refused(LINE, merchant_no="777290058110049")["cause"] == "merchant"

    @pytest.mark.parametrize(
        ("name", "cause"),
        [
            (f"INN26112088ZM_{UNIONPAY_MERCHANT}", "day"),
            ("INN26112188ZM_777290058110049", "merchant"),
        ],
    )
    def test_believes_the_name(self, name: str, cause: str) -> None:
        assert _refused(LINE, name=name)["cause"] == cause
        assert _refused(zipped({name: LINE}), name="x.zip")["cause"] == cause

    def test_refuses_a_fee_where_no_money_moves(self) -> None:
        hold = zm_line(replace(UNIONPAY[3], fee_e5=2_000))

        assert hold[FEE : FEE + 13] == b"D000000000002"
        assert _refused(hold)["cause"] == "inconsistent"

    def test_refuses_a_file_of_the_day_before(self) -> None:
        assert _refused(LINE, day=date(2026, 11, 22))["cause"] == "day"

    @pytest.mark.parametrize(
        "members",
        [
            {},
            {"other": LINE},
            {NAME.replace("ZM", "ZME"): b""},
            {NAME: LINE, NAME.replace("88", "89"): LINE},
            {NAME: LINE, NAME.replace("ZM", "ZME"): b"", NAME.replace("88ZM", "89ZME"): b""},
        ],
    )
    def test_refuses_a_zip_without_exactly_one_file_of_payments(self, members: dict[str, bytes]) -> None:
        assert _refused(zipped(members))["cause"] == "container"

    def test_other_members_are_let_be(self) -> None:
        assert len(read("unionpay", zipped({NAME: LINE, "readme.txt": b"x", "说明": b"y"}, encoding="gbk"))) == 1

    @pytest.mark.parametrize(
        ("place", "value", "cause"),
        [(5, b"x", "number"), (7, b"000000000351", "inconsistent"), (15, b"C000000000003", "inconsistent")],
    )
    def test_refuses_an_adjustment_that_contradicts_itself(self, place: int, value: bytes, cause: str) -> None:
        line = zme_line(ADJUSTMENTS[0])
        start = sum(int(width) + 1 for width in writing.ZME_WIDTHS.split(",")[: place - 1])

        assert _refused(line[:start] + value + line[start + len(value) :])["cause"] == cause
