"""What a controller remembers of its device and of the commands it was given: on disk first, then in hand."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from gateway.contract.events import CommandRefused, Event, RefusalCode
from gateway.contract.messages import CredentialPresented, MeterSampled
from gateway.devices.registry import Registry
from gateway.kit import Clock, Trace, new_id
from gateway.uplink.state import DeviceMemory
from gateway.uplink.store import NoRoom, Store, Transaction
from gateway.uplink.verification import Order, subject_of

log = logging.getLogger(__name__)

COMMANDS_MAX = 32


class Uplink(Protocol):
    """Where telemetry and questions go."""

    def sample(self, sample: MeterSampled) -> None:
        """Send a look at an open outlet; may be dropped."""

    def present(self, presented: CredentialPresented) -> bool:
        """Ask the backend about a credential; return whether it could be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every controller is given."""

    store: Store
    registry: Registry
    uplink: Uplink
    clock: Clock
    trace: Trace


class Work(Protocol):
    """A change inside a transaction."""

    def __call__(self, tx: Transaction, /) -> object:
        """Make the change."""


class OrderBook:
    """The memory of one device and the queue of its verified commands."""

    def __init__(self, device_id: str, surroundings: Surroundings, memory: DeviceMemory) -> None:
        self.device_id, self._in = device_id, surroundings
        self.memory = memory
        #: highest sequence taken in, on disk or about to be
        self.reserved_sequence = memory.last_sequence
        self._orders: asyncio.Queue[Order] = asyncio.Queue(COMMANDS_MAX)
        self._obeys = False

    async def save(self, events: list[Event], **changes: object) -> None:
        """
        Change what is remembered of the device and journal events, in one transaction.

        :raises NoRoom: if the disk is full; nothing has changed then, neither on disk nor here.
        """

        def work(tx: Transaction) -> None:
            for event in events:
                tx.journal.append(event)

        await self.change(work, **changes)

    async def change(self, more: Work, **changes: object) -> None:
        """Change what is remembered of the device together with more, or raise NoRoom and change nothing."""
        before = {name: getattr(self.memory, name) for name in changes}
        self.memory = msgspec.structs.replace(self.memory, **changes)

        def work(tx: Transaction) -> None:
            more(tx)
            tx.memory.change_device(self.device_id, **changes)

        try:
            await self._in.store.write(work)
        except NoRoom:
            self.memory = msgspec.structs.replace(self.memory, **before)
            raise

    def is_busy(self) -> bool:
        """Return whether a command waits or is being carried out."""
        return self._obeys or not self._orders.empty()

    def take(self, order: Order) -> bool:
        """Queue a verified command; return False when too many wait."""
        self.reserved_sequence = max(self.reserved_sequence, order.command.sequence)
        try:
            self._orders.put_nowait(order)
        except asyncio.QueueFull:
            return False
        return True

    async def refuse(self, order: Order, code: RefusalCode, detail: str, *, undo: Work | None = None) -> None:
        """
        Journal that a command never will be carried out, undoing in the same transaction what it began.

        On a full disk the refusal is kept until there is room: without it the backend would wait for an opening.
        """
        log.warning("command refused", extra={"device": self.device_id, "code": code.value, "reason": detail})
        event = CommandRefused(
            event_id=new_id("ev"),
            at_ms=self._in.clock(),
            code=code,
            cmd_id=order.command.cmd_id,
            device=self.device_id,
            subject_id=subject_of(order.command),
            detail=detail,
        )

        def work(tx: Transaction) -> None:
            tx.journal.append(event)
            if undo is not None:
                undo(tx)

        await self._in.store.write_or_keep(self._persisting(order, work))

    async def persist(self, order: Order, more: Work) -> None:
        """
        Put a command's sequence and id on disk, together with more changes.

        :raises NoRoom: if the disk is full; the command must not be obeyed then, unless it makes things safer.
        """
        await self._in.store.write(self._persisting(order, more))

    def _persisting(self, order: Order, more: Work) -> Callable[[Transaction], None]:
        """Return the work that puts a command's sequence and id on disk, together with more changes."""
        sequence = max(self.memory.last_sequence, order.command.sequence)
        self.memory = msgspec.structs.replace(self.memory, last_sequence=sequence)
        now = self._in.clock()

        def work(tx: Transaction) -> None:
            known = tx.memory.device(self.device_id).last_sequence
            tx.memory.change_device(self.device_id, last_sequence=max(known, sequence))
            tx.memory.remember_command(order.command.cmd_id, order.sha256, now)
            more(tx)

        return work
