"""Files are stored whole or not at all, once, and answer what they say. On SQLite and on PostgreSQL."""

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from backend.db import Database
from backend.statements import service
from backend.statements.models import statement_files, statement_lines
from backend.statements.types import KindSum, StatementFile, StatementRefused
from tests.unit.backend.statements.samples import ADJUSTMENTS, PACKED, PLAIN, ROWS, UNIONPAY, WECHAT, at, expected
from tests.unit.backend.statements.writing import (
    ALIPAY_SELLER,
    BANK_ACCOUNT,
    DAY,
    UNIONPAY_MERCHANT,
    WECHAT_MERCHANT,
    Said,
    bank,
    unionpay_zip,
    wechat,
    zm,
)

NOW = datetime(2026, 11, 22, 2, 5, tzinfo=UTC)
LATER = NOW + timedelta(hours=3)
MERCHANTS = {
    "unionpay": UNIONPAY_MERCHANT,
    "wechat": WECHAT_MERCHANT,
    "alipay": ALIPAY_SELLER,
    "bank": BANK_ACCOUNT,
}


def _import(
    db: Database,
    data: bytes,
    *,
    method: str = "wechat",
    tenant_id: str = "gxu",
    day: date = DAY,
    now: datetime = NOW,
    merchant_no: str = "",
) -> StatementFile:
    with db.write() as conn:
        return service.import_file(
            conn,
            tenant_id=tenant_id,
            method=method,
            day=day,
            name="bill.csv",
            data=data,
            now=now,
            merchant_no=merchant_no,
        )


def _stored(db: Database, method: str = "wechat", tenant_id: str = "gxu") -> list[tuple[object, ...]]:
    """Return what the day's lines say, in order."""
    with db.read() as conn:
        return [
            (
                *(line.kind, line.order_no, line.operation_no, line.provider_ref, line.amount_minor, line.fee_e5),
                *(line.happened_at, line.status),
            )
            for line in service.unmatched(conn, tenant_id, method, DAY, ())
        ]


def _lines_above(method: str) -> int:
    """Return how many lines stand above a plain file's rows."""
    return {"unionpay": 0, "wechat": 1, "alipay": 5, "bank": 4}[method]


def _counts(db: Database) -> tuple[int, int]:
    with db.read() as conn:
        files = conn.execute(select(func.count()).select_from(statement_files)).scalar_one()
        return files, conn.execute(select(func.count()).select_from(statement_lines)).scalar_one()


