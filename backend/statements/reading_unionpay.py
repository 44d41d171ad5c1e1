"""
Reads UnionPay's ZM (payments) and ZME (adjustments) files.

They carry no totals. What vouches for a row is the row: what is settled must be the amount less the fee, the net what
is settled, and the type must agree with whether an original transaction is named. Where no money moves (holds and
releases) nothing vouches for the amount. A ZIP or GZIP adds a checksum over all; a plain file may have lost rows and
look right, so its layout is marked as unvouched, and an empty one is refused.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import chain

from backend.statements.containers import Part, lines, parts
from backend.statements.layouts import FixedWidth, fixed_width, load
from backend.statements.rules import Reading, china_moment, parse_number
from backend.statements.types import Cause, Kind, Row, StatementRefused

_DATA = load("unionpay_zm")
_ZM_FIELDS = (
    *("code", "trace", "time", "amount", "query_id", "order_no", "fee", "settled", "type", "original_query_id"),
    *("merchant", "second_merchant_amount", "net", "original_order_no"),
)
_ZME_FIELDS = ("code", "trace", "time", "amount", "original_trace", "original_time", "fee", "settled", "merchant")
_VERSIONS = {"ZM": fixed_width(_DATA, "zm", _ZM_FIELDS), "ZME": fixed_width(_DATA, "zme", _ZME_FIELDS)}
_MEMBER_NAME = re.compile(_DATA["member_name"])
#: Behind the layout's name of a file that may be cut off.
UNVOUCHED = "+unvouched"
_FEE_E5_PER_FEN = 1_000
_PACKED = (b"PK", b"\x1f\x8b")
_NOTHING = b" " * 21


@dataclass(slots=True)
class _File:
    """A part with what is known about it; `merchant_no` is learned from its first record when nobody knows."""

    part: Part
    version: FixedWidth
    day: date
    merchant_no: str
    dates: dict[bytes, date] = field(default_factory=dict)
    starts_at: datetime = field(init=False)

    def __post_init__(self) -> None:
        midnight = china_moment(self.day, b"00:00:00")
        assert midnight is not None
        self.starts_at = midnight + timedelta(hours=_DATA["starts_h"])
        self.dates = {day.strftime("%m%d").encode(): day for day in (self.day - timedelta(days=1), self.day)}

    def refusal(self, cause: Cause, reason: str, line: int = 0, name: str = "") -> StatementRefused:
        """Return a refusal that names the field as the layout does."""
        found = self.version.field(name)
        return StatementRefused(cause, reason, file=self.part.name, line=line, field=found.title if found else name)


def read(name: str, data: bytes, day: date, merchant_no: str) -> Reading:
    """
    Open a day's file: a ZIP with one ZM and at most one ZME member, or one of these plain.

    :raises StatementRefused: at once or while rows are read.
    """
    named = [(part, _MEMBER_NAME.match(part.name.rsplit("/", 1)[-1])) for part in parts(name, data, encoding="gbk")]
    if data[:2] == b"PK":
        found = {kind: [part for part, match in named if match and match["file"] == kind] for kind in ("ZM", "ZME")}
        if len(found["ZM"]) != 1 or len(found["ZME"]) > 1:
            raise StatementRefused(
                "container", "the ZIP file must hold one INN…ZM_… file and at most one INN…ZME_… file", file=name
            )
    else:
        kind = _kind_of(named[0][0])
        found = {"ZM": [], "ZME": [], kind: [named[0][0]]}
    for part, match in named:
        if match:
            merchant_no = _check_name(part, match, day, merchant_no)
    files = [_open(kind, part, day, merchant_no) for kind in ("ZM", "ZME") for part in found[kind]]
    for file in files:
        file.merchant_no = merchant_no = file.merchant_no or merchant_no
    layout = "+".join(file.version.name for file in files)
    if data[:2] not in _PACKED:
        if not data:
            raise StatementRefused("container", "an empty file says nothing unless it is packed", file=name)
        layout += UNVOUCHED
    return Reading(layout, merchant_no, _numbered(files))


def _check_name(part: Part, match: re.Match[str], day: date, merchant_no: str) -> str:
    if match["yymmdd"] != day.strftime("%y%m%d"):
        raise StatementRefused("day", f"the file's name says {match['yymmdd']}, not {day:%y%m%d}", file=part.name)
    if merchant_no and match["merchant"] != merchant_no:
        raise StatementRefused("merchant", f"the file's name is not about merchant {merchant_no}", file=part.name)
    return match["merchant"]


def _kind_of(part: Part) -> str:
    first = next(lines(part), (1, b""))[1]
    return "ZME" if len(first) == _VERSIONS["ZME"][0].record_bytes else "ZM"


def _open(kind: str, part: Part, day: date, merchant_no: str) -> _File:
    """Return the file with the first version whose length and tail fit every record."""
    first = next(lines(part), None)
    if first is None:
        return _File(part, _VERSIONS[kind][0], day, merchant_no)
    fitting = [version for version in _VERSIONS[kind] if version.record_bytes == len(first[1])]
    if not fitting:
        known = ", ".join(str(version.record_bytes) for version in _VERSIONS[kind])
        raise StatementRefused(
            "layout", f"records of {len(first[1])} bytes are no known version (known: {known})", file=part.name, line=1
        )
    version = next((version for version in fitting[:-1] if _tail_fits(part, version)), fitting[-1])
    merchant = version.field("merchant")
    assert merchant is not None
    own = parse_number(first[1][merchant.start : merchant.end].rstrip(b" ")) or ""
    return _File(part, version, day, merchant_no or own)


def _tail_fits(part: Part, version: FixedWidth) -> bool:
    tail = version.field("original_order_no")
    assert tail is not None
    pattern = re.compile((tail.pattern + re.escape(version.separator.decode())).encode())
    return all(pattern.match(line, tail.start) for _, line in lines(part))


def _numbered(files: list[_File]) -> Iterator[Row]:
    """Yield the rows of all files, counted through: the adjustments go on where the payments end."""
    rows = chain.from_iterable(_rows(file, _TO_ROW[file.version.name]) for file in files)
    for count, row in enumerate(rows, 1):
        yield row if row.line_number == count else row._replace(line_number=count)


def _rows(file: _File, to_row: Callable[[_File, int, dict[str, bytes]], Row]) -> Iterator[Row]:
    match = file.version.pattern.fullmatch
    for number, line in lines(file.part):
        record = match(line)
        if record is None:
            raise _misfit(file, number, line)
        yield to_row(file, number, record.groupdict())


def _misfit(file: _File, number: int, line: bytes) -> StatementRefused:
    """Return why a line is not a record: its length, a border between fields, or a field's writing."""
    if len(line) != file.version.record_bytes:
        reason = f"the record has {len(line)} bytes, not {file.version.record_bytes}"
        return file.refusal("length", reason, number)
    for item in file.version.fields:
        if not item.allows(line[item.start : item.end]):
            cause: Cause = "text" if item.syntax.startswith("id") else "number"
            return file.refusal(cause, f"{line[item.start : item.end]!r} is not {item.syntax}", number, item.name)
        if line[item.end : item.end + 1] not in (file.version.separator, b""):
            return file.refusal("separator", "no blank stands behind the field", number, item.name)
    return file.refusal("layout", "the record does not fit the layout", number)


