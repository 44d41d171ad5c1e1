"""How Alipay says yes, no and wait, and how its calls are read."""

import re
from collections.abc import Mapping
from typing import Any

from firmware_sim.sandbox_provider.kit import compact, minor

Reply = dict[str, Any]
_REASONS = {
    "insufficient_funds": "ACQ.BUYER_BALANCE_NOT_ENOUGH",
    "code_invalid": "ACQ.PAYMENT_AUTH_CODE_INVALID",
    "code_used": "ACQ.PAYMENT_AUTH_CODE_INVALID",
    "expired": "ACQ.TRADE_HAS_CLOSE",
    "canceled": "ACQ.TRADE_HAS_CLOSE",
    "risk": "ACQ.TRADE_BUYER_NOT_MATCH",
    "limit": "ACQ.BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR",
    "exceeds_hold": "ACQ.AUTH_AMOUNT_NOT_ENOUGH",
    "exceeds_paid": "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL",
}
_NUMBER = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def sub_code(reason: str) -> str:
    """Return Alipay's word for a reason; a reason in capitals is one."""
    if re.fullmatch(r"[A-Z][A-Z_.]+", reason, re.ASCII):
        return reason
    return _REASONS.get(reason, "ACQ.TRADE_STATUS_ERROR" if reason.startswith("is_") else "ACQ.PAYMENT_FAIL")


def failed(word: str, *, code: str = "40004") -> Reply:
    """Return a no."""
    message = {"40004": "Business Failed", "40002": "Invalid Arguments"}[code]
    return {"code": code, "msg": message, "sub_code": word.partition(":")[0], "sub_msg": word}


def done(**more: Any) -> Reply:
    """Return a yes."""
    return {"code": "10000", "msg": "Success", **more}


def waiting(**more: Any) -> Reply:
    """Return that the payer has to confirm first."""
    return {"code": "10003", "msg": "order success pay inprocess", **more}


def number(biz: Mapping[str, Any], name: str) -> str:
    """
    Return a number of the merchant's from a call.

    :raises ValueError: if it is missing or malformed.
    """
    value = biz.get(name)
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise ValueError(name)
    return value


def amount(biz: Mapping[str, Any], name: str) -> int:
    """
    Return an amount in fen from a call; JSON text or number.

    :raises ValueError: if it is missing, malformed or not positive.
    """
    value = biz.get(name)
    found = minor(str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value)
    if found <= 0:
        raise ValueError(name)
    return found


def text(biz: Mapping[str, Any], name: str) -> str:
    """Return a text from a call, cut to a bearable length; empty when missing."""
    value = biz.get(name, "")
    return value[:256] if isinstance(value, str) else ""


def payer(biz: Mapping[str, Any]) -> str:
    """Return the code or agreement that a call names; empty when there is none."""
    agreement = biz.get("agreement_params")
    if isinstance(agreement, dict) and agreement.get("agreement_no"):
        return text(agreement, "agreement_no")
    return text(biz, "auth_code") or text(biz, "agreement_no")


def reference(now_ms: int, kind: str, count: int) -> str:
    """Return a number of Alipay's for an authorization (1002), an operation (3002) or a trade (2200), 28 digits."""
    return f"{compact(now_ms)[:8]}{kind}{count:016d}"
