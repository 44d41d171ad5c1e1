"""What the water sessions slice takes and hands out."""

from dataclasses import dataclass
from datetime import datetime

from backend.water_sessions.machine import LIVE, State


@dataclass(frozen=True, slots=True)
class StartRequest:
    """Somebody wants water. Whoever asks mints `request_id` and asks again with the same one."""

    tenant_id: str
    request_id: str
    device_id: str
    cardholder_id: str
    method: str
    #: page, uid, code, …
    credential_kind: str = "page"


@dataclass(frozen=True, slots=True)
class WaterSession:
    """A water session as stored. Pulses and K-factor are the evidence, volume and charge are derived from them."""

    tenant_id: str
    water_session_id: str
    request_id: str
    device_id: str
    gateway_id: str
    cardholder_id: str
    state: State
    method: str
    credential_kind: str
    auth_id: str
    tariff_id: str
    tariff_version: int
    hold_minor: int
    volume_limit_ml: int
    duration_limit_s: int
    idle_limit_s: int
    requested_at: datetime
    authorized_at: datetime | None = None
    opened_at: datetime | None = None
    close_requested_at: datetime | None = None
    closed_at: datetime | None = None
    settled_at: datetime | None = None
    open_cmd_id: str = ""
    opening_pulses: int | None = None
    closing_pulses: int | None = None
    k_factor_pulses_per_m3: int | None = None
    usage_pulses: int | None = None
    usage_note: str = ""
    volume_ml: int | None = None
    charge_minor: int | None = None
    captured_minor: int | None = None
    overrun_minor: int | None = None
    stop_reason: str = ""
    refusal: str = ""
    #: what the closing figures rest on: `device_log`, `register_continuity`, `latest_reading`, `latest_reading_cut`
    evidence: str = ""
    device_log_sequence: int | None = None
    duration_s: int | None = None
    temperature_decidegc: int | None = None
    ignored_events: int = 0

    @property
    def is_live(self) -> bool:
        """Return whether it still occupies its outlet and its cardholder."""
        return self.state in LIVE


@dataclass(frozen=True, slots=True)
class WaitingStart:
    """A tap that waits for the previous student's session at the same outlet to end."""

    tenant_id: str
    device_id: str
    request_id: str
    cardholder_id: str
    credential_kind: str
    expires_at: datetime
