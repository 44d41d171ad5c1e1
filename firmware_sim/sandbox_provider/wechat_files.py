"""
WeChat Pay's daily trade bill: CSV in UTF-8 with a byte order mark and CR LF, a back-tick before every value.

27 columns, then a summary of seven. Amounts have two decimals, fees five. A refund repeats the payment's columns.
"""

import csv
import gzip
import hashlib
import io
from datetime import date

from firmware_sim.sandbox_provider.keyring import Merchant
from firmware_sim.sandbox_provider.kit import readable, yuan, yuan_e5
from firmware_sim.sandbox_provider.rows import FEE_E4, Row, fee_e5, rows
from firmware_sim.sandbox_provider.store import Store

HEADER = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,"
    "代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,"
    "申请退款金额,费率备注"
)
SUMMARY = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
_RATE = f"{FEE_E4['wechat'] // 100}.{FEE_E4['wechat'] % 100:02d}%"


def _amounts(row: Row) -> tuple[int, int, int]:
    """Return what the order brings, what goes back, and the fee in 1e-5 yuan, of one row."""
    fee = fee_e5("wechat", row.amount_minor)
    return (row.amount_minor, 0, fee) if row.kind == "charge" else (0, row.amount_minor, -fee)


def _cells(merchant: Merchant, row: Row) -> list[str]:
    order, operation = row.order, row.operation
    taken, returned, fee = _amounts(row)
    state = {"charge": "SUCCESS", "refund": "REFUND", "void": "REVOKED"}[row.kind]
    refund = ["", "", yuan(0), yuan(0), "", ""]
    if operation is not None:
        number = operation.operation_no if operation.kind == "refund" else order.order_no
        refund = [operation.reference, number, yuan(returned), yuan(0), "ORIGINAL", "SUCCESS"]
    return [
        readable(row.at_ms), merchant.values["app_id"], merchant.merchant_id, "0", "", order.reference,
        order.order_no, str(order.details.get("openid", "")), "MICROPAY", state, "OTHERS", "CNY", yuan(taken), yuan(0),
        *refund, str(order.details.get("subject", "")), str(order.details.get("attach", "")), yuan_e5(fee), _RATE,
        yuan(taken), yuan(returned), "",
    ]  # fmt: skip


def _line(cells: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow([f"`{' '.join(cell.split())}" for cell in cells])
    return out.getvalue()


def statement(store: Store, merchant: Merchant, day: date) -> bytes:
    """Return the bill of a day, not packed; the same day gives the same bytes."""
    found = [
        row for row in rows(store, "wechat", merchant.merchant_id, day) if row.kind in ("charge", "refund", "void")
    ]
    sums = [sum(column) for column in zip(*(_amounts(row) for row in found), strict=True)] or [0, 0, 0]
    taken, returned, fee = sums
    total = [str(len(found)), yuan(taken), yuan(returned), yuan(0), yuan_e5(fee), yuan(taken), yuan(returned)]
    lines = [
        f"{HEADER}\r\n", *(_line(_cells(merchant, row)) for row in found), f"{SUMMARY}\r\n", _line(total),
    ]  # fmt: skip
    return "".join(lines).encode("utf-8-sig")


def packed(content: bytes) -> bytes:
    """Return a bill as it is downloaded with tar_type=GZIP."""
    return gzip.compress(content, mtime=0)


def sha1_hex(content: bytes) -> str:
    """Return the `hash_value` of a bill that is not packed."""
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()
