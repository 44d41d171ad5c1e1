"""Reads WeChat Pay's trade bill, plain or GZIP."""

from collections.abc import Iterator
from datetime import date

from backend.statements.containers import lines, parts
from backend.statements.csv_columns import Columns
from backend.statements.layouts import load
from backend.statements.rules import Reading
from backend.statements.types import Kind, Row, StatementRefused

_DATA = load("wechat_tradebill")
_NAMES: list[str] = _DATA["columns"]
_TOTALS: dict[str, str] = _DATA["totals"]
_KINDS: dict[bytes, Kind] = {state.encode(): kind for state, kind in _DATA["kinds"].items()}
_REFUND_STATES: frozenset[str] = frozenset(_DATA["refund_states"])
_AMOUNT: int = _DATA["amount_decimals"]
_FEE: int = _DATA["fee_decimals"]
_SUMMED = [name for name in _TOTALS.values() if name]
_DECIMALS = {name: _FEE if name == "手续费" else _AMOUNT for name in _SUMMED}
_BOM = b"\xef\xbb\xbf"
_TICK = b"`"


def read(name: str, data: bytes, day: date, merchant_no: str) -> Reading:
    """
    Open a day's bill.

    :raises StatementRefused: at once or while rows are read.
    """
    found = parts(name, data, encoding="gbk")
    if len(found) != 1:
        raise StatementRefused("container", "the ZIP file must hold one bill", file=name)
    part = found[0]
    bill = _Bill(part.name, day, merchant_no)
    merchant = merchant_no
    if not merchant:
        for number, line in lines(part):
            if number == 2:
                merchant = bill.merchant_of(line, number) if line.startswith(_TICK) else ""
                break
    bill.merchant_no = merchant
    return Reading(_DATA["name"], merchant, bill.rows(lines(part)))


class _Bill:
    """One reading of a bill: where it is, and what the rows so far add up to."""

    def __init__(self, name: str, day: date, merchant_no: str) -> None:
        self.columns = Columns.of(name, _NAMES)
        self.totals = Columns.of(name, list(_TOTALS))
        self.day = day
        self.merchant_no = merchant_no
        self.count = 0
        self.sums = dict.fromkeys(_SUMMED, 0)

    def merchant_of(self, line: bytes, number: int) -> str:
        """Return the merchant that a row names."""
        return self.columns.number(self._values(self.columns, line, number), "商户号", number)

    def rows(self, numbered: Iterator[tuple[int, bytes]]) -> Iterator[Row]:
        """Yield the rows; refuse the bill when its frame or its totals are wrong."""
        number, header = next(numbered, (1, b""))
        self.columns.check_header(_names(header.removeprefix(_BOM)), number)
        for number, line in numbered:
            if not line.startswith(_TICK):
                self._finish(number, line, numbered)
                return
            yield self._row(number, line)
        raise self.columns.refusal("totals", "the bill ends without its totals; download it again", number)

    def _values(self, columns: Columns, line: bytes, number: int) -> list[bytes]:
        values = line.removeprefix(_TICK).split(b",`")
        if not line.startswith(_TICK) or len(values) != len(columns.names):
            reason = f"the line has {len(values)} values behind back-ticks, not {len(columns.names)}"
            raise columns.refusal("columns", reason, number)
        return values

    def _row(self, number: int, line: bytes) -> Row:
        columns = self.columns
        values = self._values(columns, line, number)
        kind = _KINDS.get(values[columns.places["交易状态"]])
        if kind is None:
            state = values[columns.places["交易状态"]]
            raise columns.refusal("kind", f"{state!r} is not a state this layout knows", number, "交易状态")
        merchant_no = columns.number(values, "商户号", number)
        if merchant_no != self.merchant_no:
            raise columns.refusal("merchant", f"merchant {merchant_no} is not {self.merchant_no}", number, "商户号")
        if values[columns.places["货币种类"]] != _DATA["currency"].encode():
            raise columns.refusal("kind", f"the currency is not {_DATA['currency']}", number, "货币种类")
        amounts = {name: columns.yuan(values, name, decimals, number) for name, decimals in _DECIMALS.items()}
        for name, amount in amounts.items():
            self.sums[name] += amount
        self.count += 1
        coupon = columns.yuan(values, "代金券金额", _AMOUNT, number)
        is_payment = kind == "payment"
        ordered, settled, discount, title = (
            (amounts["订单金额"], amounts["应结订单金额"], coupon, "应结订单金额")
            if is_payment
            else (amounts["申请退款金额"], amounts["退款金额"], amounts["充值券退款金额"], "退款金额")
        )
        if settled <= 0 or not 0 <= ordered - settled <= discount:
            reason = f"{settled} fen are settled of {ordered} fen with {discount} fen of coupons"
            raise columns.refusal("inconsistent", reason, number, title)
        if is_payment and (amounts["退款金额"] or amounts["申请退款金额"]):
            raise columns.refusal("inconsistent", "a payment gives nothing back", number, "退款金额")
        if abs(amounts["手续费"]) > settled * 10 ** (_FEE - _AMOUNT):
            raise columns.refusal("inconsistent", "the fee is more than the amount", number, "手续费")
        return Row(
            number,
            kind,
            columns.number(values, "商户订单号", number),
            "" if is_payment else columns.number(values, "商户退款单号", number),
            columns.number(values, "微信订单号" if is_payment else "微信退款单号", number),
            settled if is_payment else -settled,
            amounts["手续费"],
            columns.moment(values, "交易时间", self.day, number),
            self._status(values, number, is_payment=is_payment),
        )

    def _status(self, values: list[bytes], number: int, *, is_payment: bool) -> str:
        if is_payment:
            return "SUCCESS"
        status = self.columns.text(values, "退款状态", "ascii", number)
        if status not in _REFUND_STATES:
            raise self.columns.refusal("kind", f"{status!r} is not a state of a refund", number, "退款状态")
        return status

    def _finish(self, number: int, header: bytes, numbered: Iterator[tuple[int, bytes]]) -> None:
        """Check the totals' header and values, and that nothing follows."""
        self.totals.check_header(_names(header), number)
        number, line = next(numbered, (number + 1, b""))
        values = self._values(self.totals, line, number)
        for name, column in _TOTALS.items():
            if not column:
                wanted, found = str(self.count), values[self.totals.places[name]].decode("ascii", "replace")
                if found != wanted:
                    raise self.totals.refusal("totals", f"it says {found}, the rows are {wanted}", number, name)
                continue
            total = self.totals.yuan(values, name, _DECIMALS[column], number)
            if total != self.sums[column]:
                reason = f"it says {total}, the rows add up to {self.sums[column]} (in units of the last decimal)"
                raise self.totals.refusal("totals", reason, number, name)
        if next(numbered, None) is not None:
            raise self.totals.refusal("layout", "more follows after the totals", number + 1)


def _names(line: bytes) -> list[str]:
    return line.decode("utf-8", "replace").split(",")
