"""
What holds for every file of every layout.

Random days come back as they were written. One byte changed anywhere either makes the file refused or leaves the money
as it was: the same lines in the same order, each with its kind, amount and fee. In a packed file nothing at all
differs; in a plain one, what no total and no other field vouches for may: an order's, operation's or provider's number,
the time of day, the provider's word for the state, the fee of a plain Alipay file, whose layout has no total of fees,
and the amount of a hold or release of a plain UnionPay file, where no money moves.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.statements.types import Row, StatementRefused
from tests.unit.backend.statements.samples import ADJUSTMENTS, PACKED, PLAIN, ROWS, expected, read, said
from tests.unit.backend.statements.writing import Said, unionpay_zip, zme_line

_NUMBERS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", min_size=8, max_size=32)
_NAMES = st.text(st.sampled_from("热水澡桂湖大学（）　ａＺabc 0-|`~\\乂凛"), max_size=40)
_DAYS = st.dates(date(2024, 1, 1), date(2032, 12, 30))
_UNIONPAY = {
    "01": "payment",
    "02": "hold",
    "03": "completion",
    "04": "refund",
    "31": "refund",
    "32": "release",
    "33": "refund",
}


@st.composite
def _rows(draw: st.DrawFn, method: str) -> tuple[date, list[Said]]:
    day = draw(_DAYS)
    rows = []
    for number in range(draw(st.integers(0, 12))):
        amount = draw(st.integers(1, 99_999_999_999))
        fee_fen = draw(st.integers(0, amount))
        wall = datetime.fromisoformat(day.isoformat()) + timedelta(seconds=draw(st.integers(0, 86_399)))
        if method == "unionpay":
            status = draw(st.sampled_from(sorted(_UNIONPAY)))
            kind = _UNIONPAY[status]
            back, fee = kind in ("refund", "release"), 0 if status in ("02", "32") else fee_fen * 1_000
            is_step = status not in ("01", "02")
        else:
            back = draw(st.booleans())
            kind, is_step = ("refund" if back else "payment"), back
            fee = fee_fen * 1_000 + (draw(st.integers(0, 999)) if method == "wechat" and fee_fen < amount else 0)
            status = {"wechat": "SUCCESS", "alipay": "退款" if back else "交易"}[method]
        rows.append(
            Said(
                kind,
                draw(_NUMBERS),
                draw(_NUMBERS) if is_step else "",
                f"{number:021d}" if method == "unionpay" else f"4200{number:024d}",
                -amount if back else amount,
                -fee if back else fee,
                wall,
                status,
                draw(_NAMES),
            )
        )
    return day, rows


@st.composite
def _bank_rows(draw: st.DrawFn) -> tuple[date, list[Said]]:
    day = draw(_DAYS)
    rows = []
    for number in range(draw(st.integers(0, 12))):
        way, kind = draw(st.sampled_from([("付", "payout"), ("退", "payout_return"), ("收", "deposit")]))
        amount = draw(st.integers(1, 99_999_999_999))
        wall = datetime.fromisoformat(day.isoformat()) + timedelta(seconds=draw(st.integers(0, 86_399)))
        named = draw(st.just("") | _NUMBERS)
        rows.append(Said(kind, named, "", f"B{number:020d}", -amount if way == "付" else amount, 0, wall, way))
    return day, rows


class TestRoundTrip:
    @given(st.data())
    @pytest.mark.parametrize("method", sorted(PLAIN))
    def test_random_days_come_back_as_they_were_written(self, method: str, data: st.DataObject) -> None:
        day, rows = data.draw(_bank_rows() if method == "bank" else _rows(method))
        is_nothing = method == "unionpay" and not rows  # which only a packed file can say
        write = (PACKED if is_nothing or data.draw(st.booleans()) else PLAIN)[method]
        has_date = method in ("alipay", "bank") or write is unionpay_zip
        written = write(rows, day=day) if has_date else write(rows)

        assert said(read(method, written, day=day)) == expected(rows)


def _money(rows: Sequence[Row], *, fees: bool) -> list[tuple[object, ...]]:
    return [
        (
            row.line_number,
            row.kind,
            0 if row.kind in ("hold", "release") else row.amount_minor,
            row.fee_e5 if fees else 0,
        )
        for row in rows
    ]


def _mutants(data: bytes, seed: int, per_place: int) -> list[bytes]:
    """Return files with one byte changed: at each place to a few bytes, those likely to hurt first."""
    chosen = random.Random(seed)
    found = []
    for place, byte in enumerate(data):
        others = [other for other in b"0123456789 -.CD,`\t\n\r" if other != byte] + [byte ^ 1, byte ^ 128]
        found += [data[:place] + bytes([o]) + data[place + 1 :] for o in chosen.sample(others, per_place)]
    return found


class TestOneByte:
    @pytest.mark.parametrize("method", sorted(PLAIN))
    def test_changed_in_a_plain_file_never_changes_money_silently(self, method: str) -> None:
        data = PLAIN[method](ROWS[method])
        has_fee_total = method != "alipay"
        before = _money(read(method, data), fees=has_fee_total)
        imported = 0

        for mutant in _mutants(data, seed=1, per_place=4):
            try:
                after = read(method, mutant)
            except StatementRefused:
                continue
            imported += 1
            assert _money(after, fees=has_fee_total) == before

        assert imported, "a change in a field that is not read does no harm"

    @pytest.mark.parametrize("place", range(0, 339))
    def test_changed_in_an_adjustment_never_changes_money_silently(self, place: int) -> None:
        line = zme_line(ADJUSTMENTS[0])
        before = _money(read("unionpay", line), fees=True)

        for byte in range(256):
            mutant = line[:place] + bytes([byte]) + line[place + 1 :]
            try:
                after = read("unionpay", mutant)
            except StatementRefused:
                continue
            assert _money(after, fees=True) == before

    @given(st.data())
    @pytest.mark.parametrize("method", sorted(PLAIN))
    def test_changed_anywhere_to_anything_in_a_plain_file(self, method: str, data: st.DataObject) -> None:
        plain = PLAIN[method](ROWS[method])
        place = data.draw(st.integers(0, len(plain) - 1))
        mutant = plain[:place] + bytes([data.draw(st.integers(0, 255))]) + plain[place + 1 :]

        try:
            after = read(method, mutant)
        except StatementRefused:
            return

        assert _money(after, fees=method != "alipay") == _money(read(method, plain), fees=method != "alipay")

    @pytest.mark.parametrize("method", sorted(PACKED))
    def test_changed_in_a_packed_file_changes_nothing_at_all(self, method: str) -> None:
        data = PACKED[method](ROWS[method])
        before = read(method, data)

        for mutant in _mutants(data, seed=2, per_place=3):
            try:
                after = read(method, mutant)
            except StatementRefused:
                continue
            assert after == before

    @pytest.mark.parametrize("method", sorted(PLAIN))
    def test_lost_or_doubled_never_imports_anything_else(self, method: str) -> None:
        data = PLAIN[method](ROWS[method])
        before = _money(read(method, data), fees=method != "alipay")

        for place in range(0, len(data), 3):
            for mutant in (data[:place] + data[place + 1 :], data[:place] + data[place : place + 1] + data[place:]):
                try:
                    after = read(method, mutant)
                except StatementRefused:
                    continue
                assert _money(after, fees=method != "alipay") == before


class TestOrder:
    @pytest.mark.parametrize("method", sorted(PLAIN))
    def test_of_rows_means_nothing(self, method: str) -> None:
        rows = [replace(row, name=str(number)) for number, row in enumerate(ROWS[method])]

        assert sorted(map(str, said(read(method, PLAIN[method](rows[::-1]))))) == sorted(map(str, expected(rows)))
