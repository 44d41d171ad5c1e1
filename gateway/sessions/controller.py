"""
One outlet: command → persist → frame → read back → event, leases while a grant lives, the end from the device's log.

Whatever happens in between, what is on disk and what the device remembers are enough to finish: a session row is
written before the opening frame, and disappears in the transaction that journals the session's end.
"""

import asyncio
import contextlib
import logging
import secrets
from typing import Any

import msgspec

from gateway.contract.commands import CloseValve, OpenValve
from gateway.contract.events import RefusalCode, StopReason, ValveOpened
from gateway.contract.faults import BLOCKING, FaultCode
from gateway.contract.messages import CredentialPresented, Decision
from gateway.devices.drivers import OPENABLE
from gateway.devices.ports import CannotSay, CommandFailed, OutletStatus
from gateway.kit import new_id, new_u32
from gateway.modbus.bus import BusError, NoAnswer, NotTried, Priority
from gateway.modbus.codec import CodecError
from gateway.sessions.device import DISPLAY_S, known_faults
from gateway.sessions.glancing import GlancingOutlet
from gateway.sessions.machine import Happening, State, step
from gateway.sessions.reasons import asked_reason
from gateway.sessions.saying import asked_to_close, opening_of
from gateway.sessions.starters import Starters
from gateway.uplink.state import SessionMemory
from gateway.uplink.store import NoRoom, Transaction
from gateway.uplink.verification import Order

log = logging.getLogger(__name__)

#: shown to whoever closed by card while nobody could be asked
STOPPED_TEXT = "已停止 Stopped"
READ_BACK_TRIES = 40
READ_BACK_PAUSE_S = 0.025
PREDECESSOR_WAIT_S = 8.0

#: records a session still needs in the journal: opened, ended, and a fault with its end
RECORDS_PER_SESSION = 4

_REFUSALS = {
    "BUSY": RefusalCode.BUSY,
    "EXPIRED": RefusalCode.EXPIRED,
    "LOG_FULL": RefusalCode.DEVICE_FAULT,
    "FAULTED": RefusalCode.DEVICE_FAULT,
    "UNSAFE_DEVICE": RefusalCode.UNSAFE_DEVICE,
}


