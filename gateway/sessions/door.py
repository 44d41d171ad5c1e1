"""One access reader: a grant is written and remembered, and the passage the door reports is what counts."""

import asyncio
import contextlib
import logging

import msgspec

from gateway.contract.commands import GrantPassage
from gateway.contract.events import Event, PassageCounted, RefusalCode
from gateway.devices.ports import CannotSay, CommandFailed, DoorPort, DoorStatus, Flags, LogRecord
from gateway.kit import new_id, new_u32
from gateway.modbus.bus import NoAnswer, NotTried, Priority
from gateway.modbus.codec import CodecError
from gateway.sessions.device import DeviceController, Surroundings
from gateway.uplink.state import DeviceMemory, PassageMemory
from gateway.uplink.store import NoRoom, Transaction
from gateway.uplink.verification import Order

log = logging.getLogger(__name__)

STATUS_PERIOD_S = 5.0
LOG_PAGES_MAX = 64
#: a grant the door has nothing to say about is over after this long
GRANT_MEMORY_MS = 60_000

_OUTCOMES = {
    "PASSAGE": "passed",
    "GRANT_TIMEOUT": "timeout",
    "FORCED": "forced",
    "TAILGATE": "tailgate",
    "FIRE_FREE": "fire_free",
}
#: outcomes after which a grant is used up
_FINAL = frozenset({"passed", "timeout"})


