"""What a reader has seen and the gateway has not yet taken: a short queue, shown oldest first, taken by sequence."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

CAPACITY = 4
STALE_MS = 10_000
UID_BYTES_MAX = 10
PAYLOAD_BYTES_MAX = 208
UID, NFC, CODE, BUTTON = 1, 2, 3, 4
TRUNCATED, STALE, DROPPED = 1, 2, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One presentation."""

    seq: int
    source: int
    uid: bytes
    payload: bytes
    at_ms: int
    unix_time: int
    flags: int


class Mailbox:
    """Sequences start far from those of the last boot, so that an old acknowledgement cannot take a new item."""

    def __init__(
        self,
        *,
        boot_id: int,
        accepts: Callable[[int], bool] = lambda source: True,
        heard: Callable[[Item | None], None] = lambda item: None,
    ) -> None:
        """`accepts` says whether a source reaches us; `heard` is told each new item, or None when one was taken."""
        self.seq = boot_id * 1009 & 0xFFFF
        self._items: deque[Item] = deque()
        self._dropped = False
        self._accepts = accepts
        self._heard = heard

    @property
    def pending(self) -> bool:
        """Return whether an item waits."""
        return bool(self._items)

    def post(self, *, source: int, uid: bytes, payload: bytes, now_ms: int, unix_time: int) -> int:
        """
        Queue an item and return its sequence, 0 when its reader is off line.

        A full queue loses its oldest item and says so on the next.
        """
        if not self._accepts(source):
            return 0
        self.seq = self.seq % 0xFFFF + 1
        if len(self._items) == CAPACITY:
            self._items.popleft()
            self._dropped = True
        cut = len(payload) > PAYLOAD_BYTES_MAX or len(uid) > UID_BYTES_MAX
        flags = (DROPPED if self._dropped else 0) | (TRUNCATED if cut else 0)
        self._dropped = False
        item = Item(
            seq=self.seq,
            source=source,
            uid=uid[:UID_BYTES_MAX],
            payload=payload[:PAYLOAD_BYTES_MAX],
            at_ms=now_ms,
            unix_time=unix_time,
            flags=flags,
        )
        self._items.append(item)
        self._heard(item)
        return self.seq

    def acknowledge(self, sequence: int) -> None:
        """Take the shown item if it has that sequence; any other value changes nothing."""
        if self._items and self._items[0].seq == sequence:
            self._items.popleft()
            self._heard(None)

    def withdraw(self, sequence: int) -> None:
        """Take an item back that was decided without the gateway."""
        self._items = deque(item for item in self._items if item.seq != sequence)
        self._heard(None)

    def values(self, now_ms: int) -> dict[str, int | bytes]:
        """Return the shown item's points without their name prefix; all zero when nothing waits."""
        if not self._items:
            zero: dict[str, int | bytes] = dict.fromkeys(
                ("item_seq", "source", "len", "time", "flags", "uid_len", "end"), 0
            )
            return {**zero, "uid": b"", "payload": b""}
        item = self._items[0]
        stale = STALE if now_ms - item.at_ms > STALE_MS else 0
        return {
            "item_seq": item.seq,
            "source": item.source,
            "len": len(item.payload),
            "time": item.unix_time,
            "flags": item.flags | stale,
            "uid_len": len(item.uid),
            "uid": item.uid,
            "payload": item.payload,
            "end": item.seq,
        }
