"""
What comes down: commands, decisions, acknowledgements. Each is refused, ignored or handed to its device, and counted.

Nothing that comes in here can stop the gateway: what cannot be read is counted, logged and, when it claimed to be a
command, reported.
"""

import asyncio
import hashlib
import logging
from collections import Counter, OrderedDict
from collections.abc import Coroutine, Mapping
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.contract import topics
from gateway.contract.commands import Command
from gateway.contract.events import CommandRefused, RefusalCode
from gateway.contract.messages import Acknowledged, CommandMessage, Decision
from gateway.contract.signing import SignatureRefused, Signed, decode, verify
from gateway.kit import Clock, Trace, new_id
from gateway.uplink.client import Received
from gateway.uplink.outbox import Outbox
from gateway.uplink.own_faults import OwnFaults
from gateway.uplink.store import NoRoom, Store, Transaction
from gateway.uplink.verification import (
    Audience,
    CommandRejected,
    Order,
    Remembered,
    Verdict,
    signed_command,
    subject_of,
    verdict,
)

log = logging.getLogger(__name__)

QUEUE_MAX = 1_000
RECENT_MAX = 1_000
#: above this many records waiting, refusals are counted but no longer journaled: junk must not crowd out endings
REFUSALS_WAITING_MAX = 2_000


class Controller(Protocol):
    """What the inbox needs of whoever runs a device."""

    reserved_sequence: int

    def take(self, order: Order) -> bool:
        """Queue a verified command; return False when too many wait."""

    def decided(self, decision: Decision, direction: str) -> Coroutine[None, None, None]:
        """Show the backend's answer."""