def _zm_row(file: _File, number: int, record: dict[str, bytes]) -> Row:
    _check_merchant(file, number, record)
    word = record["type"].decode()
    known = _DATA["types"].get(word)
    if known is None:
        raise file.refusal("kind", f"transaction type {word} is not one a statement may hold", number, "type")
    kind: Kind = known["kind"]
    original_query_id = _number(file, number, record, "original_query_id")
    original_order_no = _number(file, number, record, "original_order_no")
    if known["names_original"] != bool(original_query_id or original_order_no):
        says = "must name" if known["names_original"] else "must not name"
        raise file.refusal("inconsistent", f"type {word} {says} an original transaction", number, "original_query_id")
    amount, fee_minor = _amount(file, number, record), _signed(record["fee"])
    moved, settled = known["sign"] * amount, _signed(record["settled"])
    if settled != moved + fee_minor or (moved == 0 and fee_minor):
        reason = f"settled {settled} fen is not {moved} and fee {fee_minor}"
        raise file.refusal("inconsistent", reason, number, "settled")
    if record["second_merchant_amount"].strip(b" CD0"):
        reason = "part of it is settled to a second merchant, which is not supported"
        raise file.refusal("kind", reason, number, "second_merchant_amount")
    if _signed(record["net"]) != settled:
        raise file.refusal("inconsistent", f"the net is not what is settled, {settled} fen", number, "net")
    own = _number(file, number, record, "order_no")
    return Row(
        number,
        kind,
        original_order_no if known["names_original"] else own,
        own if known["names_original"] else "",
        _number(file, number, record, "query_id"),
        -amount if kind in ("refund", "release") else amount,
        -fee_minor * _FEE_E5_PER_FEN,
        _moment(file, number, record["time"]),
        word,
    )


