"""The layouts, byte by byte."""

from datetime import date

import pytest

from firmware_sim.sandbox_provider.kit import is_address, minor, number_of, yuan, yuan_e5
from firmware_sim.sandbox_provider.rows import FEE_E4, fee_e5, fee_minor
from firmware_sim.sandbox_provider.unionpay_files import ZM_WIDTHS, ZME_WIDTHS, day_meant, line


class TestWidths:
    def test_add_up_to_the_records(self) -> None:
        assert (len(ZM_WIDTHS), sum(ZM_WIDTHS) + len(ZM_WIDTHS) - 1) == (42, 607)
        assert (len(ZME_WIDTHS), sum(ZME_WIDTHS) + len(ZME_WIDTHS) - 1) == (22, 339)


class TestLine:
    def test_counts_bytes_and_keeps_characters_whole(self) -> None:
        made = line(["热水", "热水", "x"], (5, 3, 2))

        assert made == "热水 ".encode("gbk") + b" " + "热 ".encode("gbk") + b" x \r\n"


class TestDayMeant:
    @pytest.mark.parametrize(
        ("text", "today", "day"),
        [
            ("1121", date(2026, 11, 22), date(2026, 11, 21)),
            ("1122", date(2026, 11, 22), date(2026, 11, 22)),
            ("1231", date(2026, 1, 1), date(2025, 12, 31)),
            ("0101", date(2025, 12, 31), date(2026, 1, 1)),
            ("0229", date(2026, 11, 22), date(2024, 2, 29)),
            ("0230", date(2026, 11, 22), None),
            ("", date(2026, 11, 22), None),
            ("1x21", date(2026, 11, 22), None),
        ],
    )
    def test_is_the_last_such_day(self, text: str, today: date, day: date | None) -> None:
        assert day_meant(text, today) == day


class TestAmounts:
    @pytest.mark.parametrize(
        ("amount", "text"), [(0, "0.00"), (5, "0.05"), (123, "1.23"), (-40, "-0.40"), (-12_345, "-123.45")]
    )
    def test_yuan_have_two_decimals(self, amount: int, text: str) -> None:
        assert yuan(amount) == text

    @pytest.mark.parametrize(("amount", "text"), [(0, "0.00000"), (738, "0.00738"), (-138, "-0.00138")])
    def test_fees_may_have_five(self, amount: int, text: str) -> None:
        assert yuan_e5(amount) == text

    @pytest.mark.parametrize(
        ("text", "amount"),
        [
            ("1.50", 150), ("1.5", 150), ("1", 100), ("0.01", 1), ("0", 0), ("1.005", 0), ("-1", 0), ("01", 0), ("", 0),
            ("1e2", 0), (" 1", 0), ("١", 0), (None, 0), (1.5, 0),
        ],
    )  # fmt: skip
    def test_are_read_strictly(self, text: object, amount: int) -> None:
        assert minor(text) == amount


class TestFees:
    def test_are_exact(self) -> None:
        assert [fee_minor("alipay", amount) for amount in (1, 83, 84, 10_000)] == [0, 0, 1, 60]
        assert [fee_e5("wechat", amount) for amount in (1, 123, 10_000)] == [6, 738, 60_000]
        assert set(FEE_E4) == {"unionpay", "alipay", "wechat"}


class TestIsAddress:
    @pytest.mark.parametrize(
        ("text", "is_one"),
        [
            ("http://127.0.0.1:8080/notify/wechat/gxu", True), ("https://pay.example.edu.cn/notify", True),
            ("http://127.0.0.1:99999/", False), ("http://x:abc/", False), ("http://[::1/", False), ("http:///x", False),
            ("ftp://x/", False), ("http://x y/", False), ("http://\x7f/", False), ("", False), (5, False),
        ],
    )  # fmt: skip
    def test_is_one_that_can_be_called(self, text: object, is_one: bool) -> None:
        assert is_address(text) is is_one


class TestNumberOf:
    @pytest.mark.parametrize(
        ("our_id", "number"),
        [
            ("auth_01m80t3gwkmffn1w2ec2pa4pmc", "auth01m80t3gwkmffn1w2ec2pa4pmc"),
            ("order001", "order001"),
            ("short", "ETYKMWBZRP5DTUBZKHLM5ZHLVJUR4HLF"),
        ],
    )
    def test_fits_every_provider(self, our_id: str, number: str) -> None:
        found = number_of(our_id)

        assert 8 <= len(found) <= 32
        assert found.isalnum()
        if our_id != "short":
            assert found == number
