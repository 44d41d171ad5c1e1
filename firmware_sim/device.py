"""
What every CampusTap device does, whatever it drives: identity, registers, clock, event log, configuration, commands.

A device is pure: it never reads a clock, a socket or a random number. Its owner passes `now_ms` (monotonic), its
measurements and its bus accesses. Nothing becomes visible before it is in non-volatile memory: each access and each
tick ends with one save when anything worth keeping changed.

Commands: one write of exactly the command block, with token and commit = 0xA5C3 xor token, else exception 3. A
token seen among the last four is not executed again: its result is shown with code DUPLICATE, the first code in detail.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from firmware_sim.clock import Clock
from firmware_sim.codec import Raw
from firmware_sim.common_values import common_value
from firmware_sim.device_memory import Kept, Result, pack, unpack
from firmware_sim.event_log import Record
from firmware_sim.mailbox import Mailbox
from firmware_sim.nvm import NonVolatile, NvmDamaged
from firmware_sim.registers import DEVICE_BUSY, ILLEGAL_ADDRESS, ILLEGAL_VALUE, BusRefusal, RegisterFile
from hardware.points import RegisterMap

BOOT_MS = 200
UNLOCK_MS = 30_000
TOKENS_KEPT = 4
CLOCK_STEP_S = 2
NO_TEMPERATURE = -32768


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What is printed on the label."""

    device_id: str
    serial: str
    device_uid: int
    model: str
    k_factor_pulses_per_m3: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """A log record together with its type's name, for whoever watches the device from outside."""

    type_name: str
    record: Record


