"""Money, times and payment codes as providers write them. Exact: no float is ever made."""

import re
from datetime import UTC, datetime, timedelta, timezone

#: Providers keep Beijing time, which has no summer time.
BEIJING = timezone(timedelta(hours=8))

_YUAN = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,2}))?", re.ASCII)
_SPACED = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,6})?", re.ASCII)
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)
_TRACE, _COMPACT = re.compile(r"[0-9]{10}", re.ASCII), re.compile(r"[0-9]{14}", re.ASCII)
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


def from_spaced_time(text: object) -> datetime | None:
    """Return a time as Alipay writes it, or None when it is not one; parts of a second are dropped."""
    match = _SPACED.fullmatch(text) if isinstance(text, str) else None
    return None if match is None else _beijing(match[1], "%Y-%m-%d %H:%M:%S")


def from_rfc3339(text: object) -> datetime | None:
    """Return a time as WeChat writes it, `2018-06-08T10:34:56+08:00`, or None when it is not one."""
    match = _RFC3339.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    try:
        return datetime.fromisoformat(match[0]).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def from_trace_time(text: object, ordered: object) -> datetime | None:
    """
    Return a time as UnionPay traces it, `MMDDhhmmss` in Beijing, or None when it is not one.

    It lacks the year: that is the one of the order (`YYYYMMDDhhmmss`), or the next for what was ordered in an old year.
    """
    if not isinstance(text, str) or not isinstance(ordered, str):
        return None
    if not _TRACE.fullmatch(text) or not _COMPACT.fullmatch(ordered):
        return None
    is_next = text[:2] == "01" and ordered[4:6] == "12"
    return _beijing(f"{int(ordered[:4]) + is_next:04d}{text}", "%Y%m%d%H%M%S")


def _beijing(text: str, layout: str) -> datetime | None:
    try:
        return datetime.strptime(text, layout).replace(tzinfo=BEIJING).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
