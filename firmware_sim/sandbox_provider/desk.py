"""Where all brands' requests are dealt with: scripts, the book, notifications, and the calls under way."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import PlainTextResponse, Response

from firmware_sim.sandbox_provider.book import Book
from firmware_sim.sandbox_provider.keyring import Keyring
from firmware_sim.sandbox_provider.kit import Clock
from firmware_sim.sandbox_provider.notices import Notices
from firmware_sim.sandbox_provider.scripts import Plan, Scripts
from firmware_sim.sandbox_provider.store import Operation, Order, Store

#: What a request does, inside one transaction, at a time in milliseconds.
Act = Callable[[Plan, int], Response]
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Options:
    """
    What may be shortened for tests.

    `waiting_ttl_s` is how long a payer may take to confirm, `reverse_after_s` the age WeChat wants before it reverses,
    `time_scale` multiplies the pauses between repetitions of a notification.
    """

    waiting_ttl_s: float = 45.0
    reverse_after_s: float = 15.0
    time_scale: float = 1.0


class Desk:
    """The one place with all state. Not for several threads at once."""

    def __init__(self, secrets_dir: Path, state: Path, options: Options) -> None:
        self.options = options
        self.clock = Clock()
        self.keyring = Keyring(secrets_dir)
        self.store = Store(state)
        self.book = Book(self.store, waiting_ttl_ms=int(options.waiting_ttl_s * 1000))
        self.scripts = Scripts(self.store)
        self.notices = Notices(self.store, self.clock, time_scale=options.time_scale)
        self.in_flight = 0

    async def perform(self, verb: str, order_no: str, operation_no: str, act: Act) -> Response:
        """Return the answer to a verified request, given in the way a script says, if one does."""
        self.in_flight += 1
        try:
            with self.store.transaction():
                plan = self.scripts.take(order_no, operation_no, verb)
            if plan.behaviour == "timeout_before":
                await asyncio.sleep(plan.seconds)
                return PlainTextResponse("gateway timeout", 504)
            if plan.behaviour == "delay":
                await asyncio.sleep(plan.seconds)
            answer = self._act(act, plan)
            if plan.behaviour == "duplicate":
                answer = self._act(act, plan)
            if plan.behaviour == "timeout_after":
                await asyncio.sleep(plan.seconds)
            return answer
        finally:
            self.in_flight -= 1

    def _act(self, act: Act, plan: Plan) -> Response:
        now_ms = self.clock.now_ms()
        with self.store.transaction():
            self._settle_due(now_ms)
            answer = act(plan, now_ms)
        self.notices.wake()
        return answer

    def _settle_due(self, now_ms: int) -> None:
        for order, operation in self.book.settle_due(now_ms):
            self.tell(order, operation)

    def tell(self, order: Order, operation: Operation | None = None) -> None:
        """Queue the news that an order or a step of it succeeded, in the manner scripted for it."""
        self.notices.add(order, operation, manner=operation.manner if operation is not None else order.manner)

    def settle_due(self) -> None:
        """Let happen what happens by itself."""
        with self.store.transaction():
            self._settle_due(self.clock.now_ms())

    async def watch(self) -> None:
        """Let things happen by themselves, for ever, though nobody asks."""
        while True:
            self.settle_due()
            self.notices.wake()
            await asyncio.sleep(_POLL_S)
