"""
Reads Alipay's business detail from its ZIP, or plain.

Fields are cut before they are decoded: no byte of a GBK character is a comma or a TAB. The totals lines vouch for
counts, amounts and discounts; fees have no total here, only the ZIP's checksum.
"""

import re
from collections.abc import Iterator
from datetime import date, timedelta

from backend.statements.containers import Part, lines, parts
from backend.statements.csv_columns import Columns
from backend.statements.layouts import load
from backend.statements.rules import Reading, parse_yuan
from backend.statements.types import Kind, Row, StatementRefused

_DATA = load("alipay_detail")
_NAMES: list[str] = _DATA["columns"]
_KINDS: dict[str, Kind] = _DATA["kinds"]
_TABBED: frozenset[str] = frozenset(_DATA["tab_columns"])
_DECIMALS: int = _DATA["amount_decimals"]
_FEE_E5_PER_FEN = 1_000
_DISCOUNTS = ("商家优惠（元）", "券核销金额（元）", "商家红包消费金额（元）")
_NAME_DAY = re.compile(r"_(\d{8})_")
_ABOVE = ("title", "account", "period", "begin")


def read(name: str, data: bytes, day: date, merchant_no: str) -> Reading:
    """
    Open a day's detail.

    :raises StatementRefused: at once or while rows are read.
    """
    found = parts(name, data, encoding="gbk")
    if data[:2] == b"PK":
        found = [p for p in found if _DATA["member_word"] in p.name and _DATA["member_word_not"] not in p.name]
        if len(found) != 1:
            raise StatementRefused("container", "the ZIP file must hold one 业务明细 file", file=name)
    part = found[0]
    for said in _NAME_DAY.findall(part.name):
        if said != f"{day:%Y%m%d}":
            raise StatementRefused("day", f"the file's name says {said}, not {day:%Y%m%d}", file=part.name)
    detail = _Detail(part, day, merchant_no)
    return Reading(_DATA["name"], detail.merchant_no, detail.rows())


