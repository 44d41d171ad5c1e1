"""
What a device is before anybody talks to it: label, memory, clock, faults, event log.

A device is pure: it never reads a clock, a socket or a random number. Its owner passes `now_ms` (monotonic), its
measurements and its bus accesses. Nothing becomes visible before it is in non-volatile memory: each access and each
tick ends with one save when anything worth keeping changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from firmware_sim.clock import Clock
from firmware_sim.codec import Raw
from firmware_sim.device_memory import Kept, Result, pack, unpack
from firmware_sim.event_log import EventLog, Record
from firmware_sim.inputs import BACKUP_GOOD_MV, BACKUP_LOW_MV, QUIET, SUPPLY_GOOD_MV, SUPPLY_LOW_MV, Inputs, low
from firmware_sim.mailbox import BUTTON, Item, Mailbox
from firmware_sim.nvm import NonVolatile, NvmDamaged
from firmware_sim.panel import IDENTIFY_MS
from hardware.points import RegisterMap

BOOT_MS = 200
SELF_TEST_MS = 1_000
CLOCK_STEP_S = 2
NO_TEMPERATURE = -32768
#: aux of a TAMPER record
TAMPER_LID, TAMPER_SENSOR = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What is printed on the label, and what this copy of the device is fitted with."""

    device_id: str
    serial: str
    device_uid: int
    model: str
    k_factor_pulses_per_m3: int = 0
    #: key of the seal on command frames, 16 bytes; empty when commands need none
    mac_key: bytes = b""
    #: a sensor before the mixer
    temp_in: bool = False
    #: a valve that stays as it is without power, and needs stored energy to close then
    latching: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """A log record together with its type's name, for whoever watches the device from outside."""

    type_name: str
    record: Record