class TestImportFile:
    @pytest.mark.parametrize("write", [PLAIN, PACKED])
    @pytest.mark.parametrize("method", sorted(ROWS))
    def test_stores_every_row(
        self, database: Database, method: str, write: dict[str, Callable[[Sequence[Said]], bytes]]
    ) -> None:
        data = write[method](ROWS[method])

        file = _import(database, data, method=method, merchant_no=MERCHANTS[method])

        assert file.is_new
        assert (file.line_count, file.byte_count, file.merchant_no) == (len(ROWS[method]), len(data), MERCHANTS[method])
        assert _stored(database, method) == expected(ROWS[method])

    def test_stores_adjustments(self, database: Database) -> None:
        _import(database, unionpay_zip(UNIONPAY, ADJUSTMENTS), method="unionpay")

        assert _stored(database, "unionpay") == expected([*UNIONPAY, *ADJUSTMENTS])

    def test_stores_numbers_with_any_printable_character(self, database: Database) -> None:
        printable = "".join(chr(code) for code in range(0x21, 0x7F)).replace(",", "").replace("`", "")
        rows = [replace(WECHAT[0], order_no=printable[:50]), replace(WECHAT[0], order_no=printable[50:] + '"\\u0041')]

        _import(database, wechat(rows))

        assert _stored(database) == expected(rows)

    def test_stores_large_amounts_exactly(self, database: Database) -> None:
        row = replace(WECHAT[0], amount_minor=99_999_999_999_999, fee_e5=99_999_999_999_999_000)

        _import(database, wechat([row]))

        assert _stored(database) == expected([row])

    def test_the_same_bytes_again_change_nothing(self, database: Database) -> None:
        first = _import(database, wechat(WECHAT))

        again = _import(database, wechat(WECHAT), now=LATER)

        assert again == replace(first, is_new=False)
        assert _counts(database) == (1, 3)

    def test_a_day_without_business_counts_as_imported(self, database: Database) -> None:
        _import(database, wechat([]))

        with database.read() as conn:
            assert service.days(conn, "gxu", "wechat") == [DAY]

    @pytest.mark.parametrize("method", sorted(ROWS))
    def test_a_day_that_is_not_over_is_refused(self, database: Database, method: str) -> None:
        midnight = datetime(2026, 11, 21, 16, tzinfo=UTC)

        with pytest.raises(StatementRefused) as refused:
            _import(database, PLAIN[method](ROWS[method]), method=method, now=midnight - timedelta(milliseconds=1))

        assert refused.value.details["cause"] == "day"
        assert _counts(database) == (0, 0)
        assert _import(database, PLAIN[method](ROWS[method]), method=method, now=midnight).is_new

    @pytest.mark.parametrize("day", [date(1, 1, 1), date(1999, 12, 31)])
    def test_a_day_before_there_were_files_is_refused(self, database: Database, day: date) -> None:
        with pytest.raises(StatementRefused) as refused:
            _import(database, PLAIN["bank"](ROWS["bank"]), method="bank", day=day)

        assert refused.value.details["cause"] == "day"

    def test_a_later_file_with_every_row_takes_the_place_of_the_first(self, database: Database) -> None:
        first = _import(database, wechat(WECHAT[:2]))

        second = _import(database, wechat(WECHAT[::-1]), now=LATER)

        assert second.is_new
        assert sorted(map(str, _stored(database))) == sorted(map(str, expected(WECHAT)))
        with database.read() as conn:
            assert service.files(conn, "gxu") == [
                replace(first, is_new=False, replaced_at=LATER),
                replace(second, is_new=False),
            ]

    def test_a_replaced_file_again_changes_nothing(self, database: Database) -> None:
        first = _import(database, wechat(WECHAT[:2]))
        _import(database, wechat(WECHAT), now=LATER)

        again = _import(database, wechat(WECHAT[:2]), now=LATER)

        assert again == replace(first, is_new=False, replaced_at=LATER)
        assert _counts(database) == (2, 3)

    def test_the_same_rows_packed_otherwise_are_a_replacement(self, database: Database) -> None:
        _import(database, zm(UNIONPAY), method="unionpay")

        assert _import(database, unionpay_zip(UNIONPAY), method="unionpay", now=LATER).is_new
        assert _stored(database, "unionpay") == expected(UNIONPAY)

    @pytest.mark.parametrize(
        "rows",
        [WECHAT[1:], [replace(WECHAT[0], amount_minor=351), *WECHAT[1:]], [replace(WECHAT[0], fee_e5=1), *WECHAT[1:]]],
    )
    def test_a_file_that_lacks_an_earlier_row_is_refused(self, database: Database, rows: list[Said]) -> None:
        _import(database, wechat(WECHAT))

        with pytest.raises(StatementRefused) as refused:
            _import(database, wechat(rows), now=LATER)

        assert refused.value.details["cause"] == "replacement"
        assert WECHAT[0].order_no in str(refused.value)
        assert _stored(database) == expected(WECHAT)
        assert _counts(database) == (1, 3)

    @pytest.mark.parametrize("method", sorted(ROWS))
    def test_a_row_listed_twice_is_refused(self, database: Database, method: str) -> None:
        data = PLAIN[method]([*ROWS[method], ROWS[method][0]])

        with pytest.raises(StatementRefused) as refused:
            _import(database, data, method=method)

        assert refused.value.details["cause"] == "duplicate"
        assert _counts(database) == (0, 0)

    @pytest.mark.parametrize("change", [{"amount_minor": 351}, {"wall": at("11:11:11")}, {"fee_e5": 1_000}])
    @pytest.mark.parametrize("method", sorted(ROWS))
    def test_a_row_listed_twice_that_says_something_else_is_refused(
        self, database: Database, method: str, change: dict[str, Any]
    ) -> None:
        with pytest.raises(StatementRefused) as refused:
            _import(database, PLAIN[method]([*ROWS[method], replace(ROWS[method][0], **change)]), method=method)

        first, last = ROWS[method][0], _lines_above(method) + len(ROWS[method]) + 1
        assert refused.value.details["cause"] == "duplicate"
        assert (refused.value.details["line"], first.order_no in str(refused.value)) == (last, True)
        assert _counts(database) == (0, 0)

    def test_an_order_paid_twice_is_two_rows(self, database: Database) -> None:
        _import(database, wechat([WECHAT[0], replace(WECHAT[0], provider_ref="4200002086202611211745964085")]))

        with database.read() as conn:
            assert len(service.lines_of(conn, "gxu", "wechat", [WECHAT[0].order_no])[WECHAT[0].order_no]) == 2

    @pytest.mark.parametrize("count", [1, 5_000])
    def test_a_refusal_at_the_end_leaves_nothing_even_if_the_caller_goes_on(
        self, database: Database, count: int
    ) -> None:
        rows = [replace(WECHAT[0], order_no=f"auth{number:010d}") for number in range(count)]
        data = wechat(rows).replace(f"`{count},".encode(), f"`{count + 1},".encode())
        with database.write() as conn, pytest.raises(StatementRefused):
            service.import_file(conn, tenant_id="gxu", method="wechat", day=DAY, name="x", data=data, now=NOW)

        assert _counts(database) == (0, 0)

    def test_a_refused_replacement_keeps_the_first_even_if_the_caller_goes_on(self, database: Database) -> None:
        _import(database, wechat(WECHAT))
        with database.write() as conn, pytest.raises(StatementRefused):
            service.import_file(
                conn, tenant_id="gxu", method="wechat", day=DAY, name="x", data=wechat(WECHAT[1:]), now=LATER
            )

        assert _stored(database) == expected(WECHAT)
        with database.read() as conn:
            assert service.summary(conn, "gxu", "wechat", DAY).file is not None

    @pytest.mark.parametrize("days_later", [1, -1])
    def test_another_merchant_s_file_is_refused_when_an_earlier_file_named_ours(
        self, database: Database, days_later: int
    ) -> None:
        _import(database, bank(ROWS["bank"]), method="bank")
        _import(database, wechat([]), merchant_no="")
        other_day = DAY + timedelta(days=days_later)
        rows = [replace(row, wall=row.wall + timedelta(days=days_later)) for row in ROWS["bank"]]
        data = bank(rows, day=other_day, account="6222020200099999999")
        later = NOW + timedelta(days=2)

        with pytest.raises(StatementRefused) as refused:
            _import(database, data, method="bank", day=other_day, now=later)
        assert refused.value.details["cause"] == "merchant"

        moved = _import(database, data, method="bank", day=other_day, now=later, merchant_no="6222020200099999999")
        assert (moved.is_new, moved.merchant_no) == (True, "6222020200099999999")

    def test_an_unknown_method_is_refused(self, database: Database) -> None:
        with pytest.raises(StatementRefused, match="no statement layout"):
            _import(database, b"", method="wallet")

    def test_tenants_do_not_meet(self, database: Database) -> None:
        _import(database, wechat(WECHAT), tenant_id="one")

        assert _import(database, wechat(WECHAT[:1]), tenant_id="two").is_new
        assert len(_stored(database, tenant_id="one")) == 3
        assert len(_stored(database, tenant_id="two")) == 1

    def test_at_once_is_done_once(self, database: Database) -> None:
        data = wechat([replace(WECHAT[0], order_no=f"auth{number:010d}") for number in range(300)])

        with ThreadPoolExecutor(4) as pool:
            files = list(pool.map(lambda _: _import(database, data), range(4)))

        assert sorted(file.is_new for file in files) == [False, False, False, True]
        assert _counts(database) == (1, 300)


