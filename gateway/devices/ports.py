"""What the gateway needs of a device, in units, whoever built it. Fakes and real adapters pass the same tests."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gateway.modbus.bus import Priority


class DeviceMismatch(Exception):
    """The unit answers, but is not the device its map describes; `unknown` when it is none of our kind at all."""

    def __init__(self, message: str, *, unknown: bool) -> None:
        super().__init__(message)
        self.unknown = unknown


class CommandFailed(Exception):
    """The device answered a command, but not for the frame we wrote."""


class CannotSay(CommandFailed):
    """A command cannot be put into a frame: a value is too large for the device. Nothing was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who answers. `k_factor_pulses_per_m3` is 0 for a device that does not meter."""

    model: str
    serial: str
    firmware: str
    k_factor_pulses_per_m3: int
    log_ack: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The cheapest look at a device: which bits are set, by the map's names."""

    names: frozenset[str]

    def __contains__(self, name: str) -> bool:
        return name in self.names


@dataclass(frozen=True, slots=True, kw_only=True)
class OutletStatus:
    """One consistent snapshot of an outlet."""

    state: str
    close_reason: str
    faults: frozenset[str]
    session_u32: int
    session_pulses: int
    session_elapsed_s: int
    flow_ml_per_min: int
    temperature_decidegc: int | None
    total_pulses: int
    lease_left_ms: int
    log_head: int
    boot_id: int
    valve: str
    #: of the newest thing its reader saw; None where the device does not say
    mail_sequence: int | None = None
    #: what its faults rest on, where the device is one of several that make an outlet
    evidence: str = ""
    #: why it must not be opened now, whatever its faults; empty when it may
    refusal: str = ""

    @property
    def is_open(self) -> bool:
        """Whether water may run."""
        return self.state in ("ARMED", "DISPENSING", "PAUSED") or self.valve in ("OPEN", "OPENING")


class Glimpse(NamedTuple):
    """What moves in a snapshot of an outlet while water runs; `steady` is all the rest, to be compared as it is."""

    steady: tuple[int, ...]
    session_pulses: int
    session_elapsed_s: int
    flow_ml_per_min: int
    temperature_decidegc: int | None
    total_pulses: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorStatus:
    """One consistent snapshot of an access reader."""

    state: str
    faults: frozenset[str]
    grant_u32: int
    log_head: int
    boot_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """One record of a device's own log. `subject_u32` is the session or grant; `total_pulses` is 0 at doors."""

    sequence: int
    kind: str
    boot_id: int
    time_ds: int
    subject_u32: int
    session_pulses: int
    total_pulses: int
    #: the close reason of an END, the direction at a door
    label: str
    temperature_decidegc: int | None
    #: `device_log`, or `register_continuity` where the driver wrote it because the device keeps no log
    evidence: str = "device_log"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """Records from the cursor on, ordered by sequence. `damaged` counts those whose check sum was wrong."""

    head: int
    records: tuple[LogRecord, ...]
    damaged: int
    #: highest sequence in the page, damaged ones included; 0 when the page is empty
    through: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """What a reader saw. `source` is UID, NFC, CODE or BUTTON."""

    sequence: int
    source: str
    value: str
    time_s: int
    stale: bool
    #: which mailbox it came from: `in` or `out`
    direction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """The device's answer to a command frame, by the map's names."""

    code: str
    detail: int

    @property
    def accepted(self) -> bool:
        """Whether the device did it, or had already done it."""
        return self.code in ("ACCEPTED", "DONE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What an outlet is told when it is opened. Limits are absolute."""

    session_u32: int
    volume_limit_ml: int
    duration_limit_s: int
    lease_s: int
    idle_limit_s: int
    temperature_limit_decidegc: int
    token_tag: int
    #: seconds since 1970 after which the device must refuse; 0 when its clock is not set
    not_after_s: int


class DevicePort(Protocol):
    """What every device can do."""

    async def identify(self) -> Identity:
        """Return who answers. Raises DeviceMismatch when it is not what the map says."""

    async def flags(self) -> Flags:
        """Return the flags."""

    async def set_clock(self, now_ms: int) -> None:
        """Set the device's clock."""

    async def log_page(self, cursor: int) -> LogPage:
        """Return log records from sequence `cursor` on."""

    async def acknowledge_log(self, through: int) -> None:
        """Let the device forget records up to and including a sequence."""

    async def mail(self, flags: Flags) -> Mail | None:
        """Return the oldest thing a reader saw, if the flags say there is one."""

    async def acknowledge_mail(self, mail: Mail) -> None:
        """Let the device forget a mail."""

    async def display(self, text: str, seconds: int) -> None:
        """Show a text of up to 32 bytes."""


class OutletPort(DevicePort, Protocol):
    """A hot-water outlet."""

    #: what closes it when the gateway is gone, a dead-man class of `hardware.vocabulary`
    deadman: str

    async def status(self, priority: Priority) -> OutletStatus:
        """Return a consistent snapshot."""

    def flags_of(self, status: OutletStatus) -> Flags | None:
        """Return the flags, where a status just read tells all of them, else None."""

    async def open(self, opening: Opening) -> CommandResult:
        """Open for a session."""

    async def close(self, session_u32: int, reason: str) -> CommandResult:
        """Close a session, naming the reason for the device's log."""

    async def renew(self, opening: Opening) -> CommandResult:
        """Renew the lease of an open session; the limits stay what they are."""


class DoorPort(DevicePort, Protocol):
    """An access reader that lets one person through per grant."""

    async def status(self, priority: Priority) -> DoorStatus:
        """Return a consistent snapshot."""

    async def grant(self, grant_u32: int, direction: str, open_ms: int, not_after_s: int) -> CommandResult:
        """Unlock for one passage."""

    async def deny(self, direction: str) -> CommandResult:
        """Show that access is denied."""
