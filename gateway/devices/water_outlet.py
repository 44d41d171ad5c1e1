"""HWO-1 hot-water outlet controller (`hardware/register_maps/chw.hwo1.toml`)."""

from collections.abc import Mapping
from fractions import Fraction

from gateway.devices.ports import CommandResult, LogRecord, Opening, OutletStatus
from gateway.devices.profile import ProfileDevice
from gateway.modbus.bus import Bus, Priority
from gateway.modbus.codec import Value, integer, optional_integer
from hardware.points import RegisterMap


class WaterOutlet(ProfileDevice):
    """One outlet on a bus."""

    def __init__(self, bus: Bus, unit: int, register_map: RegisterMap) -> None:
        super().__init__(bus, unit, register_map, {"mbx": "in"})

    async def status(self, priority: Priority) -> OutletStatus:
        """Return a consistent snapshot."""
        values = await self.snapshot(priority)
        return OutletStatus(
            state=self.label("state", values["state"]),
            close_reason=self.label("close_reason", values["close_reason"]),
            faults=self.set_bits("faults", values["faults"]),
            session_u32=integer(values, "session_id"),
            session_pulses=integer(values, "sess_pulses"),
            session_elapsed_s=integer(values, "sess_elapsed"),
            flow_ml_per_min=optional_integer(values, "flow", per_unit=1000) or 0,
            temperature_decidegc=optional_integer(values, "temp_out", per_unit=10),
            total_pulses=integer(values, "total_pulses"),
            lease_left_ms=integer(values, "lease_left"),
            log_head=integer(values, "log_head"),
            boot_id=integer(values, "boot_id"),
            valve=self.label("valve_pos", values["valve_pos"]),
        )

    def record(self, fields: Mapping[str, Value]) -> LogRecord:
        """Return a log record; the label of an END is its close reason."""
        kind = self.label("record_type", fields["type"])
        return LogRecord(
            sequence=integer(fields, "seq"),
            kind=kind,
            boot_id=integer(fields, "boot_id"),
            time_ds=integer(fields, "unix_time") * 10 + integer(fields, "deciseconds"),
            subject_u32=integer(fields, "session_id"),
            session_pulses=integer(fields, "sess_pulses"),
            total_pulses=integer(fields, "total_pulses"),
            label=self.label("close_reason", fields["aux"]) if kind == "END" else str(fields["aux"]),
            temperature_decidegc=optional_integer(fields, "temp", per_unit=10),
        )

    @staticmethod
    def _limits(opening: Opening) -> dict[str, int | Fraction]:
        return {
            "cmd_session": opening.session_u32,
            "cmd_limit_volume": opening.volume_limit_ml,
            "cmd_limit_time": opening.duration_limit_s,
            "cmd_lease": opening.lease_s,
            "cmd_idle": opening.idle_limit_s,
            "cmd_temp_max": Fraction(opening.temperature_limit_decidegc, 10),
            "cmd_token_tag": opening.token_tag,
            "cmd_not_after": opening.not_after_s,
        }

    async def open(self, opening: Opening) -> CommandResult:
        """Open for a session."""
        return await self.command("OPEN", self._limits(opening), Priority.OPEN)

    async def renew(self, opening: Opening) -> CommandResult:
        """Renew the lease of an open session; the limits are absolute and stay what they are."""
        return await self.command("EXTEND", self._limits(opening), Priority.EXTEND)

    async def close(self, session_u32: int, reason: str) -> CommandResult:
        """Close a session; a reason the device has no word for is written as REMOTE."""
        known = self._map.caps["close_reasons"]
        code = self._map.code("close_reason", reason if reason in known else "REMOTE")
        return await self.command("CLOSE", {"cmd_session": session_u32, "cmd_limit_time": code}, Priority.CLOSE)
