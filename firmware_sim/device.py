"""
What every CampusTap device does on the bus: registers read and written, configuration, acknowledgements, broadcasts.

Writes are checked completely and then applied completely; each ends in non-volatile memory before it is answered.
"""

from collections.abc import Mapping, Sequence

from firmware_sim.block_reads import block_read
from firmware_sim.codec import Raw
from firmware_sim.common_values import Getter, getters
from firmware_sim.device_commands import CommandedDevice
from firmware_sim.device_core import BOOT_MS, NO_TEMPERATURE, SELF_TEST_MS, Identity, LogEntry
from firmware_sim.panel import Panel, panel
from firmware_sim.pdu import Remembering
from firmware_sim.registers import DEVICE_BUSY, ILLEGAL_VALUE, BusRefusal, register_file

__all__ = ["BOOT_MS", "NO_TEMPERATURE", "SELF_TEST_MS", "Device", "Identity", "LogEntry"]

UNLOCK_MS = 30_000


class Device(CommandedDevice, Remembering):
    """Base of the two device kinds."""

    #: values of the points only one kind has, by name
    own_getters: Mapping[str, Getter] = {}

    def busy(self) -> bool:
        """Return whether configuration must not change now."""
        return False

    def config_changed(self) -> None:
        """Hear that configuration changed."""

    def panel(self) -> Panel:
        """Return what a person in front of the device sees and hears."""
        return panel(self, self.now_ms)

    # frames -------------------------------------------------------------------------------------------------------

    def frame_seen(self, now_ms: int) -> None:
        """Note a valid frame to this unit: someone still polls."""
        if now_ms > self.now_ms:
            self.now_ms = now_ms
        self.gap_ms = self.now_ms - self.frame_at_ms
        self.frame_at_ms = self.now_ms
        self.frames += 1
        self.set_fault("COMM_TIMEOUT", False)
        self.commit()

    def crc_error_seen(self) -> None:
        """Note a frame on the line whose checksum is wrong."""
        self.crc_errors = self.crc_errors + 1 & 0xFFFF

    def link_age_s(self) -> int:
        """Return the seconds since the last valid frame to this unit."""
        return min((self.now_ms - self.frame_at_ms) // 1000, 0xFFFF)

    def stamp(self) -> tuple[int, int]:
        """Return what changes whenever a register other than a clock or a frame counter may have."""
        timed = self.busy() or self.mail_waits
        return self.version, self.now_ms if timed else self.gap_ms // 1000

    # registers ----------------------------------------------------------------------------------------------------

    def read(self, table: str, address: int, count: int) -> list[int]:
        """Return registers or bits; raises BusRefusal 2 for an undefined address."""
        command = self.map.block("cmd")
        if table == "holding" and command.address <= address and address + count <= command.address + command.words:
            return self.frame[address - command.address :][:count]
        known = block_read(type(self), self.map, table, address, count)
        if known is not None:
            return known.words(self)
        return register_file(self.map).read(table, address, count, self._value)

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
            self.command(values)
        else:
            self._apply(register_file(self.map).points_written(table, address, values))
        self.snap = self.snap % 0xFFFF + 1
        self.touch()
        self.commit()

    def broadcast(self, address: int, values: Sequence[int]) -> None:
        """Take a write to unit 0: only a whole clock setting does anything."""
        if address == self.map.points["clock_set"].address and len(values) == 3 and values[2] < 1000:
            self.set_clock((values[0] << 16 | values[1]) * 1000 + values[2])
            self.commit()

    def _apply(self, written: Mapping[str, Raw]) -> None:
        config = {
            name: value
            for name, value in written.items()
            if name.startswith("cfg_") and name != "cfg_unlock" and isinstance(value, int)
        }
        if config and self.now_ms >= self.unlocked_until_ms:
            raise BusRefusal(ILLEGAL_VALUE)
        if config and self.busy():
            raise BusRefusal(DEVICE_BUSY)
        if ("clock_set" in written) != ("clock_set_ms" in written):
            raise BusRefusal(ILLEGAL_VALUE)
        ack = written.get("log_ack")
        if isinstance(ack, int) and ack > self.log.head:
            raise BusRefusal(ILLEGAL_VALUE)
        self.check_own(written)
        for name, value in written.items():
            if name not in config:
                self._apply_one(name, value)
        self._configure(config)

    def check_own(self, written: Mapping[str, Raw]) -> None:
        """Refuse what only this kind of device can judge, before anything is applied."""

    def _configure(self, wanted: Mapping[str, int]) -> None:
        changed = {name: value for name, value in wanted.items() if self.config[name] != value}
        if not changed:
            return
        self.config_seq = self.config_seq % 0xFFFF + 1
        for name, value in changed.items():
            old, self.config[name] = self.config[name], value
            self.append("CONFIG", aux=self.map.points[name].address, count=value, token_tag=old)
        self.config_changed()

    def _apply_one(self, name: str, value: Raw) -> None:
        if name == "identify" and value:
            self.identify()
        elif name in self.coils:
            self.coils[name] = bool(value)
        elif not isinstance(value, int):
            self._show(name, value)
        elif name == "cfg_unlock":
            self.unlocked_until_ms = self.now_ms + UNLOCK_MS if value == self.map.caps["cfg_unlock"] else 0
        elif name == "log_ack":
            self.dirty |= self.log.acknowledge(value)
            self.rebooted = False
            self.check_log_room()
        elif name == "log_cursor":
            self.log_cursor = value
        elif name.endswith("_ack"):
            self.mailboxes[name.removesuffix("_ack")].acknowledge(value)
        elif name == "clock_set_ms":
            seconds = self.io["clock_set"]
            assert isinstance(seconds, int)
            self.set_clock(seconds * 1000 + value)
        else:
            self._show(name, value)

    def _show(self, name: str, value: Raw) -> None:
        self.io[name] = value
        if name in ("disp_text", "disp_ttl"):
            self.display_at_ms = self.now_ms
        elif name == "buzzer":
            self.buzzer_at_ms = self.now_ms

    def _value(self, name: str) -> Raw:
        return getters(type(self), self.map)[name](self)

    def end_of_identifying(self) -> None:
        """Stop identifying when its time is over."""
        if self.coils["identify"] and self.now_ms >= self.identify_until_ms:
            self.coils["identify"] = False
