"""
An outlet, meter or reader that is known by its map alone.

Where a device of our own keeps limits, a lease, a log and a mailbox, this driver does it for the device: it closes at
the volume, time, idle and temperature limits and when nobody renews, writes down how each session began and ended, and
tells new cards from old ones. The device's own dead-man is for when this driver is gone. What is written down lives as
long as the process; a session that was open then is settled from the register.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from gateway.devices.cards import CardReader
from gateway.devices.meter import Meter
from gateway.devices.ports import (
    CannotSay,
    CommandResult,
    DeviceMismatch,
    Flags,
    Identity,
    LogPage,
    LogRecord,
    Mail,
    Opening,
    OutletStatus,
)
from gateway.devices.valves import DONE, valve_of
from gateway.modbus import functions
from gateway.modbus.access import PointAccess, firmware_number
from gateway.modbus.bus import Bus, Declined, NotTried, Priority
from gateway.modbus.codec import CodecError, Value
from hardware.model import Point, RegisterMap

PAGE_RECORDS = 6
LOG_RECORDS_MAX = 256
#: how long a valve may take to show that it opened, before the session counts as over
OPENING_MS_MAX = 3_000
#: water counts as running for this long after the meter last moved
FLOWING_MS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    opening: Opening
    total_at_start: int
    began_at_ms: int
    #: the register when last seen, and what had run by then
    total_seen: int
    pulses: int = 0
    moved_at_ms: int = 0
    #: when the controller last said that the grant lives; a lease that this driver keeps for the device
    renewed_at_ms: int = 0
    #: whether the valve has been seen open: until then a closed one has not closed by itself
    opened: bool = False
    #: why it is being closed; the device closed by itself when it is empty
    closing: str = ""


class MappedOutlet:
    """One unit on a bus."""

    def __init__(
        self, bus: Bus, unit: int, register_map: RegisterMap, *, clock: Callable[[], int], first_sequence: int = 1
    ) -> None:
        """`clock` gives milliseconds since 1970; `first_sequence` numbers the first record, above all earlier ones."""
        self._bus, self._unit, self._map, self._clock = bus, unit, register_map, clock
        self.access = PointAccess(bus, unit, register_map)
        self._valve = valve_of(self.access, register_map)
        self._meter = Meter(register_map)
        self._session: _Session | None = None
        #: a reading and what it leads to belong together: two tasks ask, and an older reading must not come second
        self._reading = asyncio.Lock()
        self._k_factor = 0
        self._head = self._acked = first_sequence - 1
        self._log: list[LogRecord] = []
        self._cards = CardReader(self.access, register_map)
        self.deadman = self._valve.deadman

    @property
    def refusal(self) -> str:
        """Why it opens for nobody; empty when it may."""
        return self._valve.refusal

    def _name(self, role: str) -> str | None:
        point = self._map.by_role(role)
        return point.name if point is not None and point.readable and self.access.known(point.name) else None

    # -- who answers

    async def identify(self) -> Identity:
        """
        Return who answers, and set up what keeps its valve safe.

        :raises DeviceMismatch: if it is not the device the map describes.
        """
        await self._check_match()
        firmware = await self._said("firmware")
        self.access.firmware = firmware_number(firmware)
        serial = await self._said("serial")
        name = self._meter.k_factor_name
        said = await self.access.read_one(name, Priority.SLOW) if name is not None else None
        self._k_factor = self._meter.k_factor_pulses_per_m3(said)
        await self._valve.prepare()
        return Identity(
            model=self._map.title,
            serial=serial,
            firmware=firmware,
            k_factor_pulses_per_m3=self._k_factor,
            log_ack=self._acked,
        )

    async def _check_match(self) -> None:
        match = self._map.match
        if match is None:
            return
        try:
            words = await functions.read(
                self._bus, self._unit, match.table, match.address, len(match.words), Priority.SLOW
            )
        except Declined as error:
            raise DeviceMismatch(f"has no identity of a {self._map.map_id}: {error}", unknown=True) from error
        if tuple(words) != match.words:
            seen = " ".join(f"{word:04X}" for word in words)
            raise DeviceMismatch(f"identity is {seen}, not that of {self._map.map_id}", unknown=True)

    async def _said(self, role: str) -> str:
        name = self._name(role)
        if name is None:
            return ""
        value = await self.access.read_one(name, Priority.SLOW)
        if isinstance(value, Fraction):
            return str(Decimal(value.numerator) / Decimal(value.denominator))
        return value.hex().upper() if isinstance(value, bytes) else str(value)

    # -- what it shows

    async def flags(self) -> Flags:
        """Return the flags, made from the points that have something to say."""
        names = {"log_pending"} if self._head > self._acked else set()
        values = await self._values(Priority.FLAGS, with_meter=self._session is not None or not self._quick())
        if self._valve_shows(values) != "CLOSED":
            names.add("valve_open")
        if self._faults(values):
            names.add("any_fault")
        if self._cards.shows_new(values):
            names.add("mbx_pending")
        return Flags(names=frozenset(names))

    def _quick(self) -> list[str]:
        """Return the points that tell of a valve, a fault or a card."""
        state = self._valve.state
        names = [state.name if state is not None else None, self._name("faults"), self._cards.watched]
        return [name for name in names if name is not None]

    def _metered(self) -> list[str]:
        return [name for name in self._meter.names if self.access.known(name)]

    async def _values(self, priority: Priority, *, with_meter: bool) -> dict[str, Value]:
        """Read what is needed, and act on it: a limit passed closes the valve, a valve that closed ends the session."""
        names = self._quick() + (self._metered() if with_meter else [])
        async with self._reading:
            values = await self.access.read(names, priority)
            if with_meter and self._session is not None:
                await self._follow(self._session, values)
        return values

    def _valve_shows(self, values: dict[str, Value]) -> str:
        state = self._valve.state
        if state is None:
            return "CLOSED"
        value = values[state.name]
        if isinstance(value, str | bytes) or value is None:
            raise CodecError(f"{state.name} is {value!r}, which is no place of a valve")
        return self._valve.shows(value)

    def _faults(self, values: dict[str, Value]) -> frozenset[str]:
        point = self._map.by_role("faults")
        value = values.get(point.name) if point is not None else None
        if point is None or not isinstance(value, int):
            return frozenset()
        if point.bits is None:
            return frozenset({"FLOW_SENSOR"}) if value else frozenset()
        return frozenset(name for bit, name in enumerate(self._map.bits[point.bits]) if value >> bit & 1)

    async def status(self, priority: Priority) -> OutletStatus:
        """Return what the device shows now, beside what is known of the session that runs."""
        values = await self._values(priority, with_meter=True)
        valve, session, total = self._valve_shows(values), self._session, self._meter.total(values)
        last = self._log[-1] if self._log else None
        is_open = valve != "CLOSED"
        flow = self._meter.flow_ml_per_min(values)
        moved = session is not None and session.pulses > 0 and self._clock() - session.moved_at_ms < FLOWING_MS
        return OutletStatus(
            state="DISPENSING" if is_open else "IDLE",
            close_reason=last.label if last is not None and last.kind == "END" else "NONE",
            faults=self._faults(values),
            session_u32=session.opening.session_u32 if session else last.subject_u32 if last else 0,
            session_pulses=session.pulses if session else last.session_pulses if last else 0,
            session_elapsed_s=(self._clock() - session.began_at_ms) // 1_000 if session else 0,
            flow_ml_per_min=flow if flow is not None else int(moved),
            temperature_decidegc=self._meter.temperature_decidegc(values),
            total_pulses=session.total_at_start + session.pulses if session else total,
            lease_left_ms=0,
            log_head=self._head,
            boot_id=0,
            valve=valve,
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
            total = self._meter.total(await self.access.read(self._metered(), Priority.OPEN))
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

    async def renew(self, opening: Opening) -> CommandResult:
        """Keep it open for another while; the limits stay what they are."""
        if self._session is None or self._session.closing:
            return CommandResult(code="BAD_STATE", detail=0)
        result = await self._valve.renew(opening)
        if self._session is not None:
            changes = {"renewed_at_ms": self._clock()} if result.accepted else {"closing": "FAULT"}
            self._session = replace(self._session, **changes)
        return result

    async def close(self, session_u32: int, reason: str) -> CommandResult:
        """Close, whoever opened it; the session ends when the device shows that it is closed."""
        if self._session is not None and not self._session.closing:
            self._session = replace(self._session, closing=reason)
        await self._valve.close()
        await self._values(Priority.CLOSE, with_meter=True)
        return DONE

    async def _follow(self, session: _Session, values: dict[str, Value]) -> None:
        now, total = self._clock(), self._meter.total(values)
        moved = self._meter.advance(session.total_seen, total)
        is_closed = self._valve_shows(values) == "CLOSED"
        session = replace(
            session,
            total_seen=total,
            pulses=session.pulses + moved,
            moved_at_ms=now if moved else session.moved_at_ms,
            opened=session.opened or not is_closed,
        )
        self._session = session
        temperature = self._meter.temperature_decidegc(values)
        if is_closed:
            if session.opened or session.closing or now - session.began_at_ms >= OPENING_MS_MAX:
                self._ended(session, temperature)
            return
        reason = session.closing or self._limit_passed(session, temperature, now)
        if reason:
            self._session = replace(session, closing=reason)
            await self._valve.close()

    def _volume_ml(self, session: _Session) -> int:
        return session.pulses * 1_000_000 // max(1, self._k_factor)

    def _limit_passed(self, session: _Session, temperature: int | None, now_ms: int) -> str:
        """Return which limit of its own the session has reached."""
        opening = session.opening
        if self._volume_ml(session) >= self._valve.limit_ml(opening):
            return "VOLUME_LIMIT"
        if now_ms - session.began_at_ms >= 1_000 * opening.duration_limit_s:
            return "TIME_LIMIT"
        if opening.idle_limit_s and now_ms - session.moved_at_ms >= 1_000 * opening.idle_limit_s:
            return "NO_FLOW"
        if now_ms - session.renewed_at_ms >= 1_000 * opening.lease_s:
            return "LEASE"
        limit = opening.temperature_limit_decidegc
        return "SCALD" if limit and temperature is not None and temperature > limit else ""

    def _ended(self, session: _Session, temperature: int | None) -> None:
        """Write down the end. A device that closed unasked did so at its credit, or because its dead-man ran out."""
        by_itself = {"one_shot": "LEASE", "poll_watchdog": "COMM_WATCHDOG", "device_credit": "FAULT"}
        full = self._volume_ml(session) >= self._valve.limit_ml(session.opening) - self._step_ml()
        reason = session.closing or ("VOLUME_LIMIT" if full else by_itself.get(self.deadman, "FAULT"))
        self._session = None
        self._record("END", reason, session.total_at_start + session.pulses, temperature, session)

    def _step_ml(self) -> int:
        """Return the smallest volume the meter shows, by which it may be behind the credit."""
        point: Point | None = self._meter.volume or self._meter.pulses
        if point is None or self._k_factor <= 0:
            return 0
        return max(1, -(-1_000_000 // self._k_factor))

    # -- the log it does not have

    def _record(self, kind: str, label: str, total: int, temperature: int | None, session: _Session) -> None:
        self._head += 1
        self._log.append(
            LogRecord(
                sequence=self._head,
                kind=kind,
                boot_id=0,
                time_ds=self._clock() // 100,
                subject_u32=session.opening.session_u32,
                session_pulses=session.pulses,
                total_pulses=total,
                label=label,
                temperature_decidegc=temperature,
                evidence="register_continuity",
            )
        )
        del self._log[:-LOG_RECORDS_MAX]

    async def log_page(self, cursor: int) -> LogPage:
        """Return what was written down from a sequence on."""
        records = tuple(record for record in self._log if record.sequence >= cursor)[:PAGE_RECORDS]
        return LogPage(head=self._head, records=records, damaged=0, through=records[-1].sequence if records else 0)

    async def acknowledge_log(self, through: int) -> None:
        """Forget records up to and including a sequence, all but the last, which tells how it ended."""
        self._acked = max(self._acked, min(through, self._head))
        self._log = [record for record in self._log[:-1] if record.sequence > self._acked] + self._log[-1:]

    # -- readers

    async def mail(self, flags: Flags) -> Mail | None:
        """Return the card a reader sees, if the flags say there is a new one."""
        return await self._cards.mail() if "mbx_pending" in flags else None

    async def acknowledge_mail(self, mail: Mail) -> None:
        """Let the reader forget a card."""
        await self._cards.acknowledge(mail)

    # -- what only some have

    async def set_clock(self, now_ms: int) -> None:
        """Set the device's clock, where its map says how."""
        point = self._map.by_role("clock")
        if point is not None and point.access != "r" and point.unit == "unix_s":
            await self.access.write(point.name, now_ms // 1_000, Priority.SLOW)

    async def display(self, text: str, seconds: int) -> None:
        """Nothing: no map has a display yet."""
