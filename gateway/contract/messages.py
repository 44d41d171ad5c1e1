"""
Everything else on the wire: births, telemetry that may be dropped, health with evidence, taps and their answers.

Births, health and taps travel signed by the gateway, acknowledgements signed by the tenant's command key (`Signed` with
one of these inside), because they decide over money, water or records. Telemetry and the broker's last will do not.
"""

from enum import StrEnum

import msgspec

from gateway.contract.signing import Signed


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway's birth: what runs there. Says nothing about its devices."""

    gateway: str
    at_ms: int
    software: str
    contract: str
    journal_epoch: str
    #: last journal sequence written, so that the backend can see how much is waiting
    journal_sequence: int
    #: map id to map version
    maps: dict[str, str]
    devices: list[str]


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """The broker's last will for a gateway."""

    gateway: str


class MeterSampled(msgspec.Struct, frozen=True, kw_only=True):
    """One look at an open outlet, about once a second. Telemetry: may be dropped, never billed."""

    device: str
    water_session_id: str
    at_ms: int
    #: pulses since the opening of this session
    pulses: int
    k_factor_pulses_per_m3: int
    flow_ml_per_min: int
    temperature_decidegc: int | None
    elapsed_s: int
    #: `flowing` or `paused`
    state: str = "flowing"


class TelemetryBatch(msgspec.Struct, frozen=True, kw_only=True):
    """All samples of one poll cycle."""

    samples: list[MeterSampled]


class DeviceHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway knows of one device, and how old that knowledge is."""

    device: str
    #: `online`, `silent` (no valid answer) or `mismatch` (answers, but is not what the map says)
    state: str
    #: last valid answer; 0 when there never was one
    last_answer_at_ms: int
    #: what the state rests on, for example `identity read`, `timeout x3`
    evidence: str
    valve_open: bool = False
    faults: list[str] = []
    register_pulses: int | None = None
    temperature_decidegc: int | None = None
    crc_errors: int = 0
    timeouts: int = 0


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """The health of all devices of a gateway, sent when something changed and every 15 s."""

    gateway: str
    at_ms: int
    devices: list[DeviceHealth]
    journal_waiting: int = 0
    rejected_messages: int = 0
    bus_errors: int = 0


class CredentialKind(StrEnum):
    """What a reader saw."""

    UID = "uid"  # hex, upper case
    SUN = "sun"
    CODE = "code"  # text of a QR code
    BUTTON = "button"


class CredentialPresented(msgspec.Struct, frozen=True, kw_only=True):
    """Someone tapped or showed something. A request: the answer is a Decision; losing it means tapping again."""

    #: minted by the gateway; the backend answers a repeat as before
    request_id: str
    at_ms: int
    device: str
    kind: CredentialKind
    value: str
    #: `in` or `out`, for doors with two readers
    direction: str = "in"


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a CredentialPresented. A granted one is followed or accompanied by a signed command."""

    request_id: str
    device: str
    granted: bool
    #: a stable code: `ok`, `frozen`, `insufficient_funds`, `outside_hours`, …
    reason: str
    #: for the outlet's or reader's display, at most 32 characters
    display: str = ""
    command: Signed | None = None


class CommandMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A signed command on its way down; the payload is a `Command`."""

    signed: Signed


class EventBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Journal records in order, each signed by itself; the payloads are `JournalRecord`s."""

    records: list[Signed]


class Acknowledged(msgspec.Struct, frozen=True, kw_only=True):
    """The backend has committed every record of an epoch up to and including this sequence."""

    epoch: str
    acked_through: int
