"""Tables as CSV files that a spreadsheet opens as they are: UTF-8 with its mark, CR LF, no cell that could be run."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence

from starlette.responses import StreamingResponse

#: What a spreadsheet takes for the beginning of a formula, and what would hide one.
_RUNS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def cell(value: object) -> str:
    """Return a value as a cell: text that would be read as a formula gets an apostrophe before it."""
    text = "" if value is None else str(value)
    is_risky = text.lstrip(" ").startswith(_RUNS) and not _NUMBER.fullmatch(text)
    return f"'{text}" if is_risky else text


def yuan(amount_minor: int) -> str:
    """Return an amount as a spreadsheet reads it: 3620 becomes 36.20."""
    sign = "-" if amount_minor < 0 else ""
    whole, fen = divmod(abs(amount_minor), 100)
    return f"{sign}{whole}.{fen:02d}"


def lines(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield a table's lines, the mark before the first."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow([cell(each) for each in header])
    yield "\ufeff" + buffer.getvalue()
    for row in rows:
        buffer.seek(0)
        buffer.truncate()
        writer.writerow([cell(each) for each in row])
        yield buffer.getvalue()


def answer(name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> StreamingResponse:
    """Return a table as a download that is written while it is sent."""
    assert re.fullmatch(r"[a-z0-9-]+\.csv", name), "the name goes into a header"
    disposition = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(lines(header, rows), media_type="text/csv; charset=utf-8", headers=disposition)
