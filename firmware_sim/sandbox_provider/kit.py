"""Times and amounts as the providers write them, and the numbers they know our orders by."""

import base64
import hashlib
import json
import re
import time
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

BEIJING = timezone(timedelta(hours=8))
_ADDRESS = re.compile(r"https?://[!-~]{1,240}", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9]{8,32}")
_YUAN = re.compile(r"(0|[1-9]\d{0,8})(?:\.(\d{1,2}))?", re.ASCII)


def number_of(our_id: str) -> str:
    """Return the number on the wire for an id of ours: without underscores if that fits, else a hash."""
    plain = our_id.replace("_", "")
    if _PLAIN.fullmatch(plain):
        return plain
    return base64.b32encode(hashlib.sha256(our_id.encode()).digest()[:20]).decode()


def read_json(text: str | bytes) -> Any:
    """Return what a JSON text says, or None when it is none, nested beyond reason, or has halves of characters."""
    try:
        found = json.loads(text)
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return found


def is_address(text: object) -> bool:
    """Return whether a text is an http address that news can be sent to."""
    if not isinstance(text, str) or not _ADDRESS.fullmatch(text):
        return False
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


class Clock:
    """The provider's clock in milliseconds since 1970; tests may set it."""

    def __init__(self) -> None:
        self._ahead_ms = 0

    def now_ms(self) -> int:
        """Return the time it is."""
        return time.time_ns() // 1_000_000 + self._ahead_ms

    def set(self, now: datetime) -> None:
        """Let it be another time; the clock goes on from there."""
        self._ahead_ms += int(now.timestamp() * 1000) - self.now_ms()

    def is_near(self, timestamp_s: int, *, within_s: int) -> bool:
        """Return whether a sender's time is about now."""
        return abs(self.now_ms() // 1000 - timestamp_s) <= within_s


def at(moment_ms: int) -> datetime:
    """Return a moment in Beijing time."""
    return datetime.fromtimestamp(moment_ms / 1000, UTC).astimezone(BEIJING)


def compact(moment_ms: int) -> str:
    """Return a moment like 20261122200000."""
    return at(moment_ms).strftime("%Y%m%d%H%M%S")


def readable(moment_ms: int) -> str:
    """Return a moment like 2026-11-22 20:00:00."""
    return at(moment_ms).strftime("%Y-%m-%d %H:%M:%S")


def rfc3339(moment_ms: int) -> str:
    """Return a moment like 2026-11-22T20:00:00+08:00."""
    return at(moment_ms).isoformat(timespec="seconds")


def day_of(moment_ms: int) -> date:
    """Return the Beijing day of a moment, which is the day of its statement."""
    return at(moment_ms).date()


def yuan(amount_minor: int) -> str:
    """Return an amount like 12.05; a negative one begins with a minus."""
    sign = "-" if amount_minor < 0 else ""
    return f"{sign}{abs(amount_minor) // 100}.{abs(amount_minor) % 100:02d}"


def yuan_e5(amount_e5: int) -> str:
    """Return an amount of 1e-5 yuan with its five decimals."""
    sign = "-" if amount_e5 < 0 else ""
    return f"{sign}{abs(amount_e5) // 100_000}.{abs(amount_e5) % 100_000:05d}"


def minor(text: object) -> int:
    """Return the fen of an amount in yuan with at most two decimals; 0 when it is none or not positive."""
    found = _YUAN.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return 0
    return int(found[1]) * 100 + int((found[2] or "").ljust(2, "0"))
