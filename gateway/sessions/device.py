"""
What the controllers of outlets and doors share: the poll cycle, who answers, faults raised and cleared, mail, and a
queue of verified commands worked off one by one.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Protocol

import msgspec

from gateway.contract.events import CommandRefused, Event, FaultCleared, FaultRaised, RefusalCode
from gateway.contract.faults import FaultCode
from gateway.contract.messages import CredentialKind, CredentialPresented, Decision, MeterSampled
from gateway.devices.ports import CommandFailed, DeviceMismatch, DevicePort, Flags, Identity
from gateway.devices.registry import Registry
from gateway.kit import Clock, Trace, new_id
from gateway.modbus.bus import BusError, NoAnswer
from gateway.modbus.codec import CodecError
from gateway.uplink.flapping import Holdback
from gateway.uplink.state import DeviceMemory
from gateway.uplink.store import NoRoom, Store, Transaction
from gateway.uplink.verification import Order, subject_of

log = logging.getLogger(__name__)

COMMANDS_MAX = 32
FAILURES_BEFORE_SILENT = 2
MAIL_AGE_S_MAX = 10
DISPLAY_S = 5
NO_ROOM_PAUSE_S = 1.0
BROKEN_PAUSE_S = 5.0
#: faults of the line rather than of the device: a bad bus makes them, often
LINE_FAULTS = frozenset({FaultCode.DEVICE_SILENT, FaultCode.DEVICE_MISMATCH, FaultCode.DEVICE_UNKNOWN})
SETTLE_PERIOD_MS = 1_000
#: shown when nobody can be asked
NO_LINK_TEXT = "离线 Offline"

DEVICE_ERRORS = (BusError, CodecError, CommandFailed)

_KINDS = {
    "UID": CredentialKind.UID,
    "NFC": CredentialKind.SUN,
    "CODE": CredentialKind.CODE,
    "BUTTON": CredentialKind.BUTTON,
}


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


def known_faults(names: frozenset[str]) -> frozenset[FaultCode]:
    """Return the contract's faults among a device's own; what the contract has no word for stays on the device."""
    codes = {code.name for code in FaultCode}
    return frozenset(FaultCode[name] for name in names if name in codes)


class DeviceController:
    """Runs one device. Subclasses say what a cycle looks at and how an order is obeyed."""

    def __init__(
        self, device_id: str, port: DevicePort, surroundings: Surroundings, memory: DeviceMemory, period_s: float
    ) -> None:
        self.device_id, self._port, self._in = device_id, port, surroundings
        self.memory = memory
        #: highest sequence taken in, on disk or about to be
        self.reserved_sequence = memory.last_sequence
        #: who answers now; None until it has said so, and again when it has been silent
        self.identity: Identity | None = None
        self.last_identity: Identity | None = None
        self._period_s = period_s
        self._orders: asyncio.Queue[Order] = asyncio.Queue(COMMANDS_MAX)
        self._lock = asyncio.Lock()
        self._nudge = asyncio.Event()
        self._obeys = False
        self._failures = 0
        self._device_faults: frozenset[FaultCode] = known_faults(frozenset(f.upper() for f in memory.faults)) - {
            FaultCode.DEVICE_SILENT,
            FaultCode.DEVICE_MISMATCH,
            FaultCode.DEVICE_UNKNOWN,
        }
        #: faults that are there now; `memory.faults` are those that count as there, see `gateway.uplink.flapping`
        self._present: frozenset[FaultCode] = frozenset(FaultCode(fault) for fault in memory.faults)
        self._holdback = Holdback()
        self._settled_at_ms = 0
        self.stopping = False
        #: errors of our own, see `guard`
        self.bugs = 0
        self.is_broken = False
        self._in.registry.set_faults(device_id, frozenset(FaultCode(fault) for fault in memory.faults))

    # -- what subclasses give

    async def connect(self) -> None:
        """Bring a device that has just been identified into a known state."""
        raise AssertionError("each kind of device is brought up in its own way")

    async def look(self, flags: Flags) -> None:
        """Do what the flags and the time call for; called with the lock held."""
        raise AssertionError("each kind of device is looked at in its own way")

    async def obey(self, order: Order) -> None:
        """Carry out a verified command."""
        raise AssertionError("each kind of device obeys in its own way")

    def period_s(self) -> float:
        """Return how long to wait until the next cycle."""
        return self._period_s

    async def make_safe(self) -> None:
        """Close what this controller opened; nothing, for what closes by itself."""

    # -- the two tasks of a device

    async def guard(self, task: Callable[[], Coroutine[None, None, None]]) -> None:
        """
        Run one of the two tasks until cancelled, and again after a pause when a bug ended it.

        A bug that one device provokes must not close the others' water, and must not pass unseen either: it is logged
        as critical with its trace, counted in the device's evidence, and raised as a fault; the outlet is closed and
        opens for nobody until the device has been looked at again without trouble. What the store could not do is
        everybody's, and ends the process.
        """
        while True:
            for step in (task, self.make_safe, self._tell_broken):
                try:
                    await step()
                except sqlite3.Error:
                    raise
                except Exception as error:  # noqa: BLE001 - the one place where a bug is met instead of passed on
                    self._note_bug(error)
            await asyncio.sleep(BROKEN_PAUSE_S)

    def _note_bug(self, error: Exception) -> None:
        self.bugs += 1
        self.is_broken = True
        self.identity = None  # the next look begins with who it is
        evidence = f"internal error, number {self.bugs} here: {type(error).__name__}: {error}"
        self._in.registry.set_state(self.device_id, "mismatch", evidence[:200])
        log.critical("bug", exc_info=error, extra={"device": self.device_id, "bugs": self.bugs})

    async def _tell_broken(self) -> None:
        evidence = self._in.registry.device(self.device_id).evidence
        if self.is_broken:
            await self.set_faults(self._device_faults | {FaultCode.DEVICE_MISMATCH}, evidence)

    async def poll(self) -> None:
        """Look at the device until cancelled."""
        while True:
            try:
                await self.cycle()
            except DeviceMismatch as error:
                fault = FaultCode.DEVICE_UNKNOWN if error.unknown else FaultCode.DEVICE_MISMATCH
                self._in.registry.set_state(self.device_id, "mismatch", str(error))
                await self.set_faults(self._device_faults | {fault}, str(error))
                await self._wait(1.0)
                continue
            except DEVICE_ERRORS as error:
                await self._failed(error)
            except NoRoom as error:
                # nothing is lost: what was not written is still in the device's log, and is asked for again
                log.error("no room to write", extra={"device": self.device_id, "reason": str(error)})
                await self._wait(NO_ROOM_PAUSE_S)
                continue
            await self._wait(self.period_s())

    async def work(self) -> None:
        """Obey orders one by one until cancelled."""
        while True:
            order = await self._orders.get()
            self._obeys = True
            try:
                await self.obey(order)
            except DEVICE_ERRORS as error:
                # what could not be finished now is finished by the poll cycle, from what is on disk
                log.warning("order interrupted", extra={"device": self.device_id, "reason": str(error)})
            except NoRoom as error:
                log.error("order without room to write", extra={"device": self.device_id, "reason": str(error)})
                await self.refuse(order, RefusalCode.JOURNAL_FULL, "the disk has no room")
            finally:
                self._obeys = False
                self._orders.task_done()

    async def cycle(self) -> None:
        """Look once."""
        if self.identity is None:
            async with self._lock:
                self.identity = self.last_identity = await self._port.identify()
                await self._port.set_clock(self._in.clock())
                try:
                    await self.connect()
                except (*DEVICE_ERRORS, NoRoom):
                    self.identity = None
                    raise
                if not self.is_broken:
                    await self._is_online()
        flags = await self._port.flags()
        self._is_answering()
        await self._settle_faults()
        await self._take_mail(flags)
        async with self._lock:
            await self.look(flags)
        if self.is_broken:  # one whole look without trouble
            self.is_broken = False
            await self._is_online()

    async def _is_online(self) -> None:
        assert self.last_identity is not None
        bugs = f", {self.bugs} internal errors since the start" if self.bugs else ""
        evidence = f"identity read, firmware {self.last_identity.firmware}{bugs}"
        self._in.registry.set_state(self.device_id, "online", evidence)
        await self.set_faults(self._device_faults, "")

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._nudge.wait(), seconds)
        self._nudge.clear()

    def nudge(self) -> None:
        """Have the next cycle begin at once."""
        self._nudge.set()

    # -- health and faults

    def _is_answering(self) -> None:
        """Note a valid answer."""
        self._failures = 0
        self._in.registry.answered(self.device_id, self._in.clock())

    async def _failed(self, error: Exception) -> None:
        self._failures += 1
        health = self._in.registry.device(self.device_id)
        health.timeouts += isinstance(error, NoAnswer)
        if self._failures < FAILURES_BEFORE_SILENT:
            return
        if health.state != "silent" or FaultCode.DEVICE_SILENT not in health.faults:
            log.warning("device silent", extra={"device": self.device_id, "reason": str(error)})
            self._in.registry.set_state(self.device_id, "silent", f"{error}")
            await self.set_faults(self._device_faults | {FaultCode.DEVICE_SILENT}, str(error))
        await self._settle_faults()
        self.identity = None  # whoever answers next must say who it is

    async def set_device_faults(self, names: frozenset[str]) -> None:
        """Take over the faults a device itself reports."""
        faults = known_faults(names)
        if faults != self._device_faults:
            self._device_faults = faults
            await self.set_faults(faults, "")

    async def set_faults(self, faults: frozenset[FaultCode], detail: str) -> None:
        """Raise what began and clear what ended, by event; what there is no room for is told later."""
        self._present = faults
        before = frozenset(FaultCode(fault) for fault in self.memory.faults)
        now = self._in.clock()
        faults = self._holdback.shown(faults, before=before, now_ms=now)
        self._in.registry.set_faults(self.device_id, faults)
        if faults == before:
            return
        half_full: bool = await self._in.store.read(lambda tx: tx.journal.is_half_full())
        if half_full:
            faults = (faults - LINE_FAULTS) | (before & LINE_FAULTS)  # health says it; told when there is room
        if faults == before:
            return
        events: list[Event] = [
            FaultRaised(event_id=new_id("ev"), at_ms=now, fault=fault, device=self.device_id, detail=detail[:200])
            for fault in sorted(faults - before)
        ]
        events += [
            FaultCleared(event_id=new_id("ev"), at_ms=now, fault=fault, device=self.device_id)
            for fault in sorted(before - faults)
        ]
        with contextlib.suppress(NoRoom):
            await self.save(events, faults=sorted(fault.value for fault in faults))

    async def _settle_faults(self) -> None:
        """Clear what was held back and has stayed away, and tell what there was no room for."""
        now = self._in.clock()
        if abs(now - self._settled_at_ms) < SETTLE_PERIOD_MS:
            return
        self._settled_at_ms = now
        if self._present != frozenset(FaultCode(fault) for fault in self.memory.faults):
            await self.set_faults(self._present, "")

    async def save(self, events: list[Event], **changes: object) -> None:
        """
        Change what is remembered of the device and journal events, in one transaction.

        :raises NoRoom: if the disk is full; nothing has changed then, neither on disk nor here.
        """

        def work(tx: Transaction) -> None:
            for event in events:
                tx.journal.append(event)

        await self.change(work, **changes)

    async def change(self, more: "Work", **changes: object) -> None:
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

    # -- orders

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

    async def refuse(self, order: Order, code: RefusalCode, detail: str, *, undo: "Work | None" = None) -> None:
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

    async def persist(self, order: Order, more: "Work") -> None:
        """
        Put a command's sequence and id on disk, together with more changes.

        :raises NoRoom: if the disk is full; the command must not be obeyed then, unless it makes things safer.
        """
        await self._in.store.write(self._persisting(order, more))

    def _persisting(self, order: Order, more: "Work") -> Callable[[Transaction], None]:
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

    # -- readers

    async def _take_mail(self, flags: Flags) -> None:
        mail = await self._port.mail(flags)
        if mail is None:
            return
        now = self._in.clock()
        kind = _KINDS.get(mail.source)
        age_s = now // 1000 - mail.time_s if mail.time_s else 0  # a clock that was never set says nothing
        if kind is None or mail.stale or age_s > MAIL_AGE_S_MAX:
            log.info("mail dropped", extra={"device": self.device_id, "source": mail.source, "age_s": age_s})
            await self._port.acknowledge_mail(mail)
            return
        presented = CredentialPresented(
            request_id=new_id("rq"),
            at_ms=now,
            device=self.device_id,
            kind=kind,
            value=mail.value,
            direction=mail.direction,
        )
        self._in.trace.point("mailbox_seen", device=self.device_id, request_id=presented.request_id)
        sent = self._in.uplink.present(presented)
        await self._port.acknowledge_mail(mail)
        if not sent:
            await self._port.display(NO_LINK_TEXT, DISPLAY_S)

    async def decided(self, decision: Decision, direction: str) -> None:
        """Show the backend's answer."""
        try:
            if decision.display:
                await self._port.display(decision.display, DISPLAY_S)
            if not decision.granted:
                await self.denied(direction)
        except DEVICE_ERRORS as error:
            log.info("answer not shown", extra={"device": self.device_id, "reason": str(error)})

    async def denied(self, direction: str) -> None:
        """Do what a device does when access is denied; nothing, unless it has a lamp for it."""


class Work(Protocol):
    """A change inside a transaction."""

    def __call__(self, tx: Transaction, /) -> object:
        """Make the change."""
