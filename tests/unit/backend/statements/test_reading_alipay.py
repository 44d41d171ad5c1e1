"""The business detail, plain and in its ZIP."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date

import pytest

from backend.statements import reading_alipay
from backend.statements.types import StatementRefused
from tests.unit.backend.statements.samples import ALIPAY, at, expected, read, said
from tests.unit.backend.statements.writing import ALIPAY_SELLER, DAY, alipay, alipay_zip, zipped

TEXT = alipay(ALIPAY).decode("gbk")


def _refused(data: bytes, *, name: str = "file", day: date = DAY, merchant_no: str = "") -> dict[str, str | int | None]:
    with pytest.raises(StatementRefused) as refused:
        read("alipay", data, name=name, day=day, merchant_no=merchant_no)
    return refused.value.details


class TestRead:
    @pytest.mark.parametrize("write", [alipay, alipay_zip])
    @pytest.mark.parametrize("merchant_no", ["", ALIPAY_SELLER, f"{ALIPAY_SELLER}0156"])
    def test_returns_each_row(self, write: Callable[..., bytes], merchant_no: str) -> None:
        reading = reading_alipay.read("x", write(ALIPAY), DAY, merchant_no)

        assert (reading.layout, reading.merchant_no) == ("alipay-detail-25", ALIPAY_SELLER)
        assert said(list(reading.rows)) == expected(ALIPAY)

    def test_returns_rows_with_the_line_they_stand_in(self) -> None:
        assert [row.line_number for row in read("alipay", alipay(ALIPAY))] == [6, 7, 8]

    @pytest.mark.parametrize("write", [alipay, alipay_zip])
    def test_a_day_without_business_is_empty(self, write: Callable[..., bytes]) -> None:
        assert read("alipay", write([])) == []

    @pytest.mark.parametrize("name", ["热水", "全角，逗号", "`|\\~汉", "丂狛", "#", ""])
    def test_names_may_hold_any_character_but_a_comma(self, name: str) -> None:
        rows = [replace(row, name=name) for row in ALIPAY]

        assert said(read("alipay", alipay(rows, newline="\r\n"))) == expected(rows)

    def test_no_trail_byte_is_a_border(self) -> None:
        every = [chr(code) for code in range(0x4E00, 0x9FA6)]
        rows = [replace(ALIPAY[0], name="".join(every[start : start + 3_000])) for start in range(0, len(every), 3_000)]
        rows = [replace(row, provider_ref=f"2026112122{number}") for number, row in enumerate(rows)]

        assert said(read("alipay", alipay(rows))) == expected(rows)

    def test_a_leap_day_is_a_day(self) -> None:
        row = replace(ALIPAY[0], wall=at("23:59:59", date(2028, 2, 29)))

        assert said(read("alipay", alipay_zip([row], day=date(2028, 2, 29)), day=date(2028, 2, 29))) == expected([row])

    def test_a_last_day_of_the_year_ends_in_the_next(self) -> None:
        row = replace(ALIPAY[0], wall=at("00:00:00", date(2026, 12, 31)))

        assert len(read("alipay", alipay([row], day=date(2026, 12, 31)), day=date(2026, 12, 31))) == 1

    def test_a_canceled_payment_gives_back_without_a_number_of_its_own(self) -> None:
        rows = [ALIPAY[0], replace(ALIPAY[1], operation_no="")]

        assert said(read("alipay", alipay(rows))) == expected(rows)

    def test_payments_alone_need_no_totals_of_refunds(self) -> None:
        assert len(read("alipay", alipay([ALIPAY[0], ALIPAY[2]], refunds_line=False))) == 2

    def test_one_total_may_hold_payments_and_refunds(self) -> None:
        data = alipay(ALIPAY, refunds_line=False).decode("gbk").replace("2笔，商家实收共4.40", "3笔，商家实收共0.90")

        assert len(read("alipay", data.encode("gbk"))) == 3


class TestRefusal:
    @pytest.mark.parametrize(
        ("old", "new", "cause", "line", "field"),
        [
            ("业务明细查询", "业务汇总查询", "header", 1, ""),
            ("[20881", "[2088", "header", 2, ""),
            ("[2026年11月21日", "[2026年11月20日", "day", 3, "起始日期"),
            ("列表--", "单--", "header", 4, ""),
            ("商家实收（元）", "商家实收", "header", 5, "商家实收（元）"),
            (",备注", "", "header", 5, ""),
            (",3.50,3.50", ",3.50,3.50,", "columns", 6, ""),
            (",3.50,3.50", ",3.50", "columns", 6, ""),
            ("515000021\t", "515000021", "separator", 6, "支付宝交易号"),
            ("auth01JB8Z0000000021\t", "auth01JB8Z0000000021", "separator", 6, "商户订单号"),
            ("auth01JB8Z0000000021\t", "\t", "text", 6, "商户订单号"),
            (",交易\t", ",转账\t", "kind", 6, "业务类型"),
            (",3.50,3.50", ",3.50,3.5", "number", 6, "商家实收（元）"),
            (",3.50,3.50", ",3.50,3.51", "inconsistent", 6, "商家实收（元）"),
            (",3.50,3.50", ",3.50,3.49", "inconsistent", 6, "商家实收（元）"),
            (",3.50,3.50", ",-3.50,-3.50", "inconsistent", 6, "商家实收（元）"),
            (",-3.50,-3.50", ",3.50,3.50", "inconsistent", 7, "商家实收（元）"),
            (",-0.02,", ",0.02,", "inconsistent", 6, "服务费（元）"),
            (",-0.02,", ",-3.51,", "inconsistent", 6, "服务费（元）"),
            (",0.00,\t,-0.02", ",0.00,x\t,-0.02", "inconsistent", 6, "退款批次号/请求号"),
            (
                "2026-11-21 00:00:00,2026-11-21 00:00:00",
                "2026-11-21 00:00:00,2026-11-22 00:00:00",
                "day",
                6,
                "完成时间",
            ),
            (
                "2026-11-21 23:59:59,2026-11-21 23:59:59",
                "2026-11-21 23:59:59,2026-11-21 23:59:60",
                "date",
                7,
                "完成时间",
            ),
            ("列表结束", "列表终", "header", 9, ""),
            ("合计：2笔", "合计：1笔", "totals", 10, "#交易合计"),
            ("共4.40元", "共4.41元", "totals", 10, "#交易合计"),
            ("商家优惠共0.00", "商家优惠共0.01", "totals", 10, "#交易合计"),
            ("合计：1笔", "合计：2笔", "totals", 11, "#退款合计"),
            ("共-3.50元", "共-3.51元", "totals", 11, "#退款合计"),
            ("#导出时间", "#导时间", "header", 12, ""),
        ],
    )
    def test_says_where_and_why(self, old: str, new: str, cause: str, line: int, field: str) -> None:
        assert old in TEXT
        details = _refused(TEXT.replace(old, new, 1).encode("gbk"))

        assert (details["cause"], details["line"], details["field"]) == (cause, line, field)

    def test_refuses_a_file_that_stops_before_its_totals(self) -> None:
        lines = alipay(ALIPAY).splitlines(keepends=True)

        for count in range(len(lines) - 2):
            _refused(b"".join(lines[:count]))

    def test_refuses_refunds_that_no_total_holds(self) -> None:
        assert _refused(alipay(ALIPAY, refunds_line=False))["cause"] == "totals"

    def test_refuses_what_follows_the_totals(self) -> None:
        assert _refused(alipay(ALIPAY) + b"more\n")["cause"] == "layout"

    def test_refuses_another_merchant(self) -> None:
        assert _refused(alipay(ALIPAY), merchant_no="2088102146225136")["cause"] == "merchant"

    def test_refuses_another_day(self) -> None:
        assert _refused(alipay(ALIPAY), day=date(2026, 11, 20))["cause"] == "day"
        assert _refused(alipay_zip(ALIPAY), day=date(2026, 11, 20))["cause"] == "day"

    def test_refuses_half_a_character_where_it_reads(self) -> None:
        data = alipay(ALIPAY).replace("交易\t".encode("gbk"), "交易\t".encode("gbk")[:3] + b"\t", 1)

        assert _refused(data)["field"] == "业务类型"

    @pytest.mark.parametrize("names", [[], ["业务明细(汇总).csv"], ["a_业务明细.csv", "b_业务明细.csv"]])
    def test_refuses_a_zip_without_exactly_one_detail(self, names: list[str]) -> None:
        data = zipped(dict.fromkeys(names, alipay(ALIPAY)), encoding="gbk")

        assert _refused(data)["cause"] == "container"
