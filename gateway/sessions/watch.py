"""
What an outlet's controller sees: who is open, for whom, how much has run, and how it ended.

It renews leases while a grant lives, closes what has no grant or has run beyond it, keeps a closing session closing,
and tells a session's end from the device's log, or from the register where there is no record.
"""

import asyncio
import contextlib
import logging

import msgspec

from gateway.contract.events import MeterRead, StopReason
from gateway.contract.faults import FaultCode
from gateway.contract.units import volume_ml
from gateway.devices.ports import Flags, Glimpse, OutletPort, OutletStatus
from gateway.kit import new_id
from gateway.modbus.bus import Priority
from gateway.sessions.cutoff import cutoff, grant_lives, renewal_due
from gateway.sessions.device import DEVICE_ERRORS, DeviceController, Surroundings
from gateway.sessions.machine import Happening, State, step
from gateway.sessions.reasons import asked_reason, word_for_device
from gateway.sessions.saying import asked_to_close, opening_of, sample_of
from gateway.sessions.settling import Settled, end_by_register, settle, with_sight
from gateway.sessions.twice import Twice
from gateway.uplink.state import DeviceMemory, SessionMemory
from gateway.uplink.store import NoRoom, Transaction

log = logging.getLogger(__name__)

#: while an end is near; on a slow line one outlet that closes must not keep the others' cards waiting
FAST_PERIOD_S, FAST_SLOW_PERIOD_S = 0.02, 0.2
HOT_PERIOD_S = 0.4
SAMPLE_PERIOD_S = 0.9
IDLE_STATUS_PERIOD_S = 5.0
CLOSE_RETRY_S = 0.5
#: a session whose device is closed and has no END record is settled by register after this long
NO_RECORD_S = 1.5
LOG_PAGES_MAX = 64


