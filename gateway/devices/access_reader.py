"""ACR-1 access reader or turnstile (`hardware/register_maps/chw.acr1.toml`): reader A is the way in, B the way out."""

from collections.abc import Mapping

from gateway.devices.ports import CommandResult, DoorStatus, LogRecord
from gateway.devices.profile import ProfileDevice
from gateway.modbus.bus import Bus, Priority
from gateway.modbus.codec import Value, integer
from hardware.points import RegisterMap


class AccessReader(ProfileDevice):
    """One door on a bus."""

    def __init__(self, bus: Bus, unit: int, register_map: RegisterMap) -> None:
        super().__init__(bus, unit, register_map, {"mbx_a": "in", "mbx_b": "out"})

    async def status(self, priority: Priority) -> DoorStatus:
        """Return a consistent snapshot."""
        values = await self.snapshot(priority)
        return DoorStatus(
            state=self.label("state", values["state"]),
            faults=self.set_bits("faults", values["faults"]),
            grant_u32=integer(values, "grant_id"),
            log_head=integer(values, "log_head"),
            boot_id=integer(values, "boot_id"),
        )

    def record(self, fields: Mapping[str, Value]) -> LogRecord:
        """Return a log record; its label is the direction, `IN`, `OUT` or `NONE`."""
        return LogRecord(
            sequence=integer(fields, "seq"),
            kind=self.label("record_type", fields["type"]),
            boot_id=integer(fields, "boot_id"),
            time_ds=integer(fields, "unix_time") * 10 + integer(fields, "deciseconds"),
            subject_u32=integer(fields, "grant_id"),
            session_pulses=0,
            total_pulses=0,
            label=self.label("direction", fields["aux"]),
            temperature_decidegc=None,
        )

    async def grant(self, grant_u32: int, direction: str, open_ms: int, not_after_s: int) -> CommandResult:
        """Unlock for one passage in a direction, `in` or `out`."""
        return await self.command(
            "GRANT",
            {
                "cmd_grant": grant_u32,
                "cmd_direction": self._map.code("direction", direction.upper()),
                "cmd_count": 1,
                "cmd_open": open_ms,
                "cmd_not_after": not_after_s,
            },
            Priority.OPEN,
        )

    async def deny(self, direction: str) -> CommandResult:
        """Show that access is denied; the reason stays in the backend."""
        code = self._map.code("direction", direction.upper())
        return await self.command("DENY", {"cmd_direction": code, "cmd_reason": 1}, Priority.OPEN)
