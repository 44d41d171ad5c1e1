"""
Reads a day of the bank account that leavers are paid from, in the layout of our own (`layouts/bank_account.toml`).

The totals line vouches for counts and sums in each direction.
"""

from collections.abc import Iterator
from datetime import date

from backend.statements.containers import Part, lines, parts
from backend.statements.csv_columns import Columns
from backend.statements.layouts import load
from backend.statements.rules import Reading, parse_number, parse_yuan
from backend.statements.types import Kind, Row, StatementRefused

_DATA = load("bank_account")
_VERSIONS: dict[str, list[str]] = _DATA["versions"]
_KINDS: dict[str, Kind] = _DATA["kinds"]
_DECIMALS: int = _DATA["amount_decimals"]
_BOM = b"\xef\xbb\xbf"
_TIME, _WAY, _AMOUNT, _NUMBER, _REFERENCE = "记账时间", "收付", "金额", "参考号", "银行流水号"


def read(name: str, data: bytes, day: date, merchant_no: str) -> Reading:
    """
    Open a day of the account; `merchant_no` is the account's number when known.

    :raises StatementRefused: at once or while rows are read.
    """
    found = parts(name, data, encoding="gbk")
    if len(found) != 1:
        raise StatementRefused("container", "the ZIP file must hold one account's day", file=name)
    account = _Account(found[0], day, merchant_no)
    return Reading(account.version, account.account_no, account.rows())


class _Account:
    """One reading of an account's day: its version and number, and what the rows so far add up to."""

    def __init__(self, part: Part, day: date, account_no: str) -> None:
        self.columns = Columns.of(part.name, [])
        self.day = day
        self.numbered = lines(part)
        self.counts = dict.fromkeys(_KINDS, 0)
        self.sums = dict.fromkeys(_KINDS, 0)
        self.version = self._version()
        self.account_no = self._account(account_no)
        self._check_day()
        self.columns = Columns.of(part.name, _VERSIONS[self.version])
        number, header = next(self.numbered, (4, b""))
        self.columns.check_header(header.decode("utf-8", "replace").split(","), number)

    def _head(self, name: str, place: int) -> str:
        """Return what a line above the rows says behind its name."""
        number, line = next(self.numbered, (place, b""))
        said, comma, value = line.removeprefix(_BOM if place == 1 else b"").decode("utf-8", "replace").partition(",")
        if said != _DATA[name] or not comma:
            raise self.columns.refusal("header", f"the line {_DATA[name]!r} of the layout is missing", number)
        return value

    def _version(self) -> str:
        version = self._head("title", 1)
        if version not in _VERSIONS:
            known = ", ".join(_VERSIONS)
            raise self.columns.refusal("layout", f"{version!r} is no known version (known: {known})", 1)
        return version

    def _account(self, wanted: str) -> str:
        said = self._head("account", 2)
        if parse_number(said.encode()) is None:
            raise self.columns.refusal("text", f"{said!r} is not the number of an account", 2, _DATA["account"])
        if wanted and said != wanted:
            raise self.columns.refusal("merchant", f"account {said} is not {wanted}", 2, _DATA["account"])
        return said

    def _check_day(self) -> None:
        said = self._head("day", 3)
        if said != self.day.isoformat():
            raise self.columns.refusal("day", f"the file is of {said}, not {self.day}", 3, _DATA["day"])

    def rows(self) -> Iterator[Row]:
        """Yield the rows; refuse the file when its frame or its totals are wrong."""
        number = 4
        for number, line in self.numbered:
            if line.startswith(b"#"):
                self._finish(number, line)
                return
            yield self._row(number, line.split(b","))
        raise self.columns.refusal("totals", "the file ends without its totals; download it again", number)

    def _row(self, number: int, values: list[bytes]) -> Row:
        columns = self.columns
        if len(values) != len(columns.names):
            reason = f"the row has {len(values)} columns, not {len(columns.names)}"
            raise columns.refusal("columns", reason, number)
        way = columns.text(values, _WAY, "utf-8", number)
        kind = _KINDS.get(way)
        if kind is None:
            raise columns.refusal("kind", f"{way} is not a kind of row this layout knows", number, _WAY)
        amount_minor = columns.yuan(values, _AMOUNT, _DECIMALS, number)
        if amount_minor <= 0:
            raise columns.refusal("inconsistent", f"{way} of {amount_minor} fen goes the wrong way", number, _AMOUNT)
        self.counts[way] += 1
        self.sums[way] += amount_minor
        has_number = values[columns.places[_NUMBER]] != b""
        return Row(
            number,
            kind,
            columns.number(values, _NUMBER, number) if has_number else "",
            "",
            columns.number(values, _REFERENCE, number),
            -amount_minor if kind == "payout" else amount_minor,
            0,
            columns.moment(values, _TIME, self.day, number),
            way,
        )

    def _finish(self, number: int, line: bytes) -> None:
        """Check the totals, and that nothing follows."""
        said = line.decode("utf-8", "replace").split(",")
        if said[0] != _DATA["total"] or said[1::3] != list(_KINDS) or len(said) != 1 + 3 * len(_KINDS):
            raise self.columns.refusal("header", f"the line {_DATA['total']!r} of the layout is missing", number)
        for place, way in enumerate(_KINDS):
            count, amount = said[2 + 3 * place], said[3 + 3 * place]
            wanted = (str(self.counts[way]), self.sums[way])
            if (count, parse_yuan(amount.encode(), _DECIMALS)) != wanted:
                reason = f"it says {count} rows and {amount} yuan, the rows are {wanted[0]} and {wanted[1]} fen"
                raise self.columns.refusal("totals", reason, number, f"{_DATA['total']} {way}")
        if next(self.numbered, None) is not None:
            raise self.columns.refusal("layout", "more follows after the totals", number + 1)