class _Detail:
    """One reading of a detail file: its merchant, and what the rows so far add up to."""

    def __init__(self, part: Part, day: date, merchant_no: str) -> None:
        self.columns = Columns.of(part.name, _NAMES)
        self.day = day
        self.numbered = lines(part)
        self.counts: dict[Kind, int] = {"payment": 0, "refund": 0}
        self.amounts: dict[Kind, int] = {"payment": 0, "refund": 0}
        self.discounts: dict[Kind, int] = {"payment": 0, "refund": 0}
        self.merchant_no = self._head(merchant_no)

    def _head(self, merchant_no: str) -> str:
        """Read the lines above the rows and return the merchant they name."""
        above = {name: self._match(name, *next(self.numbered, (place, b""))) for place, name in enumerate(_ABOVE, 1)}
        account = above["account"]["account"]
        if merchant_no and merchant_no not in (account, account + (above["account"]["suffix"] or "")):
            raise self.columns.refusal("merchant", f"account {account} is not {merchant_no}", 2, "账号")
        starts, ends = f"{self.day:%Y年%m月%d日} 00:00:00", f"{self.day + timedelta(days=1):%Y年%m月%d日} 00:00:00"
        if (above["period"]["start"], above["period"]["end"]) != (starts, ends):
            raise self.columns.refusal("day", f"the period is not {self.day}", 3, "起始日期")
        number, header = next(self.numbered, (len(_ABOVE) + 1, b""))
        self.columns.check_header(header.decode("gbk", "replace").split(","), number)
        return account

    def _match(self, name: str, number: int, line: bytes) -> re.Match[str]:
        match = re.match(_DATA[name], line.decode("gbk", "replace"))
        if match is None:
            raise self.columns.refusal("header", f"the line {name!r} of the layout is missing", number)
        return match

    def rows(self) -> Iterator[Row]:
        """Yield the rows; refuse the file when its frame or its totals are wrong."""
        number = len(_ABOVE) + 1
        for number, line in self.numbered:
            if line.startswith(b"#"):
                self._match("end", number, line)
                self._finish(number)
                return
            yield self._row(number, line)
        raise self.columns.refusal("totals", "the file ends without its totals; download it again", number)

    def _values(self, line: bytes, number: int) -> list[bytes]:
        values = line.split(b",")
        if len(values) != len(_NAMES):
            raise self.columns.refusal("columns", f"the row has {len(values)} columns, not {len(_NAMES)}", number)
        for place, value in enumerate(values):
            if value.endswith(b"\t"):
                values[place] = value[:-1]
            elif _NAMES[place] in _TABBED:
                raise self.columns.refusal("separator", "no TAB stands behind the number", number, _NAMES[place])
        return values

    def _row(self, number: int, line: bytes) -> Row:
        columns = self.columns
        values = self._values(line, number)
        word = columns.text(values, "业务类型", "gbk", number)
        kind = _KINDS.get(word)
        if kind is None:
            raise columns.refusal("kind", f"{word} is not a kind of row this layout knows", number, "业务类型")
        sign = 1 if kind == "payment" else -1
        ordered = columns.yuan(values, "订单金额（元）", _DECIMALS, number)
        received = columns.yuan(values, "商家实收（元）", _DECIMALS, number)
        fee_minor = columns.yuan(values, "服务费（元）", _DECIMALS, number)
        discounts = [columns.yuan(values, name, _DECIMALS, number) for name in _DISCOUNTS]
        if received * sign <= 0:
            raise columns.refusal(
                "inconsistent", f"{word} of {received} fen goes the wrong way", number, "商家实收（元）"
            )
        if not 0 <= (ordered - received) * sign <= sum(map(abs, discounts)):
            reason = f"{received} fen are received of {ordered} fen with discounts of {discounts} fen"
            raise columns.refusal("inconsistent", reason, number, "商家实收（元）")
        if abs(fee_minor) > abs(received) or fee_minor * sign > 0:
            raise columns.refusal("inconsistent", f"a fee of {fee_minor} fen cannot be", number, "服务费（元）")
        operation_no = values[columns.places["退款批次号/请求号"]]
        if operation_no and kind == "payment":
            raise columns.refusal("inconsistent", "a payment has no number of a refund", number, "退款批次号/请求号")
        self.counts[kind] += 1
        self.amounts[kind] += received
        self.discounts[kind] += discounts[0]
        return Row(
            number,
            kind,
            columns.number(values, "商户订单号", number),
            columns.number(values, "退款批次号/请求号", number) if operation_no else "",
            columns.number(values, "支付宝交易号", number),
            received,
            -fee_minor * _FEE_E5_PER_FEN,
            columns.moment(values, "完成时间", self.day, number),
            word,
        )

    def _finish(self, number: int) -> None:
        """Check the totals; without a line for refunds the one for payments must hold all."""
        number, line = next(self.numbered, (number + 1, b""))
        payments = self._match("payments_total", number, line)
        after = next(self.numbered, (number + 1, b""))
        refunds = re.match(_DATA["refunds_total"], after[1].decode("gbk", "replace"))
        if refunds is None:
            both: tuple[Kind, ...] = ("payment", "refund")
            self._compare(payments, number, both)
        else:
            self._compare(payments, number, ("payment",))
            self._compare(refunds, after[0], ("refund",))
            after = next(self.numbered, (after[0] + 1, b""))
        if after[1]:
            self._match("exported", *after)
        if next(self.numbered, None) is not None:
            raise self.columns.refusal("layout", "more follows after the totals", after[0] + 1)

    def _compare(self, match: re.Match[str], number: int, kinds: tuple[Kind, ...]) -> None:
        said = (
            int(match["count"]),
            parse_yuan(match["amount"].encode(), _DECIMALS),
            parse_yuan(match["discount"].encode(), _DECIMALS),
        )
        wanted = tuple(sum(kept[kind] for kind in kinds) for kept in (self.counts, self.amounts, self.discounts))
        if said != wanted:
            reason = f"it says (count, fen received, fen of discounts) {said}, the rows add up to {wanted}"
            raise self.columns.refusal("totals", reason, number, match[0].split("：")[0])