def _zme_row(file: _File, number: int, record: dict[str, bytes]) -> Row:
    """Return an adjustment. It names no order: `provider_ref` is its trace and time, a slash, those it corrects."""
    _check_merchant(file, number, record)
    amount, fee_minor, settled = _amount(file, number, record), _signed(record["fee"]), _signed(record["settled"])
    moved = settled - fee_minor
    if abs(moved) != amount:
        reason = f"settled {settled} fen is not {amount} and fee {fee_minor}"
        raise file.refusal("inconsistent", reason, number, "settled")
    original = (record["original_trace"] + record["original_time"]).decode().strip()
    return Row(
        number,
        "adjustment",
        "",
        "",
        f"{record['trace'].decode()}{record['time'].decode()}/{original}",
        moved,
        -fee_minor * _FEE_E5_PER_FEN,
        _moment(file, number, record["time"]),
        _number(file, number, record, "code"),
    )


def _check_merchant(file: _File, number: int, record: dict[str, bytes]) -> None:
    merchant_no = _number(file, number, record, "merchant")
    if merchant_no != file.merchant_no:
        reason = f"merchant {merchant_no} is not {file.merchant_no}"
        raise file.refusal("merchant", reason, number, "merchant")


def _number(file: _File, number: int, record: dict[str, bytes], name: str) -> str:
    """Return an id; "" where the layout lets it be blank or has no such field."""
    raw = record.get(name, _NOTHING).rstrip(b" ")
    if not raw:
        return ""
    text = parse_number(raw)
    if text is None:
        raise file.refusal("text", f"{raw!r} has a blank inside", number, name)
    return text


def _amount(file: _File, number: int, record: dict[str, bytes]) -> int:
    amount = int(record["amount"])
    if amount == 0:
        raise file.refusal("number", "the amount is nothing", number, "amount")
    return amount


def _signed(text: bytes) -> int:
    return int(text[1:]) if text.startswith(b"C") else -int(text[1:])


def _moment(file: _File, number: int, text: bytes) -> datetime:
    """Return the time of MMDDhhmmss within the clearing day; the year follows from it."""
    day = file.dates.get(text[:4])
    moment = china_moment(day or file.day, b":".join((text[4:6], text[6:8], text[8:])))
    if moment is None:
        raise file.refusal("date", f"{text.decode()} is not a time MMDDhhmmss", number, "time")
    if day is None or moment < file.starts_at:
        raise file.refusal("day", f"{text.decode()} is not in the clearing day {file.day}", number, "time")
    return moment


_TO_ROW = {version.name: _zm_row for version in _VERSIONS["ZM"]} | {
    version.name: _zme_row for version in _VERSIONS["ZME"]
}
