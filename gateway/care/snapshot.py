"""What a running gateway says of itself on the box: to `watch`, `doctor` and Prometheus."""

import msgspec

from gateway.contract.messages import DeviceHealth
from gateway.contract.provisioning import ConfigurationState

SOCKET = "status.sock"


class LineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A bus. `load_permille` is the share of the last seconds in which a request was under way."""

    line_id: str
    transport: str
    devices: int
    errors: int
    requests: int = 0
    load_permille: int | None = None
    #: what the configuration will take of it with a quarter and with all of its devices open; None: speed not known
    budget_quarter_permille: int | None = None
    budget_full_permille: int | None = None
    #: why it is overcommitted; empty while there is room
    warning: str = ""
    #: units that answer although nobody configured them, with what they show
    strangers: dict[str, str] = {}


class UnitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A device with its place on a line; of one that is made of parts, the valve's."""

    line_id: str
    unit: int
    kind: str
    map_id: str
    health: DeviceHealth
    #: role, place and map of each part, of a device that is made of several
    parts: list[str] = []


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at one moment. Times are milliseconds since 1970, UTC."""

    tenant: str
    gateway: str
    software: str
    instance: str
    at_ms: int
    started_at_ms: int
    connected: bool
    connections: int
    takeovers: int
    trouble: str
    journal_waiting: int
    journal_rows_max: int
    journal_lost: int
    journal_blockages: int
    disk_free_bytes: int
    rejected: dict[str, int]
    duplicates: int
    #: faults of the gateway itself, with what is known of them
    faults: dict[str, list[str]]
    configuration: ConfigurationState
    #: 0 when it comes without one
    certificate_not_after_ms: int
    lines: list[LineStatus]
    devices: list[UnitStatus]
