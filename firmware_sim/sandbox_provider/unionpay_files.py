"""
UnionPay's daily files: ZM (payments, holds and what undid them) and ZME (adjustments), in a ZIP.

Lines of fixed width in bytes, GBK, one blank between fields, CR LF. Signed amounts are C (to the merchant) or D (from
it) and twelve digits of fen. The transaction codes S22 and S30 are the provider's; the others follow their pattern.
"""

import base64
import io
import zipfile
import zlib
from datetime import date, timedelta

from firmware_sim.sandbox_provider.kit import compact
from firmware_sim.sandbox_provider.rows import Row, fee_minor, rows
from firmware_sim.sandbox_provider.store import Store

ZM_WIDTHS = (
    3, 11, 11, 6, 10, 19, 12, 4, 2, 21, 2, 32, 2, 6, 10, 13, 13, 4, 15, 2, 2, 6, 2, 4, 32, 1, 21, 15, 1, 15, 32, 13,
    13, 8, 32, 13, 13, 12, 2, 1, 32, 98,
)  # fmt: skip
ZME_WIDTHS = (3, 11, 11, 6, 10, 19, 12, 4, 2, 2, 6, 10, 4, 12, 13, 13, 15, 15, 1, 12, 2, 135)
_TRANSACTION_CODES = {
    "charge": "S22", "hold": "S10", "capture": "S20", "void": "S32", "restore": "S33", "refund": "S30",
}  # fmt: skip
_ACQUIRER = "00049992"
_MERCHANT_CATEGORY = "8220"
_EPOCH = (1980, 1, 1, 0, 0, 0)


def day_meant(month_and_day: str, today: date) -> date | None:
    """Return the last day up to tomorrow with a month and day like 1121, or None."""
    for year in (today.year + 1, today.year, today.year - 1, today.year - 2, today.year - 3, today.year - 4):
        try:
            day = date(year, int(month_and_day[:2]), int(month_and_day[2:]))
        except ValueError:
            continue
        if day <= today + timedelta(days=1):
            return day
    return None


def line(fields: list[str], widths: tuple[int, ...]) -> bytes:
    """Return a line: each field in GBK, cut at whole characters, filled with blanks to its width in bytes."""
    assert len(fields) == len(widths)
    return b" ".join(_fit(field, width) for field, width in zip(fields, widths, strict=True)) + b"\r\n"


def _fit(field: str, width: int) -> bytes:
    content = field.encode("gbk", "replace")
    while len(content) > width:
        field = field[:-1]
        content = field.encode("gbk", "replace")
    return content.ljust(width)


def _signed(amount_minor: int) -> str:
    return f"{'D' if amount_minor < 0 else 'C'}{abs(amount_minor):012d}"


def _zm(row: Row) -> bytes:
    found = row.operation if row.operation is not None else row.order
    original = ""
    original_trace, original_time, original_query = "000000", "0000000000", ""
    if row.operation is not None:
        original, original_query = row.operation.details["original_no"], row.operation.details["orig_qry_id"]
        original_trace, original_time = original_query[-6:], original_query[4:14]
    sign = {"charge": 1, "capture": 1, "refund": -1, "restore": -1}.get(row.kind, 0)
    if row.kind == "void" and row.order.kind == "charge":
        sign = -1
    fee = fee_minor("unionpay", row.amount_minor) * sign
    net = row.amount_minor * sign - fee
    fields = [
        _TRANSACTION_CODES[row.kind], _ACQUIRER, _ACQUIRER, found.reference[-6:], compact(row.at_ms)[4:],
        "622848******1234567", f"{row.amount_minor:012d}", _MERCHANT_CATEGORY, "07", found.reference, "",
        row.operation.operation_no if row.operation is not None else row.order.order_no, "01",
        original_trace, original_time, _signed(-fee), _signed(net), "0001", "",
        found.details["txn_type"], found.details["txn_sub_type"] or "00", found.details["biz_type"] or "000000", "01",
        "", "", "0", original_query, row.order.merchant_id, "0", "", "桂湖大学智慧热水", _signed(0), _signed(net),
        "01080209", "热水", _signed(0), _signed(0), "0" * 12, "00", "3", original,
        _signed(row.amount_minor * sign),
    ]  # fmt: skip
    return line(fields, ZM_WIDTHS)


def _zme(row: Row) -> bytes:
    assert row.operation is not None
    amount = row.operation.amount_minor
    fields = [
        "E74" if amount < 0 else "E84", _ACQUIRER, _ACQUIRER, row.operation.reference[-6:], compact(row.at_ms)[4:],
        "622848******1234567", f"{abs(amount):012d}", _MERCHANT_CATEGORY, "07", "01", row.order.reference[-6:],
        row.order.reference[4:14], row.order.reference[4:8], f"{row.order.amount_minor:012d}", _signed(0),
        _signed(amount), "", row.order.merchant_id, "0", "0" * 12, "00", "",
    ]  # fmt: skip
    return line(fields, ZME_WIDTHS)


def statement(store: Store, merchant_id: str, day: date) -> tuple[str, bytes]:
    """Return the name and bytes of the ZIP of a day; the same day gives the same bytes, an empty one empty files."""
    found = rows(store, "unionpay", merchant_id, day)
    stamp = day.strftime("%y%m%d")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (
            (f"INN{stamp}88ZM_{merchant_id}", b"".join(_zm(row) for row in found if row.kind != "adjustment")),
            (f"INN{stamp}88ZME_{merchant_id}", b"".join(_zme(row) for row in found if row.kind == "adjustment")),
        ):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return f"{merchant_id}_{day:%Y%m%d}.zip", packed.getvalue()


def packed(content: bytes) -> str:
    """Return a file as the answer's `fileContent` carries it."""
    return base64.b64encode(zlib.compress(content)).decode()
