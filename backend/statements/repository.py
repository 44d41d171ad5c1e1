"""All SQL of the statements."""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, fields
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Connection,
    Date,
    Integer,
    bindparam,
    cast,
    column,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)

from backend.db import UtcDateTime
from backend.kit.clock import epoch_ms
from backend.statements.models import statement_files, statement_lines
from backend.statements.types import KindSum, Row, StatementFile, StatementLine

_FILE_COLUMNS = [statement_files.c[field.name] for field in fields(StatementFile) if field.name != "is_new"]
_LINE_COLUMNS = [statement_lines.c[field.name] for field in fields(StatementLine)]
_ROW_COLUMNS = [statement_lines.c[name] for name in Row._fields]
#: How many numbers one question names, and how many rows one answer brings at a time.
_NUMBERS_PER_QUERY = 500
_ROWS_PER_FETCH = 5_000


def lock(conn: Connection, tenant_id: str, method: str) -> None:
    """Make this transaction the only importer of a tenant's method until it ends; on SQLite it already is."""
    if conn.dialect.name == "postgresql":
        digest = hashlib.sha256(f"statements:{tenant_id}:{method}".encode()).digest()
        conn.execute(select(func.pg_advisory_xact_lock(int.from_bytes(digest[:8], "big", signed=True))))


def find_file(conn: Connection, tenant_id: str, method: str, day: date, file_sha256: str) -> StatementFile | None:
    """Return the file of these bytes, or None."""
    query = select(*_FILE_COLUMNS).where(
        *_of_day(statement_files, tenant_id, method, day), statement_files.c.file_sha256 == file_sha256
    )
    row = conn.execute(query).one_or_none()
    return None if row is None else StatementFile(*row)


def file_in_force(conn: Connection, tenant_id: str, method: str, day: date) -> StatementFile | None:
    """Return the file whose lines stand for a day, or None."""
    query = select(*_FILE_COLUMNS).where(
        *_of_day(statement_files, tenant_id, method, day), statement_files.c.replaced_at.is_(None)
    )
    row = conn.execute(query).one_or_none()
    return None if row is None else StatementFile(*row)


def newest_merchant(conn: Connection, tenant_id: str, method: str) -> str:
    """Return the merchant that the file in force of the newest day names, or nothing while none does."""
    query = (
        select(statement_files.c.merchant_no)
        .where(statement_files.c.tenant_id == tenant_id, statement_files.c.method == method)
        .where(statement_files.c.merchant_no != "", statement_files.c.replaced_at.is_(None))
        .order_by(statement_files.c.day.desc())
        .limit(1)
    )
    return str(conn.execute(query).scalar_one_or_none() or "")


def files(conn: Connection, tenant_id: str) -> list[StatementFile]:
    """Return a tenant's files, newest day first."""
    query = (
        select(*_FILE_COLUMNS)
        .where(statement_files.c.tenant_id == tenant_id)
        .order_by(statement_files.c.day.desc(), statement_files.c.method, statement_files.c.imported_at)
    )
    return [StatementFile(*row) for row in conn.execute(query)]


def days(conn: Connection, tenant_id: str, method: str) -> list[date]:
    """Return the days that have a file, oldest first."""
    query = (
        select(statement_files.c.day)
        .where(statement_files.c.tenant_id == tenant_id, statement_files.c.method == method)
        .distinct()
        .order_by(statement_files.c.day)
    )
    return list(conn.execute(query).scalars())


def layouts_in_force(conn: Connection, tenant_id: str, method: str) -> list[tuple[date, str]]:
    """Return the days that have a file with the layout of the one in force, oldest first."""
    query = (
        select(statement_files.c.day, statement_files.c.layout)
        .where(statement_files.c.tenant_id == tenant_id, statement_files.c.method == method)
        .where(statement_files.c.replaced_at.is_(None))
        .order_by(statement_files.c.day)
    )
    return [(row.day, row.layout) for row in conn.execute(query)]


def add_file(conn: Connection, file: StatementFile) -> None:
    """Insert a file."""
    values = asdict(file)
    del values["is_new"]
    conn.execute(insert(statement_files).values(values))