class Device:
    """Base of the two device kinds."""

    #: blocks of the map that show a mailbox
    mailbox_prefixes: tuple[str, ...] = ("mbx",)

    def __init__(
        self,
        register_map: RegisterMap,
        identity: Identity,
        nvm: NonVolatile,
        *,
        now_ms: int,
        unix_ms: int | None = None,
    ) -> None:
        """Power up. `unix_ms` is what a battery-backed clock says, or None when there is no battery."""
        self.map = register_map
        self.identity = identity
        self._registers = RegisterFile(register_map)
        self._nvm = nvm
        self.now_ms = now_ms
        self.booted_at_ms = now_ms
        self.clock = Clock(now_ms=now_ms, unix_ms=unix_ms)
        self.frame_at_ms = now_ms
        self.frames = 0
        self._unlocked_until_ms = 0
        self.snap = 1
        self.rebooted = True
        self.log_cursor = 0
        self.coils = {"identify": False, "mute": False}
        self._frame: list[int] = [0] * register_map.block("cmd").words
        self.io: dict[str, Raw] = {}
        self.forced_faults = 0
        #: appended log entries nobody has collected yet; bounded by the ring
        self.entries: list[LogEntry] = []
        self.dirty = True
        self._restore()

    # non-volatile memory ------------------------------------------------------------------------------------------

    def _restore(self) -> None:
        try:
            kept, damaged = unpack(self._nvm.load()), False
        except NvmDamaged:
            kept, damaged = Kept(), True
        self.boot_id = kept.boot_id % 0xFFFF + 1
        self.log = kept.log
        self.faults = kept.latched | self.forced_faults
        if damaged:
            self.faults |= self.fault_bit("NVM_CRC")
        self._results = kept.results
        self.last_result = Result(token=0, code=0, detail=0, subject_id=0, pulses=0, snap_seq=0)
        defaults = {p.name: p.default or 0 for p in self.map.block("cfg").points if p.persist}
        self.config = {**defaults, **self.factory_config(), **kept.config}
        self.config_seq = kept.config_seq
        self.mailboxes = {prefix: Mailbox(boot_id=self.boot_id) for prefix in self.mailbox_prefixes}
        self.restore_own(kept.own)

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
        self.now_ms = now_ms
        self.dirty = True
        self.commit()

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

    def own_value(self, name: str) -> Raw:
        """Return the raw value of a point only this kind has; KeyError if it has none."""
        raise KeyError(name)

    def busy(self) -> bool:
        """Return whether configuration must not change now."""
        return False

    def execute(self, opcode: str, frame: Mapping[str, int]) -> tuple[str, int]:
        """Carry out a command that is new, complete and in time; return result label and detail."""
        raise KeyError(opcode)

    def subject_and_count(self) -> tuple[int, int]:
        """Return session or grant id and the counter shown with a result."""
        return 0, 0

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

    # faults and log -----------------------------------------------------------------------------------------------

    def fault_bit(self, name: str) -> int:
        """Return the mask of a fault by name, 0 when this kind does not have it."""
        names = self.map.bits["faults"]
        return 1 << names.index(name) if name in names else 0

    def fault_names(self) -> list[str]:
        """Return the names of the faults that are on."""
        return [name for bit, name in enumerate(self.map.bits["faults"]) if self.faults >> bit & 1]

    def set_fault(self, name: str, on: bool) -> None:
        """Raise or clear a fault and log the change; a forced fault does not clear."""
        bit = self.fault_bit(name)
        if not bit or bool(self.faults & bit) == on or (not on and self.forced_faults & bit):
            return
        self.faults ^= bit
        if name != "LOG_FULL":
            self.append("FAULT_SET" if on else "FAULT_CLR", aux=bit.bit_length() - 1)
        self.dirty = True

    def force_fault(self, name: str, on: bool) -> None:
        """Hold a fault on from outside, as a broken part would, or let it go."""
        bit = self.fault_bit(name)
        if on:
            self.forced_faults |= bit
        else:
            self.forced_faults &= ~bit
        self.set_fault(name, on)
        self.commit()

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

    # bus ----------------------------------------------------------------------------------------------------------

    def frame_seen(self, now_ms: int) -> None:
        """Note a valid frame to this unit: someone still polls."""
        self.now_ms = max(now_ms, self.now_ms)
        self.frame_at_ms = self.now_ms
        self.frames += 1
        self.set_fault("COMM_TIMEOUT", False)

    def link_age_s(self) -> int:
        """Return the seconds since the last valid frame to this unit."""
        return min((self.now_ms - self.frame_at_ms) // 1000, 0xFFFF)

    def read(self, table: str, address: int, count: int) -> list[int]:
        """Return registers or bits; raises BusRefusal 2 for an undefined address."""
        command = self.map.block("cmd")
        if table == "holding" and command.address <= address and address + count <= command.address + command.words:
            return self._frame[address - command.address :][:count]
        return self._registers.read(table, address, count, self._value)

    def write(self, table: str, address: int, values: Sequence[int], *, single: bool = False) -> None:
        """
        Write registers or coils, all or nothing; `single` when it came as FC05 or FC06.

        :raises BusRefusal: 2 read-only or undefined, 3 half a point, bad value or bad command frame, 6 busy.
        """
        command = self.map.block("cmd")
        end = address + len(values)
        if table == "holding" and address < command.address + command.words and end > command.address:
            if single or address != command.address or len(values) != command.words:
                raise BusRefusal(ILLEGAL_VALUE)
            self._command(list(values))
        else:
            self._apply(self._registers.points_written(table, address, values))
        self.snap = self.snap % 0xFFFF + 1
        self.commit()

    def broadcast(self, address: int, values: Sequence[int]) -> None:
        """Take a write to unit 0: only a whole clock setting does anything."""
        if address == self.map.points["clock_set"].address and len(values) == 3 and values[2] < 1000:
            self.set_clock((values[0] << 16 | values[1]) * 1000 + values[2])
            self.commit()

    def _apply(self, written: Mapping[str, Raw]) -> None:
        config = {name: value for name, value in written.items() if name.startswith("cfg_") and name != "cfg_unlock"}
        if config and self.now_ms >= self._unlocked_until_ms:
            raise BusRefusal(ILLEGAL_VALUE)
        if config and self.busy():
            raise BusRefusal(DEVICE_BUSY)
        if ("clock_set" in written) != ("clock_set_ms" in written):
            raise BusRefusal(ILLEGAL_VALUE)
        ack = written.get("log_ack")
        if isinstance(ack, int) and ack > self.log.head:
            raise BusRefusal(ILLEGAL_VALUE)
        for name, value in written.items():
            self._apply_one(name, value)

    def _apply_one(self, name: str, value: Raw) -> None:
        if name in self.coils:
            self.coils[name] = bool(value)
        elif isinstance(value, int) and name == "cfg_unlock":
            self._unlocked_until_ms = self.now_ms + UNLOCK_MS if value == self.map.caps["cfg_unlock"] else 0
        elif isinstance(value, int) and name.startswith("cfg_"):
            self.config[name] = value
            self.config_seq = self.config_seq % 0xFFFF + 1
            self.append("CONFIG", aux=self.map.points[name].address)
        elif isinstance(value, int) and name == "log_ack":
            self.dirty |= self.log.acknowledge(value)
            self.rebooted = False
            self.check_log_room()
        elif isinstance(value, int) and name == "log_cursor":
            self.log_cursor = value
        elif isinstance(value, int) and name.endswith("_ack"):
            self.mailboxes[name.removesuffix("_ack")].acknowledge(value)
        elif isinstance(value, int) and name == "clock_set":
            self.io[name] = value
        elif isinstance(value, int) and name == "clock_set_ms":
            seconds = self.io["clock_set"]
            assert isinstance(seconds, int)
            self.set_clock(seconds * 1000 + value)
        else:
            self.io[name] = value

    def check_log_room(self) -> None:
        """Keep the LOG_FULL fault in step with the ring."""
        self.set_fault("LOG_FULL", not self.log.has_room("START"))

    def _command(self, values: list[int]) -> None:
        frame = {name: value for name, value in self._decode_frame(values).items() if isinstance(value, int)}
        token = frame["cmd_token"]
        if token == 0 or frame["cmd_commit"] != self.map.caps["commit_xor"] ^ token:
            raise BusRefusal(ILLEGAL_VALUE)
        self._frame = values
        first = self._results.get(token)
        if first is not None:
            duplicate = self.map.code("result", "DUPLICATE")
            self.last_result = Result(
                token=token,
                code=duplicate,
                detail=first.code,
                subject_id=first.subject_id,
                pulses=first.pulses,
                snap_seq=first.snap_seq,
            )
            return
        opcode = self.map.enums["opcode"].get(frame["cmd_opcode"])
        if opcode is None:
            label, detail = "BAD_STATE", 0xFFFF
        elif frame["cmd_not_after"] and (not self.unix_ms() or self.unix_ms() >= frame["cmd_not_after"] * 1000):
            label, detail = "EXPIRED", 0 if self.unix_ms() else 1
        else:
            label, detail = self.execute(opcode, frame)
        subject_id, count = self.subject_and_count()
        self.last_result = Result(
            token=token,
            code=self.map.code("result", label),
            detail=detail,
            subject_id=subject_id,
            pulses=count & 0xFFFFFFFF,
            snap_seq=self.snap,
        )
        self._results[token] = self.last_result
        while len(self._results) > TOKENS_KEPT:
            self._results.pop(next(iter(self._results)))

    def _decode_frame(self, values: Sequence[int]) -> Mapping[str, Raw]:
        try:
            return self._registers.points_written("holding", self.map.block("cmd").address, values)
        except BusRefusal as refusal:
            raise BusRefusal(ILLEGAL_VALUE if refusal.code != ILLEGAL_ADDRESS else refusal.code) from refusal

    # values -------------------------------------------------------------------------------------------------------

    def _value(self, name: str) -> Raw:
        try:
            return self.own_value(name)
        except KeyError:
            pass
        if name in self.config:
            return self.config[name]
        if name in self.coils:
            return int(self.coils[name])
        prefix, _, field = name.rpartition("_")
        if self.map.points[name].block in self.mailboxes:
            prefix = self.map.points[name].block
            return self.mailboxes[prefix].values(self.now_ms)[name.removeprefix(prefix + "_")]
        if prefix in self.mailboxes and field == "pending":
            return int(self.mailboxes[prefix].pending)
        if prefix in self.mailboxes and field == "seq":
            return self.mailboxes[prefix].seq
        return common_value(self, name)