class TestLinesOf:
    def test_lists_lines_under_the_numbers_asked_for(self, database: Database) -> None:
        _import(database, wechat(WECHAT))
        order_no, refund_no = WECHAT[0].order_no, WECHAT[1].operation_no

        with database.read() as conn:
            found = service.lines_of(conn, "gxu", "wechat", [order_no, refund_no, "nobody", ""])

        assert [line.amount_minor for line in found[order_no]] == [350, -225, -25]
        assert [line.amount_minor for line in found[refund_no]] == [-225]
        assert set(found) == {order_no, refund_no}
        assert [line.is_done for line in found[order_no]] == [True, True, False]

    def test_finds_each_of_many(self, database: Database) -> None:
        rows = [replace(WECHAT[0], order_no=f"auth{number:010d}") for number in range(1_200)]
        _import(database, wechat(rows))

        with database.read() as conn:
            found = service.lines_of(conn, "gxu", "wechat", {row.order_no for row in rows})

        assert all(line.order_no == number for number, lines in found.items() for line in lines)
        assert len(found) == 1_200

    def test_does_not_mix_methods_or_tenants(self, database: Database) -> None:
        _import(database, wechat(WECHAT))

        with database.read() as conn:
            assert service.lines_of(conn, "gxu", "alipay", [WECHAT[0].order_no]) == {}
            assert service.lines_of(conn, "other", "wechat", [WECHAT[0].order_no]) == {}

    def test_adjustments_are_about_no_number(self, database: Database) -> None:
        _import(database, unionpay_zip([], ADJUSTMENTS), method="unionpay")

        with database.read() as conn:
            assert service.lines_of(conn, "gxu", "unionpay", [""]) == {}