class DoorController(DeviceController):
    """Runs one access reader."""

    def __init__(
        self,
        device_id: str,
        port: DoorPort,
        surroundings: Surroundings,
        memory: DeviceMemory,
        passages: list[PassageMemory],
        *,
        period_s: float,
    ) -> None:
        super().__init__(device_id, port, surroundings, memory, period_s)
        self._door = port
        self.passages = {passage.grant_u32: passage for passage in passages}
        self._looked_at = -1e9
        self._status: DoorStatus | None = None

    async def connect(self) -> None:
        """Drain the log, so that what happened meanwhile is counted."""
        if self.memory.log_sequence == 0 and self.identity is not None:
            self.memory = msgspec.structs.replace(self.memory, log_sequence=self.identity.log_ack)
        await self._read_status()
        with contextlib.suppress(NoRoom):  # drained again when there is room
            await self._drain()

    async def look(self, flags: Flags) -> None:
        """Drain, and look at the whole door now and then."""
        self._in.registry.set_valve(self.device_id, "unlocked" in flags)
        if "log_pending" in flags:
            await self._drain()
        faulty = bool(self._status and self._status.faults)
        if ("any_fault" in flags) != faulty or asyncio.get_running_loop().time() - self._looked_at >= STATUS_PERIOD_S:
            await self._read_status()
            await self._forget_old_grants()

    async def _read_status(self) -> None:
        self._looked_at = asyncio.get_running_loop().time()
        self._status = status = await self._door.status(Priority.SLOW)
        await self.set_device_faults(status.faults)
        if status.boot_id != self.memory.boot_id:
            rebooted = self.memory.boot_id != 0
            with contextlib.suppress(NoRoom):
                await self.save([], boot_id=status.boot_id)
            if rebooted:
                await self._set_clock()

    async def _drain(self) -> None:
        """Journal passages from the door's log, then let the door forget them."""
        for _ in range(LOG_PAGES_MAX):
            page = await self._door.log_page(self.memory.log_sequence + 1)
            if page.head < self.memory.log_sequence:
                log.error("device log was reset", extra={"device": self.device_id, "head": page.head})
                await self.save([], log_sequence=0)
                continue
            if page.through <= self.memory.log_sequence:
                break
            await self._keep([r for r in page.records if r.sequence > self.memory.log_sequence], page.through)
            if page.through >= page.head:
                break
        if self.memory.log_sequence:
            await self._door.acknowledge_log(self.memory.log_sequence)

    async def _keep(self, records: list[LogRecord], through: int) -> None:
        events: list[Event] = []
        over: dict[int, PassageMemory] = {}
        for record in records:
            outcome = _OUTCOMES.get(record.kind)
            if outcome is None:
                continue
            passage = self.passages.get(record.subject_u32)
            events.append(self._counted(passage, record.label.lower(), outcome, record.sequence))
            if passage is not None and outcome in _FINAL:
                over[record.subject_u32] = passage

        def work(tx: Transaction) -> None:
            for event in events:
                tx.journal.append(event)
            for passage in over.values():
                tx.memory.forget_passage(passage.passage_id)

        await self.change(work, log_sequence=through)
        for grant_u32 in over:
            del self.passages[grant_u32]

    def _counted(
        self, passage: PassageMemory | None, direction: str, outcome: str, log_sequence: int | None
    ) -> PassageCounted:
        if direction not in ("in", "out"):
            direction = passage.direction if passage else "in"
        return PassageCounted(
            event_id=new_id("ev"),
            at_ms=self._in.clock(),
            device=self.device_id,
            passage_id=passage.passage_id if passage else "",
            direction=direction,
            outcome=outcome,
            device_log_sequence=log_sequence,
        )

    async def _forget_old_grants(self) -> None:
        """End grants the door lost: it was off, or never got the frame."""
        oldest = self._in.clock() - GRANT_MEMORY_MS
        for passage in [p for p in self.passages.values() if p.granted_at_ms < oldest]:
            event = self._counted(passage, passage.direction, "timeout", None)
            await self._over(passage, event)
            del self.passages[passage.grant_u32]

    async def _over(self, passage: PassageMemory, event: Event) -> None:
        def work(tx: Transaction) -> None:
            tx.journal.append(event)
            tx.memory.forget_passage(passage.passage_id)

        await self._in.store.write(work)

    async def obey(self, order: Order) -> None:
        """Grant one passage."""
        body = order.command.body
        if not isinstance(body, GrantPassage) or body.direction not in ("in", "out"):
            await self.refuse(order, RefusalCode.UNKNOWN_DEVICE, f"{self.device_id} is a door and cannot do that")
            return
        health = self._in.registry.device(self.device_id)
        if health.state == "mismatch":
            await self.refuse(order, RefusalCode.DEVICE_FAULT, health.evidence)
        elif health.state != "online":
            await self.refuse(order, RefusalCode.DEVICE_SILENT, health.evidence)
        elif not await self._in.store.read(lambda tx: tx.journal.has_room(reserved=1)):
            await self.refuse(order, RefusalCode.JOURNAL_FULL, "no room to record the passage")
        else:
            async with self._lock:
                await self._grant(order, body)

    async def _grant(self, order: Order, body: GrantPassage) -> None:
        passage = PassageMemory(
            passage_id=body.passage_id,
            device_id=self.device_id,
            grant_u32=new_u32(),
            direction=body.direction,
            granted_at_ms=self._in.clock(),
        )
        try:
            await self.persist(order, lambda tx: tx.memory.save_passage(passage))
        except NoRoom:
            await self.refuse(order, RefusalCode.JOURNAL_FULL, "the disk has no room")
            return
        self.passages[passage.grant_u32] = passage
        not_after_s = -(-order.command.not_after_ms // 1000) + 1
        try:
            result = await self._door.grant(passage.grant_u32, body.direction, body.open_ms, not_after_s)
        except (NotTried, CannotSay) as error:
            code = RefusalCode.DEVICE_SILENT if isinstance(error, NotTried) else RefusalCode.DEVICE_REFUSED
            await self._drop(order, passage, code, str(error))
            return
        except (NoAnswer, CodecError, CommandFailed) as error:
            log.warning("no answer to the grant", extra={"device": self.device_id, "reason": str(error)})
            return  # the frame may have arrived; the door's log will say
        self._in.trace.point("grant_frame_written", device=self.device_id, cmd_id=order.command.cmd_id)
        if not result.accepted:
            await self._drop(order, passage, RefusalCode.DEVICE_REFUSED, f"the device answered {result.code}")
        self.nudge()

    async def _drop(self, order: Order, passage: PassageMemory, code: RefusalCode, detail: str) -> None:
        del self.passages[passage.grant_u32]
        await self.refuse(order, code, detail, undo=lambda tx: tx.memory.forget_passage(passage.passage_id))

    async def denied(self, direction: str) -> None:
        """Show red."""
        await self._door.deny(direction)
