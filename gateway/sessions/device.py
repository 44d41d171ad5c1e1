"""
What the controllers of outlets and doors share: the poll cycle, who answers, faults raised and cleared, mail, and a
queue of verified commands worked off one by one.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine

from gateway.contract.events import Event, FaultCleared, FaultRaised, RefusalCode
from gateway.contract.faults import FaultCode
from gateway.contract.messages import CredentialPresented, Decision
from gateway.devices.ports import CommandFailed, DeviceMismatch, DevicePort, Flags, Identity, Mail
from gateway.kit import new_id
from gateway.modbus.bus import BusError, NoAnswer, NotTried
from gateway.modbus.codec import CodecError
from gateway.sessions.orders import OrderBook
from gateway.sessions.orders import Surroundings as Surroundings
from gateway.sessions.taps import age_s, question_of
from gateway.uplink.flapping import Holdback
from gateway.uplink.state import DeviceMemory
from gateway.uplink.store import NoRoom, StoreBroken
from gateway.uplink.verification import Order

log = logging.getLogger(__name__)

FAILURES_BEFORE_SILENT = 2
DISPLAY_S = 5
#: A device's clock drifts by 20 ppm: 0.4 s in this time, far below what an opening's age may be.
CLOCK_PERIOD_S = 6 * 3_600
#: Our own clock against the monotonic one may move so far before the devices' clocks are set after it.
CLOCK_JUMP_MS_MAX = 5_000
NO_ROOM_PAUSE_S = 1.0
BROKEN_PAUSE_S = 5.0
#: faults of the line rather than of the device: a bad bus makes them, often
LINE_FAULTS = frozenset({FaultCode.DEVICE_SILENT, FaultCode.DEVICE_MISMATCH, FaultCode.DEVICE_UNKNOWN})
SETTLE_PERIOD_MS = 1_000
#: shown when nobody can be asked
NO_LINK_TEXT = "离线 Offline"

DEVICE_ERRORS = (BusError, CodecError, CommandFailed)

_NO_FAULTS: frozenset[FaultCode] = frozenset()


def known_faults(names: frozenset[str]) -> frozenset[FaultCode]:
    """Return the contract's faults among a device's own; what the contract has no word for stays on the device."""
    if not names:
        return _NO_FAULTS
    codes = {code.name for code in FaultCode}
    return frozenset(FaultCode[name] for name in names if name in codes)


def _wake(sleep: "asyncio.Future[None]") -> None:
    if not sleep.done():
        sleep.set_result(None)


class DeviceController(OrderBook):
    """Runs one device. Subclasses say what a cycle looks at and how an order is obeyed."""

    def __init__(
        self, device_id: str, port: DevicePort, surroundings: Surroundings, memory: DeviceMemory, period_s: float
    ) -> None:
        super().__init__(device_id, surroundings, memory)
        self._port = port
        #: who answers now; None until it has said so, and again when it has been silent
        self.identity: Identity | None = None
        self.last_identity: Identity | None = None
        self._period_s = period_s
        self._lock = asyncio.Lock()
        #: done when the next cycle must not wait any longer; None while a cycle runs
        self._sleep: asyncio.Future[None] | None = None
        self._nudged = False
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
        self._clock_set_at = -1e9
        #: our clock against the monotonic one when the device's was set
        self._clock_offset_ms = 0
        self.stopping = False
        #: the last thing each reader saw
        self._mails: dict[str, Mail] = {}
        #: errors of our own, see `guard`
        self.bugs = 0
        self.is_broken = False
        self._in.registry.set_faults(device_id, frozenset(FaultCode(fault) for fault in memory.faults))

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    # -- what subclasses give

    async def connect(self) -> None:
        """Bring a device that has just been identified into a known state."""
        raise AssertionError("each kind of device is brought up in its own way")

    async def flags(self) -> Flags:
        """Return what the device shows at a glance."""
        return await self._port.flags()

    async def look(self, flags: Flags) -> None:
        """Do what the flags and the time call for; called with the lock held."""
        raise AssertionError("each kind of device is looked at in its own way")

    async def obey(self, order: Order) -> None:
        """Carry out a verified command."""
        raise AssertionError("each kind of device obeys in its own way")

    def is_serving(self) -> bool:
        """Return whether somebody is being served, whose clock is not moved."""
        return False

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
                except StoreBroken:
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
                await self.rest()
                continue
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
                if not self.is_serving():
                    await self._set_clock()
                try:
                    await self.connect()
                except (*DEVICE_ERRORS, NoRoom):
                    self.identity = None
                    raise
                if not self.is_broken:
                    await self._is_online()
        flags = await self.flags()
        self._is_answering()
        await self._settle_faults()
        await self._take_mail(flags)
        async with self._lock:
            await self.look(flags)
            if not self.is_serving() and self._is_clock_due():
                await self._set_clock()
        if self.is_broken:  # one whole look without trouble
            self.is_broken = False
            await self._is_online()

    def _offset_ms(self) -> int:
        return self._in.clock() - int(self._now() * 1000)

    def _is_clock_due(self) -> bool:
        """Return whether the device's clock was set long ago, or ours has jumped since."""
        jumped_ms = abs(self._offset_ms() - self._clock_offset_ms)
        return jumped_ms > CLOCK_JUMP_MS_MAX or self._now() - self._clock_set_at >= CLOCK_PERIOD_S

    async def _set_clock(self) -> None:
        offset_ms = self._offset_ms()
        await self._port.set_clock(self._in.clock())
        self._clock_set_at, self._clock_offset_ms = self._now(), offset_ms

    async def _is_online(self) -> None:
        assert self.last_identity is not None
        bugs = f", {self.bugs} internal errors since the start" if self.bugs else ""
        evidence = f"identity read, firmware {self.last_identity.firmware}{bugs}"
        self._in.registry.set_state(self.device_id, "online", evidence)
        await self.set_faults(self._device_faults, "")

    async def rest(self) -> None:
        """
        Return when a cycle is due again.

        :raises BusError: if a look that was made meanwhile failed.
        """
        await self._wait(self.period_s())

    async def _wait(self, seconds: float) -> None:
        """Sleep, or until the next nudge; not at all after one."""
        loop = asyncio.get_running_loop()
        sleep = loop.create_future()
        timer = loop.call_later(seconds, _wake, sleep)
        try:
            await self._sleep_until(sleep)
        finally:
            timer.cancel()

    async def _sleep_until(self, sleep: "asyncio.Future[None]") -> None:
        """Wait for a future that a nudge completes as well."""
        if self._nudged:
            _wake(sleep)
        self._sleep = sleep
        try:
            await sleep
        finally:
            self._sleep, self._nudged = None, False

    def nudge(self) -> None:
        """Have the next cycle begin at once."""
        self._nudged = True
        if self._sleep is not None:
            _wake(self._sleep)

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
        is_news = health.state != "silent" or FaultCode.DEVICE_SILENT not in health.faults
        if is_news or not isinstance(error, NotTried):  # a unit that rests has nothing new to say for itself
            evidence = f"{error}; {health.timeouts} times without an answer"
            self._in.registry.set_state(self.device_id, "silent", evidence)
        if is_news:
            log.warning("device silent", extra={"device": self.device_id, "reason": str(error)})
            await self.set_faults(self._device_faults | {FaultCode.DEVICE_SILENT}, str(error))
        await self._settle_faults()
        self.identity = None  # whoever answers next must say who it is

    async def set_device_faults(self, names: frozenset[str], evidence: str = "") -> None:
        """Take over the faults a device itself reports."""
        faults = known_faults(names)
        if faults != self._device_faults:
            self._device_faults = faults
            await self.set_faults(faults, evidence)

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

    # -- readers

    async def _take_mail(self, flags: Flags) -> None:
        mail = await self._port.mail(flags)
        if mail is None:
            return
        if mail == self._mails.get(mail.direction):
            # our acknowledgement was lost, or an old answer came again: one tap is one question
            await self._port.acknowledge_mail(mail)
            return
        self._mails[mail.direction] = mail
        now_ms = self._in.clock()
        presented = question_of(mail, self.device_id, now_ms)
        if presented is None:
            age = age_s(mail, now_ms)
            log.info("mail dropped", extra={"device": self.device_id, "source": mail.source, "age_s": age})
            await self._port.acknowledge_mail(mail)
            return
        self._in.trace.point("mailbox_seen", device=self.device_id, request_id=presented.request_id)
        sent = self._in.uplink.present(presented)
        await self._port.acknowledge_mail(mail)
        if sent:
            self.asked(presented)
        else:
            await self.answer_alone(presented)

    def asked(self, presented: CredentialPresented) -> None:
        """Note a question that is on its way; nothing, for what needs no more than the answer."""

    async def answer_alone(self, presented: CredentialPresented) -> None:
        """Do what can be done while nobody can be asked: say so."""
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
