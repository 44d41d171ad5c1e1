"""The numbers providers know our orders and operations by."""

import base64
import hashlib
import re

#: How often a step may be asked for under a new number.
STEP_NUMBERS_MAX = 5
_PLAIN = re.compile(r"[A-Za-z0-9]{8,32}")


def order_no(our_id: str) -> str:
    """
    Return the number every provider accepts for one of our ids: 8 to 32 letters and digits, the same each time.

    An id that fits without its underscores keeps its letters; any other becomes 32 letters of its SHA-256. UnionPay
    takes 8 to 40 letters and digits, WeChat up to 32 characters, Alipay up to 64.
    """
    plain = our_id.replace("_", "")
    if _PLAIN.fullmatch(plain):
        return plain
    return base64.b32encode(hashlib.sha256(our_id.encode()).digest()[:20]).decode()


def step_id(operation_id: str, round_number: int) -> str:
    """
    Return what a step is called when it is asked for again; the first time (0) it has its own name.

    UnionPay never does under a number what it has refused under it, so each refusal needs another number.
    """
    return f"{operation_id}.again{round_number}" if round_number else operation_id


def step_nos(operation_id: str) -> list[str]:
    """Return every number a provider may know a step by, the first one first."""
    return [order_no(step_id(operation_id, round_number)) for round_number in range(STEP_NUMBERS_MAX)]