def replace_file(conn: Connection, file: StatementFile, replaced_at: datetime) -> None:
    """Take a file out of force and its lines away."""
    conn.execute(
        update(statement_files)
        .where(
            *_of_day(statement_files, file.tenant_id, file.method, file.day),
            statement_files.c.file_sha256 == file.file_sha256,
        )
        .values(replaced_at=replaced_at)
    )
    conn.execute(delete(statement_lines).where(*_of_day(statement_lines, file.tenant_id, file.method, file.day)))


def add_lines(conn: Connection, tenant_id: str, method: str, day: date, rows: Sequence[Row]) -> None:
    """
    Insert lines, in one statement with one parameter: an object of line number → values.

    Both databases take objects apart (`json_each`); sending rows one by one takes three times as long.
    """
    document = {str(row.line_number): [*row[1:7], epoch_ms(row.happened_at), row.status] for row in rows}
    given = func.json_each(bindparam("document", document, JSON)).table_valued("key", column("value", JSON))
    values: list[Any] = [
        literal(tenant_id),
        literal(method),
        literal(day, Date),
        cast(given.c.key, Integer),
    ]
    for place, name in enumerate(Row._fields[1:]):
        text = given.c.value[place].as_string()
        is_number = isinstance(statement_lines.c[name].type, BigInteger | UtcDateTime)
        values.append(cast(text, BigInteger) if is_number else text)
    conn.execute(insert(statement_lines).from_select([c.name for c in _LINE_COLUMNS], select(*values)))


def rows_of(conn: Connection, tenant_id: str, method: str, day: date) -> Iterator[Row]:
    """Yield what the lines of a day say, in order."""
    query = (
        select(*_ROW_COLUMNS)
        .where(*_of_day(statement_lines, tenant_id, method, day))
        .order_by(statement_lines.c.line_number)
    )
    for row in conn.execute(query.execution_options(yield_per=_ROWS_PER_FETCH)):
        yield Row(*row)


def lines_of(conn: Connection, tenant_id: str, method: str, numbers: Sequence[str]) -> list[StatementLine]:
    """Return the lines about these orders or operations, by day and line."""
    found: dict[tuple[date, int], StatementLine] = {}
    for start in range(0, len(numbers), _NUMBERS_PER_QUERY):
        some = list(numbers[start : start + _NUMBERS_PER_QUERY])
        for number in (statement_lines.c.order_no, statement_lines.c.operation_no):
            query = select(*_LINE_COLUMNS).where(
                statement_lines.c.tenant_id == tenant_id,
                statement_lines.c.method == method,
                number.in_(some),
                number != "",
            )
            for row in conn.execute(query):
                line = StatementLine(*row)
                found[line.day, line.line_number] = line
    return [found[key] for key in sorted(found)]


def lines_of_kinds(conn: Connection, tenant_id: str, method: str, kinds: Collection[str]) -> list[StatementLine]:
    """Return a method's lines of some kinds, by day and line."""
    query = (
        select(*_LINE_COLUMNS)
        .where(statement_lines.c.tenant_id == tenant_id, statement_lines.c.method == method)
        .where(statement_lines.c.kind.in_(sorted(kinds)))
        .order_by(statement_lines.c.day, statement_lines.c.line_number)
    )
    return [StatementLine(*row) for row in conn.execute(query)]


def sums(conn: Connection, tenant_id: str, method: str, day: date) -> list[KindSum]:
    """Return a day's count, amounts and fees by kind."""
    query = (
        select(
            statement_lines.c.kind,
            func.count(),
            func.sum(statement_lines.c.amount_minor),
            func.sum(statement_lines.c.fee_e5),
        )
        .where(*_of_day(statement_lines, tenant_id, method, day))
        .group_by(statement_lines.c.kind)
        .order_by(statement_lines.c.kind)
    )
    return [KindSum(kind, int(count), int(amount), int(fee)) for kind, count, amount, fee in conn.execute(query)]


def _of_day(table: Any, tenant_id: str, method: str, day: date) -> tuple[Any, ...]:
    return table.c.tenant_id == tenant_id, table.c.method == method, table.c.day == day
