"""
Keeps sessions for devices that keep none themselves.

Where a device of our own keeps limits, a lease and a log, this does it for the device: it closes at the volume, time,
idle and temperature limits and when nobody renews, and writes down how each session began and ended. The device's own
dead-man is for when this process is gone. What is written down lives as long as the process; a session that was open
then is settled from the register.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.devices.believed import BelievedRegister
from gateway.devices.instrument import UNKNOWN, Instruments, Seen
from gateway.devices.kept_log import KeptLog
from gateway.devices.ports import CannotSay, CommandResult, Flags, Identity, LogPage, Mail, Opening, OutletStatus
from gateway.devices.stillness import Stillness
from gateway.devices.valves import DONE
from gateway.modbus.bus import BusError, NoAnswer, NotTried, Priority
from hardware.model import Point

#: how long a valve may take to show that it opened, before the session counts as over
OPENING_MS_MAX = 3_000
#: water counts as running for this long after the meter last moved
FLOWING_MS = 2_000
#: water does not run for longer while a part of its outlet cannot be read
BLIND_MS = 3_000
#: a valve that does not answer is told to close this often
CLOSE_RETRY_MS = 2_000
#: and after this long the session is over for whoever pays
DEAF_MS = 5_000

#: how often a register that surprises is read before an opening
REGISTER_TRIES = 3

NO_ANSWER = CommandResult(code="NO_ANSWER", detail=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    opening: Opening
    total_at_start: int
    began_at_ms: int
    #: the register when last seen, and what had run by then
    total_seen: int
    pulses: int = 0
    moved_at_ms: int = 0
    #: when the controller last said that the grant lives; a lease that is kept for the device
    renewed_at_ms: int = 0
    #: whether the valve has been seen open: until then a closed one has not closed by itself
    opened: bool = False
    #: why it is being closed; the device closed by itself when it is empty
    closing: str = ""
    closing_at_ms: int = 0
    #: what had run when it was first told to close
    closing_pulses: int = 0

    def told_to_close(self, reason: str, now_ms: int) -> "_Session":
        """Return the session as it is once it has been told to close; the first reason stands."""
        if self.closing:
            return self
        return replace(self, closing=reason, closing_at_ms=now_ms, closing_pulses=self.pulses)


class SessionKeeper:
    """An outlet made of what can be read and switched; one unit, or several whose `stillness` is watched too."""

    def __init__(
        self,
        instruments: Instruments,
        *,
        clock: Callable[[], int],
        first_sequence: int = 1,
        stillness: Stillness | None = None,
    ) -> None:
        """`clock` gives milliseconds since 1970; `first_sequence` numbers the first record, above all earlier ones."""
        self._instruments, self._clock, self._stillness = instruments, clock, stillness
        self._valve, self._meter = instruments.valve, instruments.meter
        self._session: _Session | None = None
        #: a reading and what it leads to belong together: two tasks ask, and an older reading must not come second
        self._reading = asyncio.Lock()
        self._k_factor = 0
        self._log = KeptLog(clock, first_sequence)
        self._register = BelievedRegister(instruments.meter)
        #: whether the meter was missing when last asked: what it has counted since, nobody can judge
        self._is_blind = False
        self._is_deaf = False
        self._close_tried_at_ms = 0
        self.deadman = self._valve.deadman

    @property
    def refusal(self) -> str:
        """Why it opens for nobody; empty when it may."""
        return self._valve.refusal

    async def identify(self) -> Identity:
        """
        Return who answers, and set up what keeps its valve safe.

        :raises DeviceMismatch: if it is not the device the map describes.
        """
        found = await self._instruments.identify()
        self._k_factor = found.k_factor_pulses_per_m3
        if self._stillness is not None:
            self._stillness.met(found.serial, self._clock())
        return replace(found, log_ack=self._log.acked)

    # -- what it shows

    async def _look(self, priority: Priority, *, with_meter: bool) -> Seen:
        """Look, and act on it: a limit passed closes the valve, a valve that closed ends the session."""
        async with self._reading:
            seen = await self._instruments.look(priority, with_meter=with_meter)
            self._is_deaf = seen.valve == UNKNOWN
            before = self._register.last
            if seen.total is not None:
                now, k_factor = self._clock(), self._k_factor
                believed = self._register.take(seen.total, now, k_factor_pulses_per_m3=k_factor)
                seen = replace(seen, total=believed)
            if with_meter and self._session is not None:
                await self._follow(self._session, seen)
            elif seen.total is not None:
                self._stand_by(seen, before, seen.total)
            if with_meter:
                self._is_blind = seen.total is None
        return seen

    async def _shut(self, seen: Seen) -> None:
        """Close a valve that is open for nobody."""
        if self._session is None and seen.valve not in ("CLOSED", UNKNOWN):
            await self._close_valve()

    def _stand_by(self, seen: Seen, before: int | None, total: int) -> None:
        """Note the register between sessions, and water that nobody ordered."""
        if self._stillness is not None:
            moved = self._meter.advance(before, total) if before is not None else 0
            self._stillness.saw(before, total, moved, self._clock())
            if moved and self._is_blind:
                self._record_flow(total)
            elif seen.valve in ("CLOSED", UNKNOWN):
                self._note_leak(seen.valve, moved, total)

    def _note_leak(self, valve: str, moved: int, total: int) -> None:
        if self._stillness is not None and self._stillness.leaked(self._volume_ml(moved), valve, self._clock()):
            self._record_flow(total)

    def _record_flow(self, total: int) -> None:
        """Write down that water ran which is nobody's bill."""
        self._log.write("UNBILLED_FLOW", "0", subject_u32=0, session_pulses=0, total=total, temperature=None)

    def _faults(self, seen: Seen) -> frozenset[str]:
        return seen.faults | (self._stillness.faults(self._clock()) if self._stillness is not None else frozenset())

    def _is_open(self, seen: Seen) -> bool:
        """Return whether water may run; of a valve that does not answer only a session says that it may."""
        return seen.valve != "CLOSED" and (seen.valve != UNKNOWN or self._session is not None)

    async def flags(self) -> Flags:
        """Return the flags, made from the points that have something to say."""
        names = set()
        # between sessions the meter is not asked, unless it is all there is
        seen = await self._look(Priority.FLAGS, with_meter=self._session is not None or not self._instruments.has_more)
        if self._log.is_pending:
            names.add("log_pending")
        if self._is_open(seen):
            names.add("valve_open")
        if self._faults(seen):
            names.add("any_fault")
        if seen.has_new_card:
            names.add("mbx_pending")
        return Flags(names=frozenset(names))

    async def status(self, priority: Priority) -> OutletStatus:
        """Return what the device shows now, beside what is known of the session that runs."""
        seen = await self._look(priority, with_meter=True)
        session, last = self._session, self._log.last
        total = session.total_at_start + session.pulses if session else seen.total
        if total is None:
            total = self._register.last
        if total is None:
            await self._shut(seen)
            raise NoAnswer(seen.evidence)  # nobody knows what it has counted
        is_open, flow = self._is_open(seen), seen.flow_ml_per_min
        moved = session is not None and session.pulses > 0 and self._clock() - session.moved_at_ms < FLOWING_MS
        still = self._stillness
        return OutletStatus(
            state="DISPENSING" if is_open else "IDLE" if seen.valve == "CLOSED" else seen.valve,
            close_reason=last.label if last is not None and last.kind == "END" else "NONE",
            faults=self._faults(seen),
            session_u32=session.opening.session_u32 if session else last.subject_u32 if last else 0,
            session_pulses=session.pulses if session else last.session_pulses if last else 0,
            session_elapsed_s=(self._clock() - session.began_at_ms) // 1_000 if session else 0,
            flow_ml_per_min=flow if flow is not None else int(moved),
            temperature_decidegc=seen.temperature_decidegc,
            total_pulses=total,
            lease_left_ms=0,
            log_head=self._log.head,
            boot_id=0,
            valve=seen.valve,
            evidence="; ".join(filter(None, [seen.evidence, still.evidence(self._clock()) if still else ""])),
            refusal=seen.evidence or (still.refusal(self._clock()) if still else ""),
        )

    def flags_of(self, status: OutletStatus) -> Flags | None:
        """Nothing: a status says nothing of cards."""
        return None

    # -- sessions

    async def open(self, opening: Opening) -> CommandResult:
        """Open for a session, as the dead-man class demands."""
        now = self._clock()
        if opening.not_after_s and now // 1_000 > opening.not_after_s:
            return CommandResult(code="EXPIRED", detail=0)
        if self._session is not None:
            return CommandResult(code="BUSY", detail=0)
        async with self._reading:
            total = await self._opening_register()
            session = _Session(
                opening=opening,
                total_at_start=total,
                began_at_ms=now,
                total_seen=total,
                moved_at_ms=now,
                renewed_at_ms=now,
            )
            self._session = session
        try:
            result = await self._valve.open(opening)
        except (CannotSay, NotTried):
            self._session = None
            raise
        if result.accepted:
            self._record("START", "0", total, None, session)
        else:
            self._session = None
        return result

    async def _opening_register(self) -> int:
        """
        Return the register to begin with, read again where it surprises.

        :raises CannotSay: if it says something else each time.
        """
        for _ in range(REGISTER_TRIES):
            total = await self._instruments.register(Priority.OPEN)
            if total == self._register.take(total, self._clock(), k_factor_pulses_per_m3=self._k_factor):
                return total
        raise CannotSay(f"its register says something else each time, at last {total}")

    async def renew(self, opening: Opening) -> CommandResult:
        """Keep it open for another while; the limits stay what they are."""
        if self._session is None or self._session.closing:
            return CommandResult(code="BAD_STATE", detail=0)
        if self._is_deaf:
            return NO_ANSWER  # once it answers
        try:
            result = await self._valve.renew(opening)
        except BusError:
            if self._stillness is None:
                raise
            return NO_ANSWER  # one of several: the others go on being read
        if self._session is not None and result.accepted:
            self._session = replace(self._session, renewed_at_ms=self._clock())
        elif self._session is not None:
            self._session = self._session.told_to_close("FAULT", self._clock())
        return result

    async def close(self, session_u32: int, reason: str) -> CommandResult:
        """Close, whoever opened it; the session ends when the device shows that it is closed."""
        if self._session is not None:
            self._session = self._session.told_to_close(reason, self._clock())
        is_told = await self._close_valve()
        await self._look(Priority.CLOSE, with_meter=True)
        return DONE if is_told else NO_ANSWER

    async def _close_valve(self) -> bool:
        """Tell the valve to close; return whether it said that it would."""
        now = self._clock()
        if self._is_deaf and abs(now - self._close_tried_at_ms) < CLOSE_RETRY_MS:
            return False
        self._close_tried_at_ms = now
        try:
            await self._valve.close()
        except BusError:
            if self._stillness is None:
                raise
            return False  # one of several: the others go on being read
        return True

    async def _follow(self, session: _Session, seen: Seen) -> None:
        now = self._clock()
        if seen.total is not None:
            moved = self._meter.advance(session.total_seen, seen.total)
            if self._stillness is not None:
                self._stillness.saw(session.total_seen, seen.total, moved, now)
            session = replace(
                session,
                total_seen=seen.total,
                pulses=session.pulses + moved,
                moved_at_ms=now if moved else session.moved_at_ms,
            )
        is_closed = seen.valve == "CLOSED"
        session = replace(session, opened=session.opened or seen.valve not in ("CLOSED", UNKNOWN))
        self._session = session
        temperature = seen.temperature_decidegc
        if is_closed:
            if session.opened or session.closing or now - session.began_at_ms >= OPENING_MS_MAX:
                self._ended(session, temperature)
            return
        reason = session.closing or self._limit_passed(session, seen, now)
        if not reason:
            return
        session = self._session = session.told_to_close(reason, now)
        if seen.valve == UNKNOWN and abs(now - session.closing_at_ms) >= DEAF_MS:
            self._ended_unheard(session, temperature)
        else:
            await self._close_valve()

    def _volume_ml(self, pulses: int) -> int:
        return pulses * 1_000_000 // max(1, self._k_factor)

    def _limit_passed(self, session: _Session, seen: Seen, now_ms: int) -> str:
        """Return which limit of its own the session has reached."""
        opening = session.opening
        if seen.blind_ms >= BLIND_MS:
            return "FAULT"
        if self._volume_ml(session.pulses) >= self._valve.limit_ml(opening):
            return "VOLUME_LIMIT"
        if now_ms - session.began_at_ms >= 1_000 * opening.duration_limit_s:
            return "TIME_LIMIT"
        if opening.idle_limit_s and now_ms - session.moved_at_ms >= 1_000 * opening.idle_limit_s:
            return "NO_FLOW"
        if now_ms - session.renewed_at_ms >= 1_000 * opening.lease_s:
            return "LEASE"
        limit, temperature = opening.temperature_limit_decidegc, seen.temperature_decidegc
        return "SCALD" if limit and temperature is not None and temperature > limit else ""

    def _ended(self, session: _Session, temperature: int | None) -> None:
        """Write down the end. A device that closed unasked did so at its credit, or because its dead-man ran out."""
        by_itself = {"one_shot": "LEASE", "poll_watchdog": "COMM_WATCHDOG", "device_credit": "FAULT"}
        full = self._volume_ml(session.pulses) >= self._valve.limit_ml(session.opening) - self._step_ml()
        reason = session.closing or ("VOLUME_LIMIT" if full else by_itself.get(self.deadman, "FAULT"))
        self._session = None
        self._record("END", reason, session.total_at_start + session.pulses, temperature, session)

    def _ended_unheard(self, session: _Session, temperature: int | None) -> None:
        """Write down the end of a session whose valve cannot be closed: what has run since then nobody ordered."""
        self._session = None
        told = replace(session, pulses=session.closing_pulses)
        self._record("END", session.closing, session.total_at_start + told.pulses, temperature, told)
        self._note_leak(UNKNOWN, session.pulses - told.pulses, session.total_seen)

    def _step_ml(self) -> int:
        """Return the smallest volume the meter shows, by which it may be behind the credit."""
        point: Point | None = self._meter.volume or self._meter.pulses
        if point is None or self._k_factor <= 0:
            return 0
        return max(1, -(-1_000_000 // self._k_factor))

    # -- the log it does not have

    def _record(self, kind: str, label: str, total: int, temperature: int | None, session: _Session) -> None:
        self._log.write(
            kind,
            label,
            subject_u32=session.opening.session_u32,
            session_pulses=session.pulses,
            total=total,
            temperature=temperature,
        )

    async def log_page(self, cursor: int) -> LogPage:
        """Return what was written down from a sequence on."""
        return self._log.page(cursor)

    async def acknowledge_log(self, through: int) -> None:
        """Forget records up to and including a sequence, all but the last, which tells how it ended."""
        self._log.acknowledge(through)

    # -- readers

    async def mail(self, flags: Flags) -> Mail | None:
        """Return the card a reader sees, if the flags say there is a new one."""
        return await self._instruments.cards.mail() if "mbx_pending" in flags else None

    async def acknowledge_mail(self, mail: Mail) -> None:
        """Let the reader forget a card."""
        await self._instruments.cards.acknowledge(mail)

    # -- what only some have

    async def set_clock(self, now_ms: int) -> None:
        """Set the device's clock, where its map says how."""
        await self._instruments.set_clock(now_ms)

    async def display(self, text: str, seconds: int) -> None:
        """Nothing: no map has a display yet."""
