"""A day of the bank account that leavers are paid from: every row comes back, every fault is named with its place."""

import gzip

import pytest

from backend.statements.types import StatementRefused
from tests.unit.backend.statements.samples import BANK, expected, read, said
from tests.unit.backend.statements.writing import BANK_ACCOUNT, DAY, bank, bank_zip, zipped

PLAIN = bank(BANK)


class TestRead:
    @pytest.mark.parametrize(
        "data",
        [PLAIN, b"\xef\xbb\xbf" + PLAIN, bank(BANK, newline="\r\n"), gzip.compress(PLAIN), bank_zip(BANK), PLAIN[:-1]],
        ids=["plain", "bom", "crlf", "gzip", "zip", "last line without its end"],
    )
    def test_gives_every_row(self, data: bytes) -> None:
        assert said(read("bank", data, merchant_no=BANK_ACCOUNT)) == expected(BANK)

    def test_gives_nothing_for_a_day_without_movements(self) -> None:
        assert read("bank", bank([])) == []

    @pytest.mark.parametrize(
        ("old", "new", "cause", "line", "field"),
        [
            ("#银行账户流水,", "#银行流水,", "header", 1, ""),
            ("campustap-bank-1", "campustap-bank-9", "layout", 1, ""),
            ("#账号,", "#帐户,", "header", 2, ""),
            (BANK_ACCOUNT, "", "text", 2, "#账号"),
            (BANK_ACCOUNT, "6222 02", "text", 2, "#账号"),
            ("#日期,2026-11-21", "#日期,2026-11-20", "day", 3, "#日期"),
            (",参考号,", ",备注,", "header", 4, "参考号"),
            ("收付,金额", "金额", "header", 4, ""),
            ("2026-11-21 00:00:00", "2026-11-20 00:00:00", "day", 5, "记账时间"),
            ("2026-11-21 00:00:00", "2026-11-21 24:00:00", "date", 5, "记账时间"),
            ("2026-11-21 00:00:00", "21.11.2026 00:00:00", "day", 5, "记账时间"),
            (",付,120.00", ",出,120.00", "kind", 5, "收付"),
            (",付,120.00", ",付,120", "number", 5, "金额"),
            (",付,120.00", ",付,-120.00", "inconsistent", 5, "金额"),
            (",付,120.00", ",付,0.00", "inconsistent", 5, "金额"),
            (",付,120.00", ",付,1,200.00", "columns", 5, ""),
            ("CTQ2MBXKD4WNAA,B202611210000017", "CT Q2,B202611210000017", "text", 5, "参考号"),
            ("B202611210000017", "", "text", 5, "银行流水号"),
            (",付,120.00", ",付,120.01", "totals", 9, "#合计 付"),
            (",退,120.00", ",付,120.00", "totals", 9, "#合计 付"),
            ("退,1,120.00", "退,2,120.00", "totals", 9, "#合计 退"),
            ("收,1,50000.00", "收,1,49999.99", "totals", 9, "#合计 收"),
            ("收,1,50000.00", "收,1", "header", 9, ""),
            ("#合计", "#总计", "header", 9, ""),
            ("50000.00\n", "50000.00\n#合计\n", "layout", 10, ""),
        ],
    )
    def test_says_where_it_is_wrong(self, old: str, new: str, cause: str, line: int, field: str) -> None:
        text = PLAIN.decode()
        place = text.rindex(old) if cause in ("totals", "layout") and "," not in old[:1] else text.index(old)
        data = (text[:place] + new + text[place + len(old) :]).encode()

        with pytest.raises(StatementRefused) as refused:
            read("bank", data)

        assert (refused.value.details["cause"], refused.value.details["line"]) == (cause, line)
        assert refused.value.details["field"] == field

    @pytest.mark.parametrize(
        ("data", "cause"),
        [
            (b"", "header"),
            (PLAIN[: PLAIN.index("#合计".encode())], "totals"),
            (PLAIN.decode().encode("gbk"), "header"),
            (PLAIN.decode().encode("utf-16"), "header"),
            (zipped({"a.csv": PLAIN, "b.csv": PLAIN}), "container"),
            (bank_zip(BANK)[:-30], "container"),
            (gzip.compress(PLAIN)[:-5], "container"),
        ],
        ids=["empty", "cut", "gbk", "utf-16", "two members", "cut zip", "cut gzip"],
    )
    def test_refuses_what_is_not_whole(self, data: bytes, cause: str) -> None:
        with pytest.raises(StatementRefused) as refused:
            read("bank", data)

        assert refused.value.details["cause"] == cause

    def test_refuses_another_account(self) -> None:
        with pytest.raises(StatementRefused, match=f"account {BANK_ACCOUNT} is not 6222020200099999999"):
            read("bank", PLAIN, day=DAY, merchant_no="6222020200099999999")
