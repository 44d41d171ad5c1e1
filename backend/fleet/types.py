"""What the fleet slice hands out."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Place:
    """A node of the one place tree; `kind` is campus, building, floor, room, outlet or door."""

    tenant_id: str
    place_id: str
    parent_id: str | None
    kind: str
    name: str
    name_en: str


@dataclass(frozen=True, slots=True)
class Gateway:
    """A box beside the pipes. That it is connected says nothing about its devices."""

    tenant_id: str
    gateway_id: str
    place_id: str
    #: Ed25519, 32 bytes in base 64: what its journal records are signed with
    public_key: str
    software: str = ""
    journal_epoch: str = ""
    connected: bool = False
    last_seen_at: datetime | None = None
    #: when its present connection was born, by our clock
    hello_received_at: datetime | None = None
    #: last record written when that connection was born
    journal_sequence: int = 0
    #: records it knows to be unacknowledged; None until it has reported since
    journal_waiting: int | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """An outlet or a door with the latest that is known of it; `evidence` says what `state` rests on."""

    tenant_id: str
    device_id: str
    gateway_id: str
    place_id: str
    #: outlet or door
    kind: str
    map_id: str
    name: str
    name_en: str
    sticker_token: str
    #: hot_water or access
    scenario: str
    #: online, silent, mismatch or unknown
    state: str = "unknown"
    last_answer_at: datetime | None = None
    valve_open: bool = False
    faults: tuple[str, ...] = ()
    register_pulses: int | None = None
    temperature_decidegc: int | None = None
    evidence: str = ""
    #: of the last health report, by the gateway's clock
    health_at: datetime | None = None
    #: when the last health report was received, by our clock
    health_received_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FaultRow:
    """A fault with its life so far; `device_id` is empty when it is the gateway's own."""

    tenant_id: str
    fault_id: str
    gateway_id: str
    device_id: str
    fault: str
    detail: str
    raised_at: datetime
    cleared_at: datetime | None
    acknowledged_by: str | None
    acknowledged_at: datetime | None
