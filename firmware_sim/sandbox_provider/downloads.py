"""Statement files waiting for their download, a short while and a few of them."""

import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from datetime import date

from firmware_sim.sandbox_provider.kit import Clock

_KEPT_MAX = 200
_KEPT_MS = 300_000
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def asked_day(text: object) -> date | None:
    """Return the day that a text like 2026-11-21 names, or None."""
    if not isinstance(text, str) or not _DAY.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Offer:
    """A file one merchant may fetch until a time."""

    merchant_id: str
    name: str
    content: bytes
    until_ms: int


class Downloads:
    """Files by a token nobody can guess."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offers: OrderedDict[str, Offer] = OrderedDict()

    def offer(self, base_url: str, brand: str, merchant_id: str, name: str, content: bytes) -> str:
        """Return the address at which a file may be fetched for five minutes."""
        token = secrets.token_urlsafe(24)
        self._offers[token] = Offer(merchant_id, name, content, self._clock.now_ms() + _KEPT_MS)
        while len(self._offers) > _KEPT_MAX:
            self._offers.popitem(last=False)
        path = {"alipay": "alipay/bill", "wechat": "wechat/v3/billdownload/file"}[brand]
        return f"{base_url}{path}?token={token}"

    def fetch(self, token: str) -> Offer | None:
        """Return an offered file, or None when there is none or its time is over."""
        found = self._offers.get(token)
        return found if found is not None and found.until_ms >= self._clock.now_ms() else None
