"""A small honest day for each method, and the ways to read it."""

from collections.abc import Callable, Sequence
from datetime import date, datetime

from backend.statements import reading_alipay, reading_bank, reading_unionpay, reading_wechat
from backend.statements.types import Row
from tests.unit.backend.statements import writing
from tests.unit.backend.statements.writing import DAY, Said

READERS = {
    "unionpay": reading_unionpay.read,
    "wechat": reading_wechat.read,
    "alipay": reading_alipay.read,
    "bank": reading_bank.read,
}
PLAIN: dict[str, Callable[..., bytes]] = {
    "unionpay": writing.zm,
    "wechat": writing.wechat,
    "alipay": writing.alipay,
    "bank": writing.bank,
}
PACKED: dict[str, Callable[..., bytes]] = {
    "unionpay": writing.unionpay_zip,
    "wechat": writing.wechat_gzip,
    "alipay": writing.alipay_zip,
    "bank": writing.bank_zip,
}


def at(text: str, day: date = DAY) -> datetime:
    """Return a wall clock time of a day."""
    return datetime.fromisoformat(f"{day.isoformat()}T{text}")


def _unionpay(kind: str, order: int, step: str, ref: int, fen: int, fee: int, time: str, status: str) -> Said:
    operation_no = f"{step}01JB8Z{order:010d}" if step else ""
    return Said(kind, f"auth01JB8Z{order:010d}", operation_no, f"20261121{ref:013d}", fen, fee, at(time), status)


def _wechat(kind: str, step: str, ref: str, fen: int, fee: int, time: str, status: str) -> Said:
    operation_no = f"{step}01JB8Z0000000011" if step else ""
    return Said(kind, "auth01JB8Z0000000011", operation_no, ref, fen, fee, at(time), status)


def _alipay(kind: str, order: int, step: str, fen: int, fee: int, time: str, status: str) -> Said:
    operation_no = f"{step}01JB8Z{order:010d}" if step else ""
    ref = f"2026112122001458860515{order:06d}"
    return Said(kind, f"auth01JB8Z{order:010d}", operation_no, ref, fen, fee, at(time), status)


UNIONPAY = [
    _unionpay("payment", 1, "", 1, 350, 2_000, "12:00:01", "01"),
    _unionpay("completion", 2, "cap", 2, 125, 1_000, "13:00:00", "03"),
    _unionpay("refund", 1, "ref", 3, -350, -2_000, "14:00:00", "04"),
    _unionpay("hold", 3, "", 4, 500, 0, "00:00:00", "02"),
    _unionpay("release", 3, "void", 5, -500, 0, "23:59:59", "32"),
    _unionpay("refund", 2, "void", 6, -125, -1_000, "17:00:00", "33"),
    _unionpay("refund", 9, "void", 7, -80, 0, "18:00:00", "31"),
]
ADJUSTMENTS = [Said("adjustment", "", "", "0000991121190000/0000011120120001", -350, -2_000, at("19:00:00"), "E74")]
WECHAT = [
    _wechat("payment", "", "4200002086202611211745964084", 350, 2_100, "00:00:00", "SUCCESS"),
    _wechat("refund", "ref", "50303108562026112101487282563", -225, -1_350, "09:10:11", "SUCCESS"),
    _wechat("refund", "gif", "50303108562026112101487282564", -25, -150, "23:59:59", "PROCESSING"),
]
ALIPAY = [
    _alipay("payment", 21, "", 350, 2_000, "00:00:00", "交易"),
    _alipay("refund", 21, "ref", -350, 0, "23:59:59", "退款"),
    _alipay("payment", 22, "", 90, 0, "12:00:00", "交易"),
]
BANK = [
    Said("payout", "CTQ2MBXKD4WNAA", "", "B202611210000017", -12_000, 0, at("00:00:00"), "付"),
    Said("payout_return", "CTQ2MBXKD4WNAA", "", "B202611210000018", 12_000, 0, at("09:10:11"), "退"),
    Said("payout", "", "", "B202611210000019", -350, 0, at("12:00:00"), "付"),
    Said("deposit", "", "", "B202611210000020", 5_000_000, 0, at("23:59:59"), "收"),
]
ROWS = {"unionpay": UNIONPAY, "wechat": WECHAT, "alipay": ALIPAY, "bank": BANK}


def read(method: str, data: bytes, *, day: date = DAY, name: str = "file", merchant_no: str = "") -> list[Row]:
    """Return the rows a file gives."""
    return list(READERS[method](name, data, day, merchant_no).rows)


def expected(rows: Sequence[Said]) -> list[tuple[object, ...]]:
    """Return what the rows should say, line numbers left out."""
    return [
        (s.kind, s.order_no, s.operation_no, s.provider_ref, s.amount_minor, s.fee_e5, s.happened_at, s.status)
        for s in rows
    ]


def said(rows: Sequence[Row]) -> list[tuple[object, ...]]:
    """Return what rows say, line numbers left out."""
    return [row[1:] for row in rows]
