"""Gathers the steps of a running stack and lets them be judged; at checkpoints, everything once more from the start."""

import asyncio
import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import httpx

from firmware_sim import neighbor as neighbors
from firmware_sim.audit.auditor import Auditor
from firmware_sim.audit.books import Books
from firmware_sim.audit.prying import Prying
from firmware_sim.audit.rows import CannotRead, Page, Rows
from firmware_sim.plan import TENANT_ID
from firmware_sim.stack import Stack
from firmware_sim.world_log import WorldReader
from gateway.contract.signing import public_from_text

if TYPE_CHECKING:
    from firmware_sim.scenarios.uplink import Passing, UplinkRelay

#: between two rounds: steps wait for no longer than this, and none is passed over
ROUND_S = 0.25
#: between two sweeps that read everything from the beginning
SWEEP_S = 15.0
#: more than a gateway says in a round; what is beyond is a finding, not forgotten
PASSINGS_MAX = 200_000


class Follower:
    """Eyes on every record of one stack. `start` it before people come; `round` may be called by one task at a time."""

    def __init__(self, stack: Stack, relay: "UplinkRelay") -> None:
        plans = {TENANT_ID: stack.plan}
        marks = {TENANT_ID: neighbors.marks_of(stack.plan, stack.demo)}
        if stack.neighbor is not None:
            plans[neighbors.TENANT_ID] = stack.neighbor
            marks[neighbors.TENANT_ID] = neighbors.marks_of(stack.neighbor, stack.neighbor_demo)
        keys = {
            tenant: {kid: public_from_text(text) for kid, text in found.items()}
            for tenant, found in stack.command_keys().items()
        }
        self._stack = stack
        self._marks = marks
        self._rows = Rows(stack.database_url)
        self._world = WorldReader(stack.step_log)
        self._passings: deque[Passing] = deque(maxlen=PASSINGS_MAX)
        self._relay = relay
        self._swept_at = time.monotonic()
        self.auditor = Auditor(plans, keys, marks, since_ms=time.time_ns() // 1_000_000)
        self.prying = Prying(stack) if stack.neighbor is not None else None
        self.rounds = self.sweeps = self.blind = 0

    def start(self) -> None:
        """Begin to hear what passes."""
        self._relay.on_passing = self._passings.append

    async def close(self) -> None:
        """Stop prying and hearing."""
        self._relay.on_passing = lambda passing: None
        if self.prying is not None:
            await self.prying.close()

    def _heard(self) -> "list[Passing]":
        found = []
        with contextlib.suppress(IndexError):
            while True:
                found.append(self._passings.popleft())
        return found

    async def round(self) -> list[str]:
        """Take every step since the last round; return what is newly wrong."""
        before = self._heard()
        page = await asyncio.to_thread(self._page)
        world = await asyncio.to_thread(self._world.take)
        new = self.auditor.round(before, page, world, self._heard())
        self.rounds += 1
        if time.monotonic() - self._swept_at >= SWEEP_S:
            new += await self.sweep()
        return new

    def _page(self) -> Page | None:
        try:
            return self._rows.page(self.auditor.after)
        except CannotRead:
            self.blind += 1
            return None

    async def sweep(self) -> list[str]:
        """Read everything from the beginning, look at the provider's books, and pry; return what is newly wrong."""
        self._swept_at = time.monotonic()
        found: list[str] = []
        try:
            page = await asyncio.to_thread(self._rows.page, dict.fromkeys(self.auditor.after, 0))
            found += await asyncio.to_thread(self._rows.strays, self._marks)
        except CannotRead:
            self.blind += 1
        else:
            for tenant, rows in page.transfers.items():
                books = Books(tenant)
                for row in rows:
                    found += books.apply(row, page.accounts[tenant])
                found += books.compare(page.accounts[tenant])
        if self.prying is not None:
            found += await self.prying.look()
        new = self.auditor.note(found) + self.auditor.orders(await self._orders())
        self.sweeps += 1
        return new

    async def _orders(self) -> list[dict[str, Any]] | None:
        try:
            async with httpx.AsyncClient(timeout=15) as doors:
                answer = await doors.get(f"http://127.0.0.1:{self._stack.provider_port}/orders")
        except httpx.TransportError:
            return None
        found: list[dict[str, Any]] = answer.json()["orders"]
        return found

    async def left(self) -> dict[str, list[str]]:
        """Take the last steps; return what must not be left when everything has come to rest."""
        await self.round()
        return self.auditor.unfinished()

    def told(self) -> dict[str, Any]:
        """Return what was followed, for the report."""
        return {
            "steps": sum(self.auditor.steps.values()),
            "by_kind": dict(sorted(self.auditor.steps.items())),
            "rounds": self.rounds,
            "sweeps": self.sweeps,
            "in_vain": self.blind,
            "pried": 0 if self.prying is None else self.prying.looks,
        }
