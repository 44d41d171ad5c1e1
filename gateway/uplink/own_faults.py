"""
The gateway's own faults, reported with an empty device: no room to write, a damaged file, a clock that is wrong, units
nobody told it about. Remembered like a device's, so that a restart neither repeats nor forgets one.
"""

import asyncio
import contextlib
import logging

import msgspec

from gateway.contract.events import Event, FaultCleared, FaultRaised
from gateway.contract.faults import FaultCode
from gateway.kit import Clock, new_id
from gateway.uplink.flapping import Holdback
from gateway.uplink.store import NoRoom, Store, Transaction
from gateway.uplink.verification import SKEW_MS_MAX

log = logging.getLogger(__name__)

OWN = ""
WATCH_PERIOD_S = 1.0
#: records that sessions running now may still need are kept free, and so is this share of the journal for clearing
SLACK_SHARE = 20
DETAIL_MAX = 200
#: our clock against the monotonic one may drift so far between two looks; more is a jump, and is told for so long
JUMP_MS_MIN = 60_000
JUMP_TOLD_S = 60.0
#: for so long it is told that damaged rows were set aside; `doctor` tells it for good
DAMAGE_TOLD_MS = 24 * 3600 * 1000


def is_crowded(*, waiting: int, rows_max: int, reserved: int, was_crowded: bool) -> bool:
    """Return whether the journal has no room for another session; once it is, until a twentieth of it is free again."""
    slack = rows_max // SLACK_SHARE if was_crowded else 0
    return waiting + reserved + slack >= rows_max


