"""Money, times and payment codes as providers write them. Exact: no float is ever made."""

import re
from datetime import datetime, timedelta, timezone

#: Providers keep Beijing time, which has no summer time.
BEIJING = timezone(timedelta(hours=8))

_YUAN = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,2}))?", re.ASCII)
_FEN = re.compile(r"[0-9]{1,14}", re.ASCII)
#: Hints from providers' documents: a code of another brand is refused here, never tried elsewhere.
_CODES = {
    "unionpay": re.compile(r"62[0-9]{14,18}", re.ASCII),
    "alipay": re.compile(r"(?:2[5-9]|30)[0-9]{14,22}", re.ASCII),
    "wechat": re.compile(r"1[0-5][0-9]{16}", re.ASCII),
}


def to_yuan(amount_minor: int) -> str:
    """Return an amount as yuan with two decimals: 120 becomes `1.20`."""
    assert amount_minor >= 0
    yuan, fen = divmod(amount_minor, 100)
    return f"{yuan}.{fen:02d}"


def from_yuan(text: object) -> int | None:
    """Return a text of yuan as fen, or None when it is not one: `1.2` and `1.20` become 120, `1.205` nothing."""
    match = _YUAN.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    return int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))


def from_fen(text: object) -> int | None:
    """Return a text of whole fen as a number, or None when it is not one."""
    return int(text) if isinstance(text, str) and _FEN.fullmatch(text) else None


def code_fits(method: str, code: str) -> bool:
    """Return whether a one-time payment code looks like one of this method."""
    return _CODES[method].fullmatch(code) is not None


def compact_time(moment: datetime) -> str:
    """Return a time as UnionPay writes it, `YYYYMMDDhhmmss` in Beijing."""
    return moment.astimezone(BEIJING).strftime("%Y%m%d%H%M%S")


def spaced_time(moment: datetime) -> str:
    """Return a time as Alipay writes it, `YYYY-MM-DD hh:mm:ss` in Beijing."""
    return moment.astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S")