class DeviceCore:
    """Base of the two device kinds, below the bus."""

    #: blocks of the map that show a mailbox
    mailbox_prefixes: tuple[str, ...] = ("mbx",)
    #: what every copy of this kind is fitted with, names of the map's `caps` bits
    fitted: tuple[str, ...] = ()
    state: str

    def __init__(
        self,
        register_map: RegisterMap,
        identity: Identity,
        nvm: NonVolatile,
        *,
        now_ms: int,
        unix_ms: int | None = None,
        clock_ppm: int = 0,
    ) -> None:
        """Power up. `unix_ms` is what a battery-backed clock says, or None when there is no battery."""
        self.map = register_map
        self.identity = identity
        self._fault_bits = {name: 1 << number for number, name in enumerate(register_map.bits["faults"])}
        self._nvm = nvm
        self.now_ms = now_ms
        self.clock = Clock(now_ms=now_ms, unix_ms=unix_ms, ppm=clock_ppm)
        self.snap = 1
        self.inputs = QUIET
        self.forced_faults = 0
        #: appended log entries nobody has collected yet; bounded by the ring
        self.entries: list[LogEntry] = []
        #: grows with everything that may change a register
        self.version = 0
        self.dirty = True
        self._quiet = False
        self._restore()

    # non-volatile memory ------------------------------------------------------------------------------------------

    def _restore(self) -> None:
        try:
            kept, damaged = unpack(self._nvm.load()), False
        except NvmDamaged:
            kept, damaged = Kept(), True
        self.boot_id = kept.boot_id % 0xFFFF + 1
        self.log: EventLog = kept.log
        self.faults = kept.latched | self.forced_faults
        if damaged:
            self.faults |= self.fault_bit("NVM_CRC")
        self._results = kept.results
        self.last_result = Result(token=0, code=0, detail=0, subject_id=0, pulses=0, snap_seq=0)
        defaults = {p.name: p.default or 0 for p in self.map.block("cfg").points if p.persist}
        self.config = {**defaults, **self.factory_config(), **kept.config}
        self.config_seq = kept.config_seq
        self._start_memory()
        self.touch()
        self.restore_own(kept.own)
        if not self.clock.quality(self.now_ms):
            self.faults |= self.fault_bit("CLOCK_UNSET")

    def _start_memory(self) -> None:
        """Clear everything that only a running device remembers."""
        self.booted_at_ms = self.frame_at_ms = self.now_ms
        wanted = self.config["cfg_unit"]
        #: the address it was configured to, since this boot; None for the one it is wired to
        self.moved_to = None if wanted == self.map.points["cfg_unit"].default else wanted
        self.gap_ms = 0
        self.frames = self.crc_errors = 0
        self.unlocked_until_ms = 0
        self.rebooted = True
        self.log_cursor = 0
        self.frame: list[int] = [0] * self.map.block("cmd").words
        self.coils = {"identify": False, "mute": False}
        self.identify_until_ms = self.display_at_ms = self.buzzer_at_ms = 0
        self.io: dict[str, Raw] = {}
        self.felt = QUIET
        self.self_test_until_ms: int | None = None
        self.reboot_wanted = False
        #: whether a mailbox shows an item, which goes stale as time passes
        self.mail_waits = False
        self.mailboxes = {
            prefix: Mailbox(
                boot_id=self.boot_id,
                accepts=lambda source, prefix=prefix: self.reader_works(prefix) or source == BUTTON,  # type: ignore[misc]
                heard=lambda item, prefix=prefix: self._mail_changed(prefix, item),  # type: ignore[misc]
            )
            for prefix in self.mailbox_prefixes
        }

    def _kept(self) -> Kept:
        return Kept(
            boot_id=self.boot_id,
            log=self.log,
            latched=self.faults & self.latched_mask() & ~self.forced_faults,
            results=self._results,
            config=self.config,
            config_seq=self.config_seq,
            own=self.keep_own(),
        )

    def commit(self) -> None:
        """Save if anything worth keeping changed since the last save."""
        if self.dirty:
            self.dirty = False
            self._nvm.save(pack(self._kept()))

    def falling_supply(self, now_ms: int) -> None:
        """Use the last charge of the supply to save everything as it is."""
        self.now_ms = max(now_ms, self.now_ms)
        self.dirty = True
        self.commit()

    def reboot(self) -> None:
        """Start anew in place: the machine is as after power-up, with what non-volatile memory keeps."""
        self.dirty = True
        self.commit()
        self._restore()

    def touch(self) -> None:
        """Say that registers may have changed, and that the next tick has to look at everything."""
        self.version += 1
        self._quiet = False

    # what a device kind adds --------------------------------------------------------------------------------------

    def factory_config(self) -> dict[str, int]:
        """Return configuration this unit left the factory with, beyond the map's defaults."""
        return {}

    def restore_own(self, kept: Mapping[str, object]) -> None:
        """Take back what `keep_own` returned before the power went; then log the boot."""
        self.append("BOOT")

    def keep_own(self) -> dict[str, object]:
        """Return what must survive a power cut, as JSON values."""
        return {}

    def latched_mask(self) -> int:
        """Return the fault bits that survive a power cut."""
        return 0

    def reader_works(self, prefix: str) -> bool:
        """Return whether the reader behind a mailbox answers."""
        return self.inputs.reader_online and not self.faults & self.fault_bit("READER_OFFLINE")

    def presented(self, prefix: str, item: Item) -> None:
        """Hear that somebody held something before a reader."""

    def _mail_changed(self, prefix: str, item: Item | None) -> None:
        self.touch()
        self.mail_waits = any(box.pending for box in self.mailboxes.values())
        if item is not None:
            self.presented(prefix, item)

    # clock --------------------------------------------------------------------------------------------------------

    def unix_ms(self) -> int:
        """Return the device's own idea of the time, 0 when unset."""
        return self.clock.unix_ms(self.now_ms)

    def set_clock(self, unix_ms: int) -> None:
        """Set the clock; a step of more than two seconds is logged."""
        step_s = self.clock.set(unix_ms, self.now_ms)
        if step_s > CLOCK_STEP_S:
            self.append("CLOCK_STEP", aux=min(step_s, 0xFFFF))
        self.set_fault("CLOCK_UNSET", False)
        self.touch()

    # inputs -------------------------------------------------------------------------------------------------------

    def feel(self) -> Inputs:
        """Bring the faults that inputs cause up to date; return the inputs as they were felt before."""
        before, now = self.felt, self.inputs
        self.felt = now
        if now.sensor_unplugged and not before.sensor_unplugged and self.fault_bit("FLOW_SENSOR"):
            self.append("TAMPER", aux=TAMPER_SENSOR)
        self.set_fault("FLOW_SENSOR", now.sensor_unplugged)
        if now.tamper:
            if not before.tamper:
                self.append("TAMPER", aux=TAMPER_LID)
            self.set_fault("TAMPER", True)
        for name, value, low_mv, good_mv in (
            ("LOW_SUPPLY", now.supply_mv, SUPPLY_LOW_MV, SUPPLY_GOOD_MV),
            ("LOW_BACKUP", now.backup_mv, BACKUP_LOW_MV, BACKUP_GOOD_MV),
        ):
            was = bool(self.faults & self.fault_bit(name))
            self.set_fault(name, low(was, value=value, low_below=low_mv, good_from=good_mv))
        self.set_fault("READER_OFFLINE", not now.reader_online)
        return before

    def identify(self) -> None:
        """Show which device this is, for ten seconds."""
        self.coils["identify"] = True
        self.identify_until_ms = self.now_ms + IDENTIFY_MS

    # faults and log -----------------------------------------------------------------------------------------------

    def fault_bit(self, name: str) -> int:
        """Return the mask of a fault by name, 0 when this kind does not have it."""
        return self._fault_bits.get(name, 0)

    def fault_names(self) -> list[str]:
        """Return the names of the faults that are on."""
        return [name for name, bit in self._fault_bits.items() if self.faults & bit]

    def set_fault(self, name: str, on: bool) -> None:
        """Raise or clear a fault and log the change; a forced fault does not clear."""
        bit = self._fault_bits.get(name, 0)
        if not bit or bool(self.faults & bit) == on or (not on and self.forced_faults & bit):
            return
        self.faults ^= bit
        if name != "LOG_FULL":
            self.append("FAULT_SET" if on else "FAULT_CLR", aux=bit.bit_length() - 1)
        self.dirty = True
        self.touch()

    def force_fault(self, name: str, on: bool) -> None:
        """Hold a fault on from outside, as a broken part would, or let it go."""
        bit = self.fault_bit(name)
        if on:
            self.forced_faults |= bit
        else:
            self.forced_faults &= ~bit
        self.set_fault(name, on)
        self.touch()
        self.commit()

    def check_log_room(self) -> None:
        """Keep the LOG_FULL fault in step with the ring."""
        self.set_fault("LOG_FULL", not self.log.has_room("START"))

    def append(
        self, type_name: str, *, subject_id: int = 0, token_tag: int = 0, count: int = 0, total: int = 0, aux: int = 0
    ) -> Record | None:
        """Log a record; None when the ring has no room for its type."""
        unix_ms = self.unix_ms()

        def make(seq: int) -> Record:
            return Record(
                seq=seq,
                type=self.map.code("record_type", type_name),
                boot_id=self.boot_id,
                unix_time=unix_ms // 1000 & 0xFFFFFFFF,
                quality=self.clock.quality(self.now_ms),
                deciseconds=unix_ms // 100 % 10,
                subject_id=subject_id,
                token_tag=token_tag,
                count=count & 0xFFFFFFFF,
                total=total or self.register_total(),
                aux=aux,
                temp=self.log_temperature(),
            )

        record = self.log.append(type_name, make)
        self.dirty = True
        self.touch()
        if record is not None:
            self.entries.append(LogEntry(type_name=type_name, record=record))
            del self.entries[:-128]
        return record

    def register_total(self) -> int:
        """Return the counter every log record carries."""
        return 0

    def log_temperature(self) -> int:
        """Return the temperature every log record carries, tenths of a degree."""
        return NO_TEMPERATURE
