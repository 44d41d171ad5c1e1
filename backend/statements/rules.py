"""Pure rules all readers share: exact integers from bytes, times of a day, identity of a row."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache

from backend.statements.types import Row

#: China has one zone and no summer time; all three providers write its wall clock.
_CHINA = timezone(timedelta(hours=8))
#: Digits an amount may have before the point: 12 keep 1/100,000 yuan within 64 bits.
_YUAN = re.compile(rb"(-?)(0|[1-9][0-9]{0,11})\.([0-9]+)")
_TIME = re.compile(rb"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]")
_NUMBER = re.compile(rb"[!-~]{1,64}")


@dataclass(frozen=True, slots=True)
class Reading:
    """
    An opened file: the layout that fits, the merchant it is about ("" for an empty file that names none), its rows.

    `rows` may be read once; what is wrong in the file, its totals included, is raised while it is read.
    """

    layout: str
    merchant_no: str
    rows: Iterator[Row]


@lru_cache(maxsize=8_192)  # the same few amounts fill a file
def parse_yuan(text: bytes, decimals: int) -> int | None:
    """Return an amount in units of the last decimal, or None unless it has exactly so many decimals."""
    match = _YUAN.fullmatch(text)
    if match is None or len(match[3]) != decimals:
        return None
    value = int(match[2] + match[3])
    return -value if match[1] else value


def parse_number(text: bytes) -> str | None:
    """Return the number of an order, operation or merchant (printable ASCII without blanks), or None."""
    return text.decode("ascii") if _NUMBER.fullmatch(text) else None


def china_moment(day: date, time: bytes) -> datetime | None:
    """Return when a wall clock time hh:mm:ss in China was, or None if it is no time."""
    if not _TIME.fullmatch(time):
        return None
    return _midnight(day) + timedelta(hours=int(time[:2]), minutes=int(time[3:5]), seconds=int(time[6:]))


def ends_at(day: date) -> datetime:
    """Return when a day is over in China; no file of it is whole before."""
    return _midnight(day) + timedelta(days=1)


@lru_cache(maxsize=64)
def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=_CHINA).astimezone(UTC)


def identity(row: Row) -> bytes:
    """Return what no two rows of a file may share: the kind and the provider's and our numbers of it."""
    return _digest("\n".join((row.kind, row.provider_ref, row.order_no, row.operation_no)))


def fingerprint(row: Row) -> bytes:
    """Return what two rows share when they say the same, wherever in a file they stand."""
    return _digest("\n".join(map(str, row[1:])))


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
