"""Imports providers' daily files, whole or not at all, and answers what they say."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime
from itertools import islice

from sqlalchemy import Connection

from backend.statements import reading_alipay, reading_bank, reading_unionpay, reading_wechat, repository
from backend.statements.rules import Reading, ends_at, fingerprint, identity
from backend.statements.types import Kind, Row, StatementFile, StatementLine, StatementRefused, Summary

#: Reads one method's files: (name, bytes, day, our merchant number or "") → what is in them.
_READERS: dict[str, Callable[[str, bytes, date, str], Reading]] = {
    "unionpay": reading_unionpay.read,
    "wechat": reading_wechat.read,
    "alipay": reading_alipay.read,
    "bank": reading_bank.read,
}
METHODS = tuple(_READERS)
#: No provider gives files of days before this.
EARLIEST = date(2000, 1, 1)
_ROWS_PER_INSERT = 1_000
_NAME_LENGTH_MAX = 240


def import_file(
    conn: Connection,
    *,
    tenant_id: str,
    method: str,
    day: date,
    name: str,
    data: bytes,
    now: datetime,
    merchant_no: str = "",
) -> StatementFile:
    """
    Store a provider's file for a day, or nothing of it.

    The same bytes again change nothing. Another file for the day takes the place of the one in force if it holds every
    row of it, in any order. `merchant_no` is our number at the provider when known; rows of another are refused. When
    it is not, the newest file that names one says it.

    :raises StatementRefused: if the file is not provably whole and right; it says where and why.
    """
    if method not in _READERS:
        raise StatementRefused("method", f"no statement layout is known for {method!r}", file=name)
    if day < EARLIEST:
        raise StatementRefused("day", f"{day} is before {EARLIEST}; no file is of such a day", file=name)
    if now < ends_at(day):
        raise StatementRefused("day", f"{day} is not over yet; its file is whole when the next day begins", file=name)
    repository.lock(conn, tenant_id, method)
    sha256 = hashlib.sha256(data).hexdigest()
    known = repository.find_file(conn, tenant_id, method, day, sha256)
    if known is not None:
        return known
    merchant_no = merchant_no or repository.newest_merchant(conn, tenant_id, method)
    with conn.begin_nested():  # a refusal half-way leaves nothing, even when the caller goes on
        return _store(conn, _READERS[method], tenant_id, method, day, name, data, sha256, now, merchant_no)


def _store(
    conn: Connection,
    reader: Callable[[str, bytes, date, str], Reading],
    tenant_id: str,
    method: str,
    day: date,
    name: str,
    data: bytes,
    sha256: str,
    now: datetime,
    merchant_no: str,
) -> StatementFile:
    reading = reader(name, data, day, merchant_no)
    earlier = repository.file_in_force(conn, tenant_id, method, day)
    missing: dict[bytes, Row] = {}
    if earlier is not None:
        missing = {fingerprint(row): row for row in repository.rows_of(conn, tenant_id, method, day)}
        repository.replace_file(conn, earlier, now)
    count = 0
    rows = _without(_unique(reading.rows, name), missing)
    while batch := list(islice(rows, _ROWS_PER_INSERT)):
        repository.add_lines(conn, tenant_id, method, day, batch)
        count += len(batch)
    if missing:
        _refuse_replacement(name, list(missing.values()))
    file = StatementFile(
        tenant_id=tenant_id,
        method=method,
        day=day,
        file_sha256=sha256,
        name=name[:_NAME_LENGTH_MAX],
        layout=reading.layout,
        merchant_no=reading.merchant_no,
        byte_count=len(data),
        line_count=count,
        imported_at=now,
    )
    repository.add_file(conn, file)
    stored = repository.find_file(conn, tenant_id, method, day, sha256)
    assert stored is not None, "it was just inserted"
    return replace(stored, is_new=True)


def _unique(rows: Iterator[Row], name: str) -> Iterator[Row]:
    seen: set[bytes] = set()
    for row in rows:
        key = identity(row)
        if key in seen:
            raise StatementRefused(
                "duplicate",
                f"{row.kind} {row.order_no or row.provider_ref} is listed twice; ask the provider for a correct file",
                file=name,
                line=row.line_number,
            )
        seen.add(key)
        yield row


def _without(rows: Iterator[Row], missing: dict[bytes, Row]) -> Iterator[Row]:
    for row in rows:
        if missing:
            missing.pop(fingerprint(row), None)
        yield row


def _refuse_replacement(name: str, missing: Sequence[Row]) -> None:
    first = missing[0]
    raise StatementRefused(
        "replacement",
        f"a file for this day is already imported, and {len(missing)} of its rows are missing or different here; "
        f"the first is {first.kind} {first.order_no or first.provider_ref} (line {first.line_number} there). "
        "A correction must hold every earlier row",
        file=name,
    )


def lines_of(
    conn: Connection, tenant_id: str, method: str, order_nos: Collection[str]
) -> dict[str, list[StatementLine]]:
    """
    Return what statements say about orders, by number; numbers that no line names are absent.

    A number may be an order's or an operation's; a line is listed under each of its numbers that was asked for.
    """
    asked = set(order_nos) - {""}
    found: dict[str, list[StatementLine]] = {}
    for line in repository.lines_of(conn, tenant_id, method, sorted(asked)):
        for number in {line.order_no, line.operation_no} & asked:
            found.setdefault(number, []).append(line)
    return found


def lines_of_kinds(conn: Connection, tenant_id: str, method: str, kinds: Collection[Kind]) -> list[StatementLine]:
    """Return all lines of some kinds, by day and line."""
    return repository.lines_of_kinds(conn, tenant_id, method, kinds)


def days(conn: Connection, tenant_id: str, method: str) -> list[date]:
    """Return the days whose file was imported, oldest first; a day without business counts when its file is there."""
    return repository.days(conn, tenant_id, method)


def whole_days(conn: Connection, tenant_id: str, method: str) -> list[date]:
    """
    Return the days whose file in force is surely whole, oldest first: what is not in it was not done.

    A file that carries no totals may be cut between two rows and look right; only its packing vouches that it is whole.
    """
    return [
        day
        for day, layout in repository.layouts_in_force(conn, tenant_id, method)
        if not layout.endswith(reading_unionpay.UNVOUCHED)
    ]


def files(conn: Connection, tenant_id: str) -> list[StatementFile]:
    """Return the imported files, newest day first, replaced ones included."""
    return repository.files(conn, tenant_id)


def summary(conn: Connection, tenant_id: str, method: str, day: date) -> Summary:
    """Return a day's counts and sums by kind."""
    file = repository.file_in_force(conn, tenant_id, method, day)
    return Summary(method=method, day=day, file=file, kinds=repository.sums(conn, tenant_id, method, day))


def unmatched(
    conn: Connection, tenant_id: str, method: str, day: date, known_order_nos: Collection[str]
) -> list[StatementLine]:
    """Return a day's lines about orders and operations that are not ours, in file order: they are theirs only."""
    known = frozenset(known_order_nos)
    return [
        StatementLine(tenant_id, method, day, *row)
        for row in repository.rows_of(conn, tenant_id, method, day)
        if row.order_no not in known and (not row.operation_no or row.operation_no not in known)
    ]
