"""
Notifications on their way to merchants: when they are sent, again until acknowledged, and how they are spoilt.

The body is written once, so every repetition carries the same notify id. Spoilt ones (forged, changed amount, other
merchant) are sent once and in place of the true one, which `POST /notify` can still send.
"""

import asyncio
import secrets
import sqlite3
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from firmware_sim.sandbox_provider.kit import Clock
from firmware_sim.sandbox_provider.store import Operation, Order, Store

#: How a notification is spoilt: by whom it is signed, or what it says.
TWISTS = ("forged", "changed_amount", "other_merchant")
_ANSWER_WITHIN_S = 5.0
_AT_ONCE = 8
_POLL_S = 0.25
_LOOK_AHEAD_S = 30


class Writer(Protocol):
    """How one brand writes notifications."""

    @property
    def schedule_s(self) -> tuple[int, ...]:
        """Return the pauses before each repetition."""
        ...

    def body(self, order: Order, operation: Operation | None, twist: str, notify_id: str, now_ms: int) -> str:
        """Return the body of a notification that an order or a step of it succeeded."""
        ...

    def headers(self, body: str, twist: str, now_ms: int) -> dict[str, str]:
        """Return the headers to send a body with."""
        ...

    def acknowledged(self, status: int, body: bytes) -> bool:
        """Return whether the merchant's answer ends the repetitions."""
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one attempt; status 0 means nobody answered."""

    notify_id: str
    operation_no: str
    status: int
    acknowledged: bool


class Notices:
    """The queue of notifications and its sender."""

    def __init__(self, store: Store, clock: Clock, *, time_scale: float) -> None:
        self._store = store
        self._clock = clock
        self._time_scale = time_scale
        self.writers: dict[str, Writer] = {}
        self._wake = asyncio.Event()
        self._client: httpx.AsyncClient | None = None
        self._under_way: set[int] = set()

    def wake(self) -> None:
        """Look for due notifications now."""
        self._wake.set()

    def pending(self) -> int:
        """Return how many notifications are due or being sent."""
        row = self._store.row(
            "SELECT count(*) AS n FROM notices WHERE state = 'waiting' AND next_ms <= ?", (self._clock.now_ms(),)
        )
        return int(row["n"]) if row is not None else 0

    def add(
        self, order: Order, operation: Operation | None, *, twist: str = "", manner: dict[str, Any] | None = None
    ) -> None:
        """Queue the news of an order or a step, if there is an address to send it to."""
        manner, now_ms = manner or {}, self._clock.now_ms()
        url = operation.notify_url or order.notify_url if operation is not None else order.notify_url
        if not url:
            return
        behaviour, pause_ms = manner.get("behaviour", ""), int(manner.get("seconds", 0) * 1000)
        twist = twist or (named if (named := behaviour.removeprefix("notify_")) in TWISTS else "")
        notify_id = f"{order.brand[:2]}{now_ms}{secrets.token_hex(8)}"
        writer = self.writers[order.brand]
        reordered = behaviour == "notify_reordered"
        next_ms = now_ms + ((pause_ms or _LOOK_AHEAD_S * 1000) if reordered else pause_ms)
        values = (
            notify_id, order.brand, order.merchant_id, order.order_no, operation.operation_no if operation else "",
            twist, url, writer.body(order, operation, twist, notify_id, now_ms), 0,
            1 if twist else len(writer.schedule_s) + 1, next_ms, int(reordered),
            "silent" if behaviour == "notify_none" else "waiting", 0,
        )  # fmt: skip
        for _ in range(2 if behaviour == "notify_duplicate" else 1):
            self._store.run(
                "INSERT INTO notices (notify_id, brand, merchant_id, order_no, operation_no, twist, url, body,"
                " attempts, attempts_max, next_ms, waits_for_next, state, last_status)"
                f" VALUES ({', '.join('?' * len(values))})",
                values,
            )

    def of(self, order: Order) -> list[sqlite3.Row]:
        """Return what was ever queued for an order, true ones only, oldest first, each message once."""
        rows = self._store.rows(
            "SELECT * FROM notices WHERE brand = ? AND merchant_id = ? AND order_no = ? AND twist = '' ORDER BY number",
            (order.brand, order.merchant_id, order.order_no),
        )
        return list({row["notify_id"]: row for row in rows}.values())

    def last(self, order: Order) -> sqlite3.Row | None:
        """Return what was queued last for an order, or None."""
        return self._store.row(
            "SELECT * FROM notices WHERE brand = ? AND merchant_id = ? AND order_no = ? ORDER BY number DESC LIMIT 1",
            (order.brand, order.merchant_id, order.order_no),
        )

    def silence(self, row: sqlite3.Row) -> None:
        """Keep a queued notification from being sent by itself."""
        self._store.run("UPDATE notices SET state = 'silent' WHERE number = ?", (row["number"],))

    async def send(self, row: sqlite3.Row) -> Delivery:
        """Send a notification now and return what came of it."""
        writer = self.writers[row["brand"]]
        status, acknowledged = 0, False
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=_ANSWER_WITHIN_S, trust_env=False, follow_redirects=False)
        try:
            answer = await self._client.post(
                row["url"],
                content=row["body"].encode(),
                headers=writer.headers(row["body"], row["twist"], self._clock.now_ms()),
            )
            status, acknowledged = answer.status_code, writer.acknowledged(answer.status_code, answer.content)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError):
            pass  # nobody there; the schedule goes on
        return Delivery(row["notify_id"], row["operation_no"], status, acknowledged)

    async def _attempt(self, row: sqlite3.Row) -> None:
        try:
            delivery = await self.send(row)
        finally:
            self._under_way.discard(row["number"])
        attempts = row["attempts"] + 1
        state = "waiting" if attempts < row["attempts_max"] else "given_up"
        state = "acknowledged" if delivery.acknowledged else state
        schedule = self.writers[row["brand"]].schedule_s
        pause_ms = int(schedule[min(attempts, len(schedule)) - 1] * 1000 * self._time_scale)
        now_ms = self._clock.now_ms()
        with self._store.transaction():
            self._store.run(
                "UPDATE notices SET attempts = ?, state = ?, next_ms = ?, last_status = ? WHERE number = ?",
                (attempts, state, now_ms + pause_ms, delivery.status, row["number"]),
            )
            self._store.run(
                "UPDATE notices SET next_ms = ?, waits_for_next = 0 WHERE waits_for_next = 1 AND state = 'waiting'"
                " AND brand = ? AND merchant_id = ? AND order_no = ? AND number < ?",
                (now_ms, row["brand"], row["merchant_id"], row["order_no"], row["number"]),
            )
        self.wake()

    def _start_due(self, tasks: set[asyncio.Task[None]]) -> None:
        room = _AT_ONCE - len(tasks)
        rows = self._store.rows(
            "SELECT * FROM notices WHERE state = 'waiting' AND next_ms <= ? ORDER BY next_ms, number LIMIT ?",
            (self._clock.now_ms(), _AT_ONCE * 2),
        )
        for row in [row for row in rows if row["number"] not in self._under_way][: max(room, 0)]:
            self._under_way.add(row["number"])
            task = asyncio.create_task(self._attempt(row))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def run(self) -> None:
        """Send what is due, for ever."""
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                self._wake.clear()
                self._start_due(tasks)
                alarm = asyncio.get_running_loop().call_later(_POLL_S, self._wake.set)
                await self._wake.wait()  # not wait_for, which may swallow the cancellation that ends this
                alarm.cancel()
        finally:
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._client is not None:
                await self._client.aclose()