class OutletController(GlancingOutlet):
    """Runs one hot-water outlet."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._starters = Starters(secrets.token_bytes(32))

    async def obey(self, order: Order) -> None:
        """Open or close."""
        body = order.command.body
        if isinstance(body, OpenValve):
            await self._open(order, body)
        elif isinstance(body, CloseValve):
            await self._close(order, body)
        else:
            await self.refuse(order, RefusalCode.UNKNOWN_DEVICE, f"{self.device_id} is not a door")

    async def _open(self, order: Order, body: OpenValve) -> None:
        if any(session.water_session_id == body.water_session_id for session in self.sessions.values()):
            await self.persist(order, lambda tx: None)  # it runs already: a refusal would void it
            return
        if not await self._predecessor_gone(order):
            await self.refuse(order, RefusalCode.BUSY, "another water session is running")
            return
        async with self._lock:
            obstacle = await self._obstacle(order)
            if obstacle is not None:
                await self.refuse(order, *obstacle)
                return
            assert self._status is not None
            session = SessionMemory(
                water_session_id=body.water_session_id,
                device_id=self.device_id,
                session_u32=new_u32(),
                cmd_id=order.command.cmd_id,
                state=step(State.AUTHORIZED, Happening.PERSISTED),
                volume_limit_ml=body.volume_limit_ml,
                duration_limit_s=body.duration_limit_s,
                lease_s=body.lease_s,
                idle_limit_s=body.idle_limit_s,
                temperature_limit_decidegc=body.temperature_limit_decidegc,
                k_factor_pulses_per_m3=self._k_factor(),
                begun_at_ms=self._in.clock(),
                register_before_pulses=self._status.total_pulses,
            )
            try:
                await self.persist(order, lambda tx: tx.memory.save_session(session))
            except NoRoom:
                await self.refuse(order, RefusalCode.JOURNAL_FULL, "the disk has no room")
                return
            self.sessions[session.session_u32] = session
            self._starters.opened(session.session_u32, self._now())
            self._idle.clear()
            await self._write_opening(order, session)
        self.nudge()

    async def _predecessor_gone(self, order: Order) -> bool:
        """Wait for a session that is closing; return False if one goes on."""
        if self.sessions and not self._closing():
            return False
        self.nudge()
        left_s = min(PREDECESSOR_WAIT_S, (order.command.not_after_ms - self._in.clock()) / 1000)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, left_s)):
                await self._idle.wait()
        return not self.sessions

    async def _obstacle(self, order: Order) -> tuple[RefusalCode, str] | None:
        """Return why the outlet must not be opened now, looking at the device itself last."""
        health = self._in.registry.device(self.device_id)
        if self.stopping:
            return RefusalCode.BUSY, "the gateway is shutting down"
        if self._outlet.deadman not in OPENABLE:
            return RefusalCode.UNSAFE_DEVICE, f"its dead-man class is {self._outlet.deadman}"
        if self.is_broken:
            return RefusalCode.DEVICE_FAULT, health.evidence
        if health.state == "mismatch":
            return RefusalCode.DEVICE_FAULT, health.evidence
        if health.state != "online" or self.identity is None:
            return RefusalCode.DEVICE_SILENT, health.evidence
        room = await self._in.store.read(
            lambda tx: tx.journal.has_room(reserved=RECORDS_PER_SESSION * (1 + len(tx.memory.sessions())))
        )
        if not room or not self._in.store.disk_has_room():
            return RefusalCode.JOURNAL_FULL, "no room to record how the session ends"
        try:
            status = await self._read_status(Priority.OPEN)
        except (BusError, CodecError) as error:
            return RefusalCode.DEVICE_SILENT, str(error)
        if status.refusal:
            is_silent = FaultCode.DEVICE_SILENT.name in status.faults
            return RefusalCode.DEVICE_SILENT if is_silent else RefusalCode.DEVICE_FAULT, status.refusal
        blocking = known_faults(status.faults) & BLOCKING
        if blocking:
            return RefusalCode.DEVICE_FAULT, ", ".join(sorted(blocking))
        if self._k_factor() <= 0:
            return RefusalCode.DEVICE_FAULT, f"its K-factor is {self._k_factor()}"
        if status.state != "IDLE":
            return RefusalCode.BUSY, f"the device is {status.state}"
        if self._in.clock() >= order.command.not_after_ms:
            return RefusalCode.EXPIRED, "too late after waiting for the device"
        return None

    async def _write_opening(self, order: Order, session: SessionMemory) -> None:
        ids = {"device": self.device_id, "water_session_id": session.water_session_id, "cmd_id": session.cmd_id}
        not_after_s = -(-order.command.not_after_ms // 1000) + 1
        self._renewed_at = self._begun_at = self._now()
        try:
            result = await self._outlet.open(opening_of(session, not_after_s=not_after_s))
        except (NotTried, CannotSay) as error:
            code = RefusalCode.DEVICE_SILENT if isinstance(error, NotTried) else RefusalCode.DEVICE_REFUSED
            await self._drop(order, session, code, str(error))
            return
        except (NoAnswer, CodecError, CommandFailed) as error:
            # the frame may have arrived: close, and let log or register say what happened
            log.warning("no answer to the opening", extra={**ids, "reason": str(error)})
            await self._ask_stop(session, StopReason.FAULT)
            return
        self._in.trace.point("open_frame_written", **ids)
        if not result.accepted:
            code = _REFUSALS.get(result.code, RefusalCode.DEVICE_REFUSED)
            await self._drop(order, session, code, f"the device answered {result.code} {result.detail}")
            return
        status = await self._read_back(session)
        if status is None:
            await self._ask_stop(session, StopReason.FAULT)
            return
        opening = (status.total_pulses - status.session_pulses) % 2**64
        session = msgspec.structs.replace(
            session, state=step(State(session.state), Happening.OPENED), opening_pulses=opening
        )
        opened = ValveOpened(
            event_id=new_id("ev"),
            at_ms=self._in.clock(),
            device=self.device_id,
            water_session_id=session.water_session_id,
            cmd_id=session.cmd_id,
            opening_pulses=opening,
            k_factor_pulses_per_m3=session.k_factor_pulses_per_m3,
        )

        def work(tx: Transaction) -> None:
            tx.journal.append(opened)
            tx.memory.save_session(session)

        try:
            await self._in.store.write(work)
        except NoRoom:  # water that cannot be reported does not run
            await self._ask_stop(session, StopReason.FAULT)
            return
        self.sessions[session.session_u32] = session
        self._in.registry.set_valve(self.device_id, True)
        self._in.trace.point("opened", **ids)

    async def _read_back(self, session: SessionMemory) -> OutletStatus | None:
        """Return the status that shows the outlet open for a session, or None if it does not come to that."""
        for _ in range(READ_BACK_TRIES):
            try:
                status = await self._read_status(Priority.OPEN)
            except (BusError, CodecError):
                return None
            if status.session_u32 == session.session_u32 and status.is_open:
                return status
            await asyncio.sleep(READ_BACK_PAUSE_S)
        return None

    async def _drop(self, order: Order, session: SessionMemory, code: RefusalCode, detail: str) -> None:
        """Refuse a command after its session row was written, and forget the row."""
        del self.sessions[session.session_u32]
        await self.refuse(order, code, detail, undo=lambda tx: tx.memory.forget_session(session.water_session_id))
        self._note_sessions()

    async def _close(self, order: Order, body: CloseValve) -> None:
        async with self._lock:
            session = next((s for s in self.sessions.values() if s.water_session_id == body.water_session_id), None)
            if session is None:
                await self.persist(order, lambda tx: None)  # closing what is closed is not an error
                return
            closing = asked_to_close(session, asked_reason(body.stop_reason))
            # closing makes things safer, so it does not wait for room on the disk
            await self._in.store.write_or_keep(self._persisting(order, lambda tx: self._save_if_known(tx, closing)))
            self.sessions[closing.session_u32] = closing
            try:
                await self._send_close(closing)
            finally:
                self.nudge()

    # -- taps, while nobody can be asked

    def asked(self, presented: CredentialPresented) -> None:
        """Remember what was shown, to know it again."""
        self._starters.asked(presented, self._now())

    async def decided(self, decision: Decision, direction: str) -> None:
        """Show the backend's answer, and remember whose start it granted."""
        self._starters.decided(decision)
        await super().decided(decision, direction)

    async def answer_alone(self, presented: CredentialPresented) -> None:
        """Close what the same card has opened; whatever else is shown has to wait for the backend."""
        async with self._lock:
            own = [s for s in self.sessions.values() if self._starters.may_stop(s.session_u32, presented)]
            for session in own:
                await self._ask_stop(session, StopReason.CARD)
                await self._send_close(self.sessions[session.session_u32])
        if own:
            await self._port.display(STOPPED_TEXT, DISPLAY_S)
        else:
            await super().answer_alone(presented)

    @staticmethod
    def _save_if_known(tx: Transaction, session: SessionMemory) -> None:
        """Save a session unless it has ended meanwhile: what waited for room must not bring it back."""
        if any(known.water_session_id == session.water_session_id for known in tx.memory.sessions()):
            tx.memory.save_session(session)

    def is_busy(self) -> bool:
        """Return whether water runs or a command waits."""
        return bool(self.sessions) or super().is_busy()

    async def shut_down(self, timeout_s: float) -> None:
        """Close what is open and wait until its end is journaled."""
        self.stopping = True
        async with self._lock:
            for session in list(self.sessions.values()):
                if session.asked_stop is None:
                    await self._ask_stop(session, StopReason.GATEWAY_RESTART)
                with contextlib.suppress(BusError, CodecError, CommandFailed):
                    await self._send_close(self.sessions[session.session_u32])
        self.nudge()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
