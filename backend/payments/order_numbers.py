"""The numbers providers know our orders and operations by."""

import base64
import hashlib
import re

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