class OwnFaults:
    """Raises and clears the gateway's own faults. What is true is kept here even while the disk takes no event."""

    def __init__(self, store: Store, *, clock: Clock, rows_max: int, records_per_session: int) -> None:
        self._store, self._clock = store, clock
        self._rows_max, self._records_per_session = rows_max, records_per_session
        with store.transaction() as tx:
            self._memory = tx.memory.device(OWN)
        self._holdback = Holdback()
        self._lock = asyncio.Lock()
        self._crowded = FaultCode.JOURNAL_FULL.value in self._memory.faults
        #: how far ahead of us a command was issued, and our clock against the monotonic one at that moment
        self._skew: tuple[int, int] | None = None
        #: our clock against the monotonic one at the last look, and when it was last seen to jump
        self._offset_before_ms: int | None = None
        self._jumped_at_s: float | None = None
        #: how often our clock has jumped
        self.jumps = 0
        #: faults that are there, and what is known of them; of those raised before a restart nothing, at first
        self.present: dict[FaultCode, tuple[str, ...]] = {FaultCode(fault): () for fault in self._memory.faults}

    def has(self, fault: FaultCode) -> bool:
        """Return whether a fault is there."""
        return fault in self.present

    async def set(self, fault: FaultCode, *details: str) -> None:
        """Note that a fault is there, and what is known of it."""
        self.present[fault] = tuple(detail[:DETAIL_MAX] for detail in details)
        await self.settle()

    async def clear(self, fault: FaultCode) -> None:
        """Note that a fault is not there."""
        self.present.pop(fault, None)
        await self.settle()

    async def settle(self) -> None:
        """Journal what began and what ended; what the disk does not take is tried again at the next look."""
        async with self._lock:
            now = self._clock()
            before = frozenset(FaultCode(fault) for fault in self._memory.faults)
            shown = self._holdback.shown(self.present, before=before, now_ms=now)
            events: list[Event] = [
                FaultCleared(event_id=new_id("ev"), at_ms=now, fault=fault) for fault in sorted(before - shown)
            ]
            told = set() if FaultCode.DEVICE_UNKNOWN not in shown else set(self._memory.told)
            for fault in sorted(frozenset(self.present)):
                known = self.present[fault]
                # each stranger is worth a message of its own; of the others the first word is enough
                fresh = [detail for detail in known if fault is FaultCode.DEVICE_UNKNOWN and detail not in told]
                if fault not in before:
                    fresh = fresh or list(known[:1]) or [""]
                events += [
                    FaultRaised(event_id=new_id("ev"), at_ms=now, fault=fault, detail=detail) for detail in fresh
                ]
                if fault is FaultCode.DEVICE_UNKNOWN:
                    told.update(fresh)
            if not events:
                return
            faults = sorted(fault.value for fault in shown)
            memory = msgspec.structs.replace(self._memory, faults=faults, told=sorted(told))

            def work(tx: Transaction) -> None:
                for event in events:
                    tx.journal.append(event)
                tx.memory.save_device(memory)

            try:
                await self._store.write(work)
            except NoRoom:
                return
            self._memory = memory
            log.warning("own faults changed", extra={"faults": ", ".join(memory.faults) or "none"})

    # -- journal

    async def watch(self) -> None:
        """Look after room and clock until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(WATCH_PERIOD_S)

    async def look(self) -> None:
        """Write what waits for room, and say whether there is any."""
        with contextlib.suppress(NoRoom):
            await self._store.write_kept()
        since_ms = self._clock() - DAMAGE_TOLD_MS
        waiting, sessions, damaged = await self._store.read(
            lambda tx: (
                tx.journal.count_waiting(),
                len(tx.memory.sessions()),
                tx.memory.set_aside(since_ms=since_ms),
            )
        )
        self._crowded = is_crowded(
            waiting=waiting,
            rows_max=self._rows_max,
            reserved=self._records_per_session * (1 + sessions),
            was_crowded=self._crowded,
        )
        if self._store.is_full or not self._store.disk_has_room():
            await self.set(FaultCode.JOURNAL_FULL, "the disk has no room")
        elif self._crowded:
            await self.set(FaultCode.JOURNAL_FULL, f"{waiting} of {self._rows_max} records wait for the backend")
        else:
            await self.clear(FaultCode.JOURNAL_FULL)
        await self._tell_damage(damaged)
        await self._look_at_clock()

    async def _tell_damage(self, damaged: list[str]) -> None:
        if damaged:
            what = ", ".join(damaged)
            await self.set(
                FaultCode.STORE_DAMAGED, f"damaged rows of the journal's file set aside: {len(damaged)}: {what}"
            )
        elif self.has(FaultCode.STORE_DAMAGED):
            await self.clear(FaultCode.STORE_DAMAGED)

    # -- clock

    def _offset_ms(self) -> int:
        return self._clock() - int(asyncio.get_running_loop().time() * 1000)

    async def clock_behind(self, ahead_ms: int) -> None:
        """Note that a correctly signed command was issued this far in our future."""
        self._skew = (ahead_ms, self._offset_ms())
        await self.set(FaultCode.CLOCK_SKEW, f"a signed command was issued {ahead_ms} ms in our future")

    async def clock_fits(self) -> None:
        """Note that a correctly signed command came in its time."""
        if self.has(FaultCode.CLOCK_SKEW):
            self._skew = self._jumped_at_s = None
            await self.clear(FaultCode.CLOCK_SKEW)

    async def _look_at_clock(self) -> None:
        """
        Tell of a clock that jumped, for a while: whether it is right now the next command tells.

        A clock that was behind and has been set forward far enough is taken for one that fits.
        """
        offset_ms, before_ms = self._offset_ms(), self._offset_before_ms
        self._offset_before_ms = offset_ms
        jump_ms = 0 if before_ms is None else offset_ms - before_ms
        if self._skew is not None:
            ahead_ms, offset_then_ms = self._skew
            if offset_ms - offset_then_ms >= ahead_ms - SKEW_MS_MAX:
                await self.clock_fits()
        elif abs(jump_ms) >= JUMP_MS_MIN:
            self.jumps += 1
            self._jumped_at_s = asyncio.get_running_loop().time()
            log.error("our clock jumped", extra={"by_ms": jump_ms, "jumps": self.jumps})
            detail = f"our clock jumped by {jump_ms / 1000:+.0f} s, jump {self.jumps} since the start"
            await self.set(FaultCode.CLOCK_SKEW, detail)
        elif self._jumped_at_s is not None and asyncio.get_running_loop().time() - self._jumped_at_s >= JUMP_TOLD_S:
            self._jumped_at_s = None
            await self.clear(FaultCode.CLOCK_SKEW)
