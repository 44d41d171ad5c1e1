"""A day of a province: many lines, both databases, bounded time and memory."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import event

from backend.db import Database
from backend.statements import service
from tests.unit.backend.statements.samples import PACKED, ROWS
from tests.unit.backend.statements.writing import DAY, Said

NOW = datetime(2026, 11, 22, 2, 5, tzinfo=UTC)
#: A tenth of a provincial day, and how often the database may be asked meanwhile: by the thousand, never by the line.
LINES, STATEMENTS_MAX = 22_000, 60
#: What may be kept of a line until the file's end: a digest, to see a row that comes twice. A line has 609 bytes, and a
#: row that is kept takes more than 1,000.
BYTES_PER_LINE_MAX = 300


def _day(method: str, count: int) -> Iterator[Said]:
    first = ROWS[method][0]
    for number in range(count):
        ref = f"{first.provider_ref[:-7]}{number:07d}"
        yield replace(
            first, order_no=f"auth01JB8Z{number:010d}", provider_ref=ref, amount_minor=1 + number % 999, fee_e5=0
        )


class TestImport:
    @pytest.mark.parametrize("method", sorted(ROWS))
    def test_of_a_large_day_asks_seldom(self, database: Database, method: str) -> None:
        data = PACKED[method](list(_day(method, LINES)))
        asked: list[str] = []

        with database.write() as conn:
            event.listen(conn, "before_cursor_execute", lambda *given: asked.append(given[2]))
            file = service.import_file(conn, tenant_id="gxu", method=method, day=DAY, name="x", data=data, now=NOW)

        assert 0 < len(asked) <= STATEMENTS_MAX
        with database.read() as conn:
            (kind,) = service.summary(conn, "gxu", method, DAY).kinds
        assert (file.line_count, kind.line_count) == (LINES, LINES)
        away = -1 if kind.kind == "payout" else 1
        assert kind.amount_minor == away * sum(1 + number % 999 for number in range(LINES))

    def test_of_more_lines_takes_hardly_more_memory(self, database: Database) -> None:
        few, many = (_peak_bytes(database, count) for count in (3_000, 7_000))

        assert many - few < BYTES_PER_LINE_MAX * 4_000


def _peak_bytes(database: Database, count: int) -> int:
    """Return the most memory that an import held at any moment."""
    data = PACKED["unionpay"](list(_day("unionpay", count)))
    tracemalloc.start()
    with database.write() as conn:
        service.import_file(conn, tenant_id=str(count), method="unionpay", day=DAY, name="x", data=data, now=NOW)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak
