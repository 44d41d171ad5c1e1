"""The trade bill, plain and packed."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from datetime import date

import pytest

from backend.statements import reading_wechat
from backend.statements.types import StatementRefused
from tests.unit.backend.statements.samples import WECHAT, at, expected, read, said
from tests.unit.backend.statements.writing import (
    DAY,
    WECHAT_HEADER,
    WECHAT_MERCHANT,
    WECHAT_TOTALS,
    wechat,
    wechat_gzip,
    zipped,
)

TEXT = wechat(WECHAT).decode("utf-8-sig")


def _refused(data: bytes, *, day: date = DAY, merchant_no: str = "") -> dict[str, str | int | None]:
    with pytest.raises(StatementRefused) as refused:
        read("wechat", data, day=day, merchant_no=merchant_no)
    return refused.value.details


class TestRead:
    @pytest.mark.parametrize("write", [wechat, wechat_gzip])
    def test_returns_each_row(self, write: Callable[..., bytes]) -> None:
        reading = reading_wechat.read("x", write(WECHAT), DAY, "")

        assert (reading.layout, reading.merchant_no) == ("wechat-tradebill-27", WECHAT_MERCHANT)
        assert said(list(reading.rows)) == expected(WECHAT)

    def test_returns_rows_with_the_line_they_stand_in(self) -> None:
        assert [row.line_number for row in read("wechat", wechat(WECHAT))] == [2, 3, 4]

    def test_a_day_without_business_is_empty(self) -> None:
        assert read("wechat", wechat([])) == []

    @pytest.mark.parametrize("name", ["洗澡, 热水", "`", "a`b", "全角，逗号", "😀", '"quoted"', ""])
    def test_names_may_hold_any_character(self, name: str) -> None:
        assert said(read("wechat", wechat([replace(WECHAT[0], name=name)]))) == expected(WECHAT[:1])

    def test_a_leap_day_is_a_day(self) -> None:
        row = replace(WECHAT[0], wall=at("23:59:59", date(2028, 2, 29)))

        assert said(read("wechat", wechat([row]), day=date(2028, 2, 29))) == expected([row])

    def test_an_undone_payment_gives_back(self) -> None:
        data = TEXT.replace("`REFUND,", "`REVOKED,").encode("utf-8-sig")

        assert said(read("wechat", data)) == expected(WECHAT)

    def test_a_bill_as_it_was_published_is_read(self) -> None:
        lines = [
            WECHAT_HEADER,
            "`2024-01-16 22:43:59,`wx,`1627859777,`0,`,`4200002086,`1747268229,`o2,`NATIVE,`SUCCESS,`OTHERS,`CNY,"
            "`0.02,`0.00,`0,`0,`0.00,`0.00,`,`,`测试支付4,`,`0.00000,`0.90%,`0.02,`0.00,`",
            "`2024-01-16 22:45:16,`wx,`1627859777,`0,`,`4200002086,`1747268229,`o2,`NATIVE,`REFUND,`OTHERS,`CNY,"
            "`0.00,`0.00,`5030310856,`R174726874,`0.01,`0.00,`ORIGINAL,`SUCCESS,`测试支付4,`,`0.00000,`0.90%,`0.00,`0.01,`",
            WECHAT_TOTALS,
            "`2,`0.02,`0.01,`0.00,`0.00000,`0.02,`0.01",
        ]

        rows = read("wechat", "\n".join(lines).encode("utf-8-sig"), day=date(2024, 1, 16))

        assert [(row.order_no, row.operation_no, row.amount_minor) for row in rows] == [
            ("1747268229", "", 2),
            ("1747268229", "R174726874", -1),
        ]


class TestRefusal:
    @pytest.mark.parametrize("names", [(), ("a.csv", "b.csv")])
    def test_a_zip_without_one_bill_is_refused(self, names: tuple[str, ...]) -> None:
        data = zipped({name: wechat(WECHAT) for name in names})

        assert _refused(data)["cause"] == "container"

    @pytest.mark.parametrize(
        ("old", "new", "cause", "line", "field"),
        [
            ("应结订单金额,", "应结金额,", "header", 1, "应结订单金额"),
            (",费率备注", "", "header", 1, ""),
            ("退款总金额,充", "退款金额,充", "header", 5, "退款总金额"),
            ("`CNY,`3.50", "CNY,`3.50", "columns", 2, ""),
            ("`CNY,`3.50", "`CNY,`3.50,`", "columns", 2, ""),
            ("`CNY,`3.50", "`USD,`3.50", "kind", 2, "货币种类"),
            ("`SUCCESS,`OTHERS", "`CLOSED,`OTHERS", "kind", 2, "交易状态"),
            ("`ORIGINAL,`SUCCESS", "`ORIGINAL,`PERHAPS", "kind", 3, "退款状态"),
            ("`CNY,`3.50", "`CNY,`3.5", "number", 2, "应结订单金额"),
            ("`CNY,`3.50", "`CNY,`3.51", "inconsistent", 2, "应结订单金额"),
            ("`CNY,`3.50", "`CNY,`0.00", "inconsistent", 2, "应结订单金额"),
            ("`CNY,`3.50", "`CNY,`-3.50", "inconsistent", 2, "应结订单金额"),
            ("`0.02100", "`0.0210", "number", 2, "手续费"),
            ("`0.02100", "`3.60000", "inconsistent", 2, "手续费"),
            ("`2026-11-21 00:00:00", "`2026-11-20 23:59:59", "day", 2, "交易时间"),
            ("`2026-11-21 00:00:00", "`2026-11-22 00:00:00", "day", 2, "交易时间"),
            ("`2026-11-21 00:00:00", "`2026-11-21T00:00:00", "date", 2, "交易时间"),
            ("`2026-11-21 00:00:00", "`2026-11-21 24:00:00", "date", 2, "交易时间"),
            (
                "`2026-11-21 09:10:11,`wx2421b1c4370ec43b,`19",
                "`2026-11-21 09:10:11,`wx2421b1c4370ec43b,`29",
                "merchant",
                3,
                "商户号",
            ),
            ("`ref01JB8Z0000000011", "`", "text", 3, "商户退款单号"),
            ("`3,`3.50,`2.50", "`2,`3.50,`2.50", "totals", 6, "总交易单数"),
            ("`3,`3.50,`2.50", "`03,`3.50,`2.50", "totals", 6, "总交易单数"),
            ("`3,`3.50,`2.50", "`3,`3.51,`2.50", "totals", 6, "应结订单总金额"),
            ("`3,`3.50,`2.50", "`3,`3.50,`2.51", "totals", 6, "退款总金额"),
            ("`0.00600,", "`0.00601,", "totals", 6, "手续费总金额"),
        ],
    )
    def test_says_where_and_why(self, old: str, new: str, cause: str, line: int, field: str) -> None:
        assert old in TEXT
        details = _refused(TEXT.replace(old, new, 1).encode("utf-8-sig"))

        assert (details["cause"], details["line"], details["field"]) == (cause, line, field)

    def test_refuses_a_bill_that_stops_at_any_line(self) -> None:
        lines = TEXT.encode("utf-8-sig").splitlines(keepends=True)

        for count in range(len(lines)):
            _refused(b"".join(lines[:count]))

    def test_refuses_what_follows_the_totals(self) -> None:
        assert _refused(TEXT.encode("utf-8-sig") + b"more\r\n")["cause"] == "layout"

    def test_refuses_another_merchant_than_the_caller_knows(self) -> None:
        assert _refused(wechat(WECHAT), merchant_no="1900000108")["cause"] == "merchant"

    def test_refuses_another_day(self) -> None:
        assert _refused(wechat(WECHAT), day=date(2026, 11, 20))["cause"] == "day"

    def test_refuses_other_characters(self) -> None:
        assert _refused(TEXT.encode("gbk"))["cause"] == "header"

    def test_refuses_a_packed_bill_of_something_else(self) -> None:
        assert _refused(gzip.compress(b"<html>busy</html>"))["cause"] == "header"
