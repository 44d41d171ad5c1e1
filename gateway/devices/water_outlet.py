"""HWO-1 hot-water outlet controller (`hardware/register_maps/chw.hwo1.toml`)."""

from collections.abc import Callable, Mapping
from fractions import Fraction

from gateway.devices.ports import CommandResult, Flags, Glimpse, LogRecord, Mail, Opening, OutletStatus
from gateway.devices.profile import ProfileDevice
from gateway.modbus.access import SNAPSHOT_TRIES, SnapshotTorn
from gateway.modbus.bus import Bus, Priority
from gateway.modbus.codec import Value, integer, optional_integer
from gateway.modbus.figures import Figures
from gateway.modbus.glances import Sight, registers
from hardware.points import RegisterMap

#: what is read of the status block, with how many to the unit
_STATUS = {
    "snap_seq": 1,
    "state": 1,
    "close_reason": 1,
    "faults": 1,
    "session_id": 1,
    "sess_pulses": 1,
    "sess_elapsed": 1,
    "flow": 1_000,
    "temp_out": 10,
    "total_pulses": 1,
    "lease_left": 1,
    "log_head": 1,
    "mbx_seq": 1,
    "boot_id": 1,
    "valve_pos": 1,
    "snap_end": 1,
}
#: what moves while water runs, and what does not; the time a lease has left is news to nobody
_MOVING = ("snap_seq", "sess_pulses", "sess_elapsed", "flow", "temp_out", "total_pulses", "snap_end")
_STEADY = ("state", "close_reason", "faults", "session_id", "log_head", "mbx_seq", "boot_id", "valve_pos")


class WaterOutlet(ProfileDevice):
    """One outlet on a bus."""

    def __init__(self, bus: Bus, unit: int, register_map: RegisterMap) -> None:
        super().__init__(bus, unit, register_map, {"mbx": "in"})
        self._status = self._blocks["st"]
        self._figures = Figures(self._status, _STATUS)
        self._moving = Figures(self._status, {name: _STATUS[name] for name in _MOVING})
        self._steady = Figures(self._status, {name: _STATUS[name] for name in _STEADY})
        self._log_acked = 0
        #: the newest mail when nothing was pending; None until that has been seen
        self._mail_settled: int | None = None
        self._mail_newest: int | None = None

    async def status(self, priority: Priority) -> OutletStatus:
        """Return a consistent snapshot."""
        for _ in range(SNAPSHOT_TRIES):
            words = await self._bus.read_input(self._unit, self._status.address, self._status.words, priority)
            now = self._figures.read(words)
            if now["snap_seq"] == now["snap_end"]:
                return self._status_of(now)
        raise SnapshotTorn(f"unit {self._unit}: no consistent snapshot in {SNAPSHOT_TRIES} tries")

    def status_sight(self, is_news: Callable[[bytes], bool]) -> Sight:
        """Return the look that reads the status."""
        return registers(self._unit, self._status.address, self._status.words, is_news)

    def status_in(self, data: bytes) -> OutletStatus | None:
        """Return the snapshot in the bytes of an answer, None when it is torn."""
        now = self._figures.read_bytes(data)
        return self._status_of(now) if now["snap_seq"] == now["snap_end"] else None

    def glimpse_in(self, data: bytes) -> Glimpse | None:
        """Return what moves in a snapshot, None when it is torn: much less work than the whole of it."""
        now = self._moving.read_bytes(data)
        if now["snap_seq"] != now["snap_end"]:
            return None
        return Glimpse(
            self._steady.raw(data),
            now["sess_pulses"],
            now["sess_elapsed"],
            now.get("flow", 0),
            now.get("temp_out"),
            now["total_pulses"],
        )

    def _status_of(self, now: Mapping[str, int]) -> OutletStatus:
        return OutletStatus(
            state=self.label("state", now["state"]),
            close_reason=self.label("close_reason", now["close_reason"]),
            faults=self.set_bits("faults", now["faults"]),
            session_u32=now["session_id"],
            session_pulses=now["sess_pulses"],
            session_elapsed_s=now["sess_elapsed"],
            flow_ml_per_min=now.get("flow", 0),
            temperature_decidegc=now.get("temp_out"),
            total_pulses=now["total_pulses"],
            lease_left_ms=now["lease_left"],
            log_head=now["log_head"],
            boot_id=now["boot_id"],
            valve=self.label("valve_pos", now["valve_pos"]),
            mail_sequence=now["mbx_seq"],
        )

    def flags_of(self, status: OutletStatus) -> Flags:
        """Return the flags as a status tells them: the same, and one request less."""
        names = set()
        if status.valve != "CLOSED":
            names.add("valve_open")
        if status.faults:
            names.add("any_fault")
        if status.log_head > self._log_acked:
            names.add("log_pending")
        if status.mail_sequence != self._mail_settled:
            names.add("mbx_pending")
        self._mail_newest = status.mail_sequence
        return Flags(names=frozenset(names))

    async def mail(self, flags: Flags) -> Mail | None:
        """Return the oldest thing a reader saw, if the flags say there is one."""
        newest = self._mail_newest
        mail = await super().mail(flags)
        if mail is None and "mbx_pending" in flags:
            self._mail_settled = newest  # looked, and there was nothing
        return mail

    async def acknowledge_mail(self, mail: Mail) -> None:
        """Let the device forget a mail."""
        await super().acknowledge_mail(mail)
        self._mail_settled = mail.sequence

    async def acknowledge_log(self, through: int) -> None:
        """Let the device forget records up to and including a sequence; older values are ignored by it."""
        await super().acknowledge_log(through)
        self._log_acked = max(self._log_acked, through)

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
