"""
Files that hands, mailers, spreadsheets and strangers have spoiled: each is refused with its place and why, and leaves
nothing, or reads as the honest file does.
"""

import gzip
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest

from backend.db import Database
from backend.statements import containers, proposals, service
from backend.statements.types import StatementRefused
from tests.unit.backend.statements.samples import PACKED, PLAIN, ROWS, read, said
from tests.unit.backend.statements.writing import DAY, zipped

NOW = datetime(2026, 12, 1, 4, tzinfo=UTC)
ENCODINGS = {"unionpay": "gbk", "alipay": "gbk", "wechat": "utf-8", "bank": "utf-8"}
BOM = b"\xef\xbb\xbf"


def _crlf(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _cut_in_the_middle_of_a_line(data: bytes) -> bytes:
    return data[: len(data) // 2]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut in the middle": _cut_in_the_middle_of_a_line,
    "the last three bytes are gone": lambda data: data[:-3],
    "two byte order marks": lambda data: BOM + BOM + data,
    "CR alone": lambda data: _crlf(data).replace(b"\r\n", b"\r"),
    "two kinds of line ends": lambda data: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n", 2),
    "a blank line above": lambda data: b"\n" + data,
    "a blank line below": lambda data: data + b"\n",
    "zeros became NUL": lambda data: data.replace(b"0", b"\0"),
    "more below": lambda data: data + b"junk\n",
    "a login page": lambda data: b"<!doctype html>\n<html><body>login</body></html>\n",
    "random": lambda data: random.Random(1).randbytes(5_000),
    "no end of the line": lambda data: b"x" * 1_000_000,
    "packed twice": lambda data: gzip.compress(gzip.compress(data)),
    "a ZIP in a ZIP": lambda data: zipped({"a.zip": zipped({"b.csv": data})}),
    "too many in a ZIP": lambda data: zipped({f"{number}.csv": data[:1] for number in range(100)}),
    "the start of a ZIP": lambda data: b"PK",
    "the start of a GZIP": lambda data: b"\x1f\x8b",
    "a GZIP bomb": lambda data: gzip.compress(b"0" * 2_000_000 + data),
    "a ZIP bomb": lambda data: zipped({"account.csv": b"0" * 2_000_000}),
}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a bomb be small."""
    monkeypatch.setattr(containers, "UNPACKED_BYTES_MAX", 1_000_000)


on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def bring(database: Database, method: str, data: bytes, *, day: date = DAY, merchant_no: str = "") -> object:
    """Bring a file as the page and the command do."""
    with database.write() as conn:
        return proposals.bring(
            conn,
            tenant_id="gxu",
            method=method,
            day=day,
            name="file",
            data=data,
            brought_by="ch_fin",
            now=NOW,
            merchant_no=merchant_no,
        )


def refusal(database: Database, method: str, data: bytes, **more: object) -> StatementRefused:
    """Return why a file is refused, after asserting that nothing of it is there."""
    with pytest.raises(StatementRefused) as refused:
        bring(database, method, data, **more)  # type: ignore[arg-type]
    with database.read() as conn:
        assert (service.files(conn, "gxu"), proposals.waiting(conn, "gxu")) == ([], [])
        assert service.lines_of_kinds(conn, "gxu", method, ("payment", "refund", "payout", "hold")) == []
    return refused.value


class TestBring:
    @on_sqlite
    @pytest.mark.parametrize("method", sorted(PLAIN))
    def test_refuses_what_is_damaged_and_keeps_nothing(self, database: Database, method: str) -> None:
        honest = PLAIN[method](ROWS[method])
        text = honest.decode(ENCODINGS[method])
        other = "utf-8" if ENCODINGS[method] == "gbk" else "gbk"
        spoiled = {name: damage(honest) for name, damage in DAMAGE.items()}
        spoiled |= {"UTF-16": text.encode("utf-16"), "another encoding": text.encode(other, "replace")}
        spoiled["cut while packed"] = PACKED[method](ROWS[method])[:-20]
        spoiled["a row twice"] = PLAIN[method]([*ROWS[method], ROWS[method][0]])

        for name, data in spoiled.items():
            assert data != honest, name
            found = refusal(database, method, data)
            assert found.details["cause"], name
            assert found.details["file"], name
            assert 10 < len(str(found)) < 500, name

    @on_sqlite
    @pytest.mark.parametrize("method", sorted(PLAIN))
    def test_refuses_another_s(self, database: Database, method: str) -> None:
        honest = PLAIN[method](ROWS[method])

        assert refusal(database, method, honest, day=DAY - timedelta(days=1)).details["cause"] == "day"
        assert refusal(database, method, honest, merchant_no="9999999999").details["cause"] == "merchant"

    @pytest.mark.parametrize("method", sorted(PLAIN))
    def test_reads_other_line_ends_and_another_order_of_rows(self, method: str) -> None:
        honest = PLAIN[method](ROWS[method])
        expected = said(read(method, honest))

        assert said(read(method, _crlf(honest))) == expected
        assert said(read(method, honest.replace(b"\r\n", b"\n"))) == expected
        assert said(read(method, PLAIN[method](ROWS[method][::-1]))) == expected[::-1]