class OutletWatch(DeviceController):
    """The half of an outlet's controller that looks; `OutletController` adds the half that is told."""

    def __init__(
        self,
        device_id: str,
        port: OutletPort,
        surroundings: Surroundings,
        memory: DeviceMemory,
        sessions: list[SessionMemory],
        *,
        period_s: float,
        meter_period_s: int,
        sample_period_s: float = SAMPLE_PERIOD_S,
        hot_period_s: float = HOT_PERIOD_S,
        idle_period_s: float = IDLE_STATUS_PERIOD_S,
        is_slow: bool = False,
    ) -> None:
        super().__init__(device_id, port, surroundings, memory, period_s)
        self._outlet = port
        self._hot_period_s, self._idle_period_s = hot_period_s, idle_period_s
        #: whether an open outlet's flags come with its status alone, because the line has no time for both
        self._is_slow = is_slow
        self._meter_period_s, self._sample_period_s = meter_period_s, sample_period_s
        #: sessions that are not over, by the id the device knows; more than one only after trouble
        self.sessions = {session.session_u32: session for session in sessions}
        self._status: OutletStatus | None = None
        #: the status that this cycle's flags were taken from
        self._seen: OutletStatus | None = None
        self._idle = asyncio.Event()
        if not sessions:
            self._idle.set()
        self._looked_at = self._sampled_at = self._renewed_at = self._close_sent_at = self._metered_at = -1e9
        #: by our own monotonic clock, when the running session began; a device's clock may hang
        self._begun_at = -1e9
        self._closed_since: float | None = None
        self._heads, self._registers = Twice(), Twice()
        self._fresh = True
        #: whether one of several units that make this outlet did not answer when last asked
        self._is_part_gone = False

    def is_serving(self) -> bool:
        """Return whether a session is open here."""
        return bool(self.sessions)

    def period_s(self) -> float:
        """Return how long to wait until the next cycle: not long while an end is near."""
        if any(session.state == State.CLOSING for session in self.sessions.values()) or self._closed_since is not None:
            return FAST_SLOW_PERIOD_S if self._is_slow else FAST_PERIOD_S
        return self._hot_period_s if self._is_slow and self.sessions else self._period_s

    # -- coming up

    async def connect(self) -> None:
        """
        Drain the log, settle what was left, and read the meter.

        The first time, whatever is open is closed, granted or not: after a restart water does not go on. A device that
        was merely silent for a while goes on with a session that is still ours.
        """
        self._is_part_gone = False  # it has just said who it is
        if self._fresh:
            await self._restarted()
        if self.memory.log_sequence == 0 and self.identity is not None:
            self.memory = msgspec.structs.replace(self.memory, log_sequence=self.identity.log_ack)
        known = self.memory
        status = await self._read_status(Priority.HOT)
        if status.is_open and (self._fresh or status.session_u32 not in self.sessions):
            await self._outlet.close(status.session_u32, "REMOTE")
        with contextlib.suppress(NoRoom):  # the log is drained and the meter read again when there is room
            await self._drain()
            # a line that comes and goes says nothing new about the register
            moved = (known.boot_id, known.register_pulses) != (status.boot_id, status.total_pulses)
            if self._fresh or moved:
                await self._meter(status, "boot")
        self._fresh = False

    async def _restarted(self) -> None:
        """Mark every session still open as to be closed: after an interruption water does not go on."""
        for session in list(self.sessions.values()):
            if session.asked_stop is None:
                await self._ask_stop(session, StopReason.GATEWAY_RESTART)

    async def make_safe(self) -> None:
        """Close whatever this controller opened, after a bug: nobody looks after it for a while."""
        async with self._lock:
            for session in list(self.sessions.values()):
                await self._ask_stop(session, StopReason.FAULT)
                with contextlib.suppress(*DEVICE_ERRORS):
                    await self._send_close(self.sessions[session.session_u32])

    async def set_device_faults(self, names: frozenset[str], evidence: str = "") -> None:
        """Take over the faults a device itself reports, and the one it may not know of: pulses that mean nothing."""
        if self.last_identity is not None and self._k_factor() <= 0:
            names |= {FaultCode.CAL_INVALID.name}
        await super().set_device_faults(names, evidence)

    # -- looking

    async def flags(self) -> Flags:
        """Return what the device shows at a glance; when its status is due, that is read and says it too."""
        self._seen = None
        if self.sessions and not self._closing() and self._now() - self._looked_at >= self._hot_period_s:
            async with self._lock:
                status = await self._read_status(Priority.HOT)
            self._seen = status
            flags = self._outlet.flags_of(status)
            if flags is not None:
                return flags
        return await super().flags()

    async def look(self, flags: Flags) -> None:
        """Drain, sample, renew, cut off, and keep closed what has no grant."""
        self._in.registry.set_valve(self.device_id, "valve_open" in flags)
        if "log_pending" in flags:
            with contextlib.suppress(NoRoom):  # water that runs is looked after all the same
                await self._drain()
        now = self._now()
        if self.sessions:
            ended_here = "valve_open" not in flags
            if self._seen is not None or ended_here or now - self._looked_at >= self._hot_period_s or self._closing():
                await self._look_at_session()
        elif "valve_open" in flags or now - self._looked_at >= self._idle_period_s or self._fault_changed(flags):
            status = await self._read_status(Priority.FLAGS)
            if status.is_open:
                log.error("open without a grant", extra={"device": self.device_id, "session": status.session_u32})
                await self._outlet.close(status.session_u32, "REMOTE")
            elif now - self._metered_at >= self._meter_period_s:
                await self._meter(status, "scheduled")

    def _fault_changed(self, flags: Flags) -> bool:
        return ("any_fault" in flags) != bool(self._status and self._status.faults)

    def _closing(self) -> bool:
        return any(session.state == State.CLOSING for session in self.sessions.values())

    async def _read_status(self, priority: Priority) -> OutletStatus:
        return await self._take_in(await self._outlet.status(priority))

    async def _take_in(self, status: OutletStatus) -> OutletStatus:
        self._status = status
        self._looked_at = self._now()
        health = self._in.registry.device(self.device_id)
        health.register_pulses, health.temperature_decidegc = status.total_pulses, status.temperature_decidegc
        self._note_parts(status)
        await self.set_device_faults(status.faults, status.evidence)
        rebooted = self.memory.boot_id not in (0, status.boot_id) and self.identity is not None
        if status.boot_id != self.memory.boot_id:
            with contextlib.suppress(NoRoom):
                await self.save([], boot_id=status.boot_id, register_pulses=status.total_pulses)
        if rebooted or "CLOCK_UNSET" in status.faults:  # without the time it opens nothing: it cannot tell what is late
            await self._set_clock()
        return status

    def _note_parts(self, status: OutletStatus) -> None:
        """One of several units that make an outlet: silent, it makes the outlet silent, and back, it says who it is."""
        is_gone = FaultCode.DEVICE_SILENT.name in status.faults
        if is_gone:
            self._in.registry.set_state(self.device_id, "silent", status.evidence)
        elif self._is_part_gone:
            self.identity = None
        self._is_part_gone = is_gone

    async def _look_at_session(self) -> None:
        is_fresh = self._seen is not None and self._seen is self._status  # nobody has looked since
        status = self._seen if is_fresh and self._seen is not None else await self._read_status(Priority.HOT)
        self._seen = None
        session = self.sessions.get(status.session_u32)
        if status.is_open:
            self._closed_since = None
            if session is None:
                await self._outlet.close(status.session_u32, "REMOTE")
            else:
                await self._run(session, status)
            return
        if status.state == "CLOSING" or status.valve == "CLOSING":
            return
        if status.log_head != self.memory.log_sequence:
            await self._drain()
        if not self.sessions:
            self._closed_since = None
        elif self._closed_since is None:
            self._closed_since = self._now()
        elif self._now() - self._closed_since >= NO_RECORD_S:
            await self._settle_by_register(status)

    async def _run(self, session: SessionMemory, status: OutletStatus) -> None:
        """Go on with a session whose outlet is open."""
        k_factor = session.k_factor_pulses_per_m3
        if k_factor <= 0 and session.asked_stop is None:  # nobody can say how much has run
            await self._ask_stop(session, StopReason.FAULT)
            session = self.sessions[session.session_u32]
        volume = volume_ml(pulses=status.session_pulses, k_factor_pulses_per_m3=max(k_factor, 1))
        session = self._follow_flow(with_sight(session, status.total_pulses, self._in.clock()), status)
        self._sample(session, status)
        if session.state == State.CLOSING:
            if self._now() - self._close_sent_at >= CLOSE_RETRY_S:
                await self._send_close(session)
            return
        reason = cutoff(
            volume_ml=volume,
            elapsed_s=max(status.session_elapsed_s, int(self._now() - self._begun_at)),
            volume_limit_ml=session.volume_limit_ml,
            duration_limit_s=session.duration_limit_s,
        )
        if reason is not None:
            log.error("device ran beyond its limit", extra={"device": self.device_id, "reason": reason.value})
            await self._ask_stop(session, reason)
            await self._send_close(self.sessions[session.session_u32])
        elif renewal_due(since_renewal_s=self._now() - self._renewed_at, lease_s=session.lease_s) and grant_lives(
            elapsed_s=status.session_elapsed_s,
            volume_ml=volume,
            volume_limit_ml=session.volume_limit_ml,
            duration_limit_s=session.duration_limit_s,
        ):
            result = await self._outlet.renew(opening_of(session, not_after_s=0))
            if result.accepted:
                self._renewed_at = self._now()
                with contextlib.suppress(NoRoom):  # what has certainly run: it is billed if all else is lost
                    await self._in.store.write(lambda tx: tx.memory.save_session(session))
            else:
                log.warning("lease not renewed", extra={"device": self.device_id, "reason": result.code})

    def _follow_flow(self, session: SessionMemory, status: OutletStatus) -> SessionMemory:
        flows = status.state != "PAUSED" and status.flow_ml_per_min > 0
        if session.state == State.FLOWING and not flows:
            session = msgspec.structs.replace(session, state=step(State(session.state), Happening.FLOW_STOPPED))
        elif session.state == State.PAUSED and flows:
            session = msgspec.structs.replace(session, state=step(State(session.state), Happening.FLOW_RESUMED))
        self.sessions[session.session_u32] = session
        return session

    def _sample(self, session: SessionMemory, status: OutletStatus | Glimpse) -> None:
        now = self._now()
        if now - self._sampled_at < self._sample_period_s:
            return
        self._sampled_at = now
        self._in.uplink.sample(
            sample_of(session, status, at_ms=self._in.clock(), is_paused=session.state == State.PAUSED)
        )

    # -- meter and log

    async def _meter(self, status: OutletStatus, cause: str) -> None:
        if self.sessions or status.is_open or self._k_factor() <= 0 or self._is_part_gone:
            return
        if await self._in.store.read(lambda tx: tx.journal.is_half_full()):
            self._metered_at = self._now()  # what can be read again later must not crowd out endings
            return
        is_lower = status.total_pulses < (self.memory.register_pulses or 0)
        if not self._registers.believes(status.total_pulses, is_surprise=is_lower):
            return
        self._metered_at = self._now()
        reading = MeterRead(
            event_id=new_id("ev"),
            at_ms=self._in.clock(),
            device=self.device_id,
            register_pulses=status.total_pulses,
            k_factor_pulses_per_m3=self._k_factor(),
            device_boot_id=status.boot_id,
            cause=cause,
        )
        await self.save([reading], register_pulses=status.total_pulses)

    def _k_factor(self) -> int:
        assert self.last_identity is not None
        return self.last_identity.k_factor_pulses_per_m3

    async def _drain(self) -> None:
        """Journal what the device's log says, then let the device forget it."""
        for _ in range(LOG_PAGES_MAX):
            page = await self._outlet.log_page(self.memory.log_sequence + 1)
            is_gone = page.head < self.memory.log_sequence
            if not self._heads.believes(page.head, is_surprise=is_gone):
                return  # the next look asks once more
            if is_gone:
                log.error("device log was reset", extra={"device": self.device_id, "head": page.head})
                await self.save([], log_sequence=0)
                continue
            if page.through <= self.memory.log_sequence:
                break
            if page.damaged:
                log.error("damaged log records", extra={"device": self.device_id, "count": page.damaged})
            fresh = [record for record in page.records if record.sequence > self.memory.log_sequence]
            settled = settle(
                fresh,
                self.sessions,
                device_id=self.device_id,
                k_factor_pulses_per_m3=self._k_factor(),
                now_ms=self._in.clock(),
                new_event_id=lambda: new_id("ev"),
            )
            await self._keep(settled, log_sequence=page.through)
            if page.through >= page.head:
                break
        if self.memory.log_sequence:
            await self._outlet.acknowledge_log(self.memory.log_sequence)

    async def _keep(self, settled: Settled, *, log_sequence: int) -> None:
        register = self.memory.register_pulses if settled.register_pulses is None else settled.register_pulses

        def work(tx: Transaction) -> None:
            for event in settled.events:
                tx.journal.append(event)
            for ended in settled.ended:
                tx.memory.forget_session(ended)
            for session in settled.sessions.values():
                tx.memory.save_session(session)

        await self.change(work, log_sequence=log_sequence, register_pulses=register)
        self.sessions = settled.sessions
        for ended in settled.ended:
            self._in.trace.point("ended", device=self.device_id, water_session_id=ended)
        if settled.rebooted:
            await self._set_clock()
        self._note_sessions()

    def _note_sessions(self) -> None:
        if not self.sessions:
            self._closed_since = None
            self._idle.set()
            self._metered_at = self._now()

    async def _settle_by_register(self, status: OutletStatus) -> None:
        """End sessions whose END record does not exist, from the register."""
        events = end_by_register(
            self.sessions.values(),
            status,
            device_id=self.device_id,
            k_factor_pulses_per_m3=self._k_factor(),
            now_ms=self._in.clock(),
            new_event_id=lambda: new_id("ev"),
        )
        settled = Settled(
            events=events,
            ended=[session.water_session_id for session in self.sessions.values()],
            register_pulses=status.total_pulses,
        )
        log.warning("settled from the register", extra={"device": self.device_id, "sessions": settled.ended})
        await self._keep(settled, log_sequence=self.memory.log_sequence)

    # -- closing and renewing

    async def _ask_stop(self, session: SessionMemory, reason: StopReason) -> None:
        closing = asked_to_close(session, reason)
        self.sessions[closing.session_u32] = closing
        with contextlib.suppress(NoRoom):  # known here, and after a restart it is closed anyway
            await self._in.store.write(lambda tx: tx.memory.save_session(closing))
        self.nudge()

    async def _send_close(self, session: SessionMemory) -> None:
        self._close_sent_at = self._now()
        word = word_for_device(asked_reason(session.asked_stop or ""))
        result = await self._outlet.close(session.session_u32, word)
        self._in.trace.point("close_frame_written", device=self.device_id, water_session_id=session.water_session_id)
        if not result.accepted:
            log.info("closing answered", extra={"device": self.device_id, "code": result.code})
