"""One-time payment codes as people show them: their brands' prefixes and lengths, another each time."""

import secrets

#: Prefix and count of digits after it.
_SHAPES = {"unionpay": ("62", 17), "alipay": ("28", 16), "wechat": ("13", 16)}


def payment_code(brand: str) -> str:
    """Return a fresh code of a brand."""
    prefix, digits = _SHAPES[brand]
    return f"{prefix}{secrets.randbelow(10**digits):0{digits}d}"