class Inbox:
    """Works off what arrived, in order."""

    def __init__(
        self,
        *,
        audience: Audience,
        keys: Mapping[str, Ed25519PublicKey],
        controllers: Mapping[str, Controller],
        store: Store,
        outbox: Outbox,
        own_faults: OwnFaults,
        clock: Clock,
        trace: Trace,
        not_before_ms: int,
    ) -> None:
        self._audience, self._keys, self._controllers = audience, keys, controllers
        self._store, self._outbox, self._clock, self._trace = store, outbox, clock, trace
        self._own_faults = own_faults
        self._not_before_ms = not_before_ms
        self._queue: asyncio.Queue[Received] = asyncio.Queue(QUEUE_MAX)
        #: digests of commands taken in but perhaps not yet on disk, oldest first
        self._recent: OrderedDict[str, str] = OrderedDict()
        #: how many messages were rejected, by why
        self.rejected: Counter[str] = Counter()
        self.duplicates = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def received(self, message: Received) -> None:
        """Queue a message; drop it, counted, when too many wait."""
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            self.rejected["overload"] += 1

    async def run(self) -> None:
        """Work off messages until cancelled."""
        while True:
            await self.handle(await self._queue.get())

    async def handle(self, message: Received) -> None:
        """Do what one message calls for."""
        try:
            address = topics.parse(message.topic)
        except topics.MalformedTopic:
            self._reject("topic", message)
            return
        if (address.tenant, address.gateway, address.direction) != (
            self._audience.tenant,
            self._audience.gateway,
            "down",
        ):
            self._reject("topic", message)
        elif address.kind == topics.Down.COMMAND:
            await self._command_message(message)
        elif address.kind == topics.Down.DECISION:
            await self._decision(message)
        else:
            await self._acknowledged(message)

    def _reject(self, why: str, message: Received) -> None:
        self.rejected[why] += 1
        log.warning("message rejected", extra={"why": why, "topic": message.topic, "bytes": len(message.payload)})

    async def _command_message(self, message: Received) -> None:
        try:
            signed = decode(message.payload, CommandMessage).signed
        except SignatureRefused as error:
            self._reject("malformed", message)
            await self._refuse(CommandRejected(RefusalCode.MALFORMED, str(error)), "")
            return
        await self._command(signed, retained=message.retained)

    async def _command(self, signed: Signed, *, retained: bool, answer_too_late: bool = False) -> None:
        """Verify a command and hand it to its device, or report why not."""
        sha256 = hashlib.sha256(signed.payload.encode(errors="surrogatepass")).hexdigest()
        try:
            command = signed_command(signed, keys=self._keys)
            controller = self._controllers.get(command.device)
            judged = verdict(
                command,
                audience=self._audience,
                last_sequence=controller.reserved_sequence if controller else 0,
                remembered=await self._remembered(command.cmd_id, sha256),
                retained=retained,
                now_ms=self._clock(),
                not_before_ms=self._not_before_ms,
            )
            if judged is Verdict.IGNORE:
                self.duplicates += 1
                return
            await self._own_faults.clock_fits()
            if answer_too_late:
                raise CommandRejected(RefusalCode.EXPIRED, "the question it answers is too old", command)
            assert controller is not None
            self._trace.point(
                "command_received", device=command.device, cmd_id=command.cmd_id, subject=subject_of(command)
            )
            self._recent[command.cmd_id] = sha256
            while len(self._recent) > RECENT_MAX:
                self._recent.popitem(last=False)
            if not controller.take(Order(command, sha256)):
                raise CommandRejected(RefusalCode.BUSY, "too many commands wait for the device", command)
        except CommandRejected as rejection:
            self.rejected[rejection.code.value] += 1
            await self._refuse(rejection, sha256)
            if rejection.code is RefusalCode.CLOCK_SKEW and rejection.command is not None:
                await self._own_faults.clock_behind(rejection.command.issued_at_ms - self._clock())

    async def _remembered(self, cmd_id: str, sha256: str) -> Remembered:
        recent = self._recent.get(cmd_id)
        if recent is not None:
            return Remembered.SAME if recent == sha256 else Remembered.DIFFERENT
        return await self._store.read(lambda tx: tx.memory.remembered(cmd_id, sha256))

    async def _refuse(self, rejection: CommandRejected, sha256: str) -> None:
        """Journal a refusal, under the command's ids where they may be believed, and once for each command."""
        command: Command | None = rejection.command
        log.warning("command rejected", extra={"code": rejection.code.value, "reason": rejection.detail})
        event = CommandRefused(
            event_id=new_id("ev"),
            at_ms=self._clock(),
            code=rejection.code,
            cmd_id=command.cmd_id if command else "",
            device=command.device if command else "",
            subject_id=subject_of(command) if command else "",
            detail=rejection.detail[:200],
        )
        if command is not None:
            self._recent[command.cmd_id] = sha256
        now = self._clock()

        def work(tx: Transaction) -> None:
            if command is not None:
                tx.memory.remember_command(command.cmd_id, sha256, now)
            if tx.journal.count_waiting() < REFUSALS_WAITING_MAX:
                tx.journal.append(event)

        await self._store.write_or_keep(work)

    async def _decision(self, message: Received) -> None:
        try:
            decision = decode(message.payload, Decision)
        except SignatureRefused:
            self._reject("malformed", message)
            return
        if message.retained:
            self._reject("retained", message)
            return
        question = self._outbox.take_question(decision.request_id, self._clock())
        if decision.command is not None:
            await self._command(decision.command, retained=False, answer_too_late=question is None)
        controller = self._controllers.get(question.device) if question else None
        if controller is None or question is None:
            self.rejected["answer_without_question"] += 1
            return
        self._background(controller.decided(decision, question.direction))

    def _background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _acknowledged(self, message: Received) -> None:
        """Forget records the backend has; only what a command key signed may make us forget one."""
        try:
            ack = verify(decode(message.payload, Signed), keys=dict(self._keys), as_type=Acknowledged)
        except SignatureRefused as error:
            self._reject(error.code, message)
            return
        if message.retained or ack.acked_through < 0:
            self._reject("retained" if message.retained else "malformed", message)
            return
        epoch, through = ack.epoch, ack.acked_through
        try:
            began = await self._store.write(lambda tx: tx.journal.acknowledge(epoch=epoch, acked_through=through))
        except NoRoom:
            return  # said again when we send again
        if began:
            log.error("journal had lost its end; a new epoch began", extra={"acked_through": through})
            self._outbox.restart()
        self._outbox.acknowledged()