class TestSummary:
    def test_sums_each_kind(self, database: Database) -> None:
        file = _import(database, unionpay_zip(UNIONPAY, ADJUSTMENTS), method="unionpay")

        with database.read() as conn:
            summary = service.summary(conn, "gxu", "unionpay", DAY)

        assert summary.file == replace(file, is_new=False)
        assert summary.kinds == [
            KindSum("adjustment", 1, -350, -2_000),
            KindSum("completion", 1, 125, 1_000),
            KindSum("hold", 1, 500, 0),
            KindSum("payment", 1, 350, 2_000),
            KindSum("refund", 3, -555, -3_000),
            KindSum("release", 1, -500, 0),
        ]

    def test_says_that_nothing_was_imported(self, database: Database) -> None:
        with database.read() as conn:
            summary = service.summary(conn, "gxu", "wechat", DAY)

        assert (summary.file, summary.kinds) == (None, [])


class TestUnmatched:
    def test_leaves_out_what_is_known_by_order_or_operation(self, database: Database) -> None:
        _import(database, unionpay_zip(UNIONPAY, ADJUSTMENTS), method="unionpay")
        known = {UNIONPAY[0].order_no, UNIONPAY[1].operation_no, UNIONPAY[4].order_no}

        with database.read() as conn:
            lines = service.unmatched(conn, "gxu", "unionpay", DAY, known)

        assert [line.line_number for line in lines] == [6, 7, 8]


class TestWholeDays:
    @pytest.mark.parametrize("rows", [UNIONPAY, UNIONPAY[:-1]])
    def test_a_plain_file_without_totals_may_have_lost_rows(self, database: Database, rows: list[Said]) -> None:
        _import(database, zm(rows), method="unionpay")
        with database.read() as conn:
            assert service.days(conn, "gxu", "unionpay") == [DAY]
            assert service.whole_days(conn, "gxu", "unionpay") == []
        _import(database, unionpay_zip(UNIONPAY), method="unionpay", now=LATER)
        with database.read() as conn:
            assert service.whole_days(conn, "gxu", "unionpay") == [DAY]
        assert len(_stored(database, "unionpay")) == len(UNIONPAY)

    @pytest.mark.parametrize("method", ["alipay", "bank", "wechat"])
    def test_totals_vouch_for_a_plain_file(self, database: Database, method: str) -> None:
        _import(database, PLAIN[method](ROWS[method]), method=method)
        with database.read() as conn:
            assert service.whole_days(conn, "gxu", method) == [DAY]


class TestDays:
    def test_lists_days_once_oldest_first(self, database: Database) -> None:
        days = [DAY, DAY - timedelta(days=1)]
        for day, number in itertools.product(days, (1, 2)):
            rows = [
                replace(WECHAT[0], wall=datetime.fromisoformat(day.isoformat()), order_no=f"auth00000{n}")
                for n in range(number)
            ]
            _import(database, wechat(rows), day=day, now=NOW)

        with database.read() as conn:
            assert service.days(conn, "gxu", "wechat") == days[::-1]
            assert service.days(conn, "gxu", "alipay") == []
            assert len(service.files(conn, "gxu")) == 4
