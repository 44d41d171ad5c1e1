"""Tables of water sessions and of the starts that wait for the previous session at their outlet to end."""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from backend.db import UtcDateTime, metadata
from backend.water_sessions.machine import LIVE

water_sessions = Table(
    "water_sessions",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("water_session_id", String(64), primary_key=True),
    #: minted by whoever asks; asking again with the same one returns the same session
    Column("request_id", String(100), nullable=False),
    Column("device_id", String(64), nullable=False),
    Column("gateway_id", String(64), nullable=False),
    Column("cardholder_id", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("method", String(32), nullable=False),
    Column("credential_kind", String(16), nullable=False),
    Column("auth_id", String(64), nullable=False),
    Column("tariff_id", String(64), nullable=False),
    Column("tariff_version", Integer, nullable=False),
    Column("hold_minor", BigInteger, nullable=False),
    Column("volume_limit_ml", BigInteger, nullable=False),
    Column("duration_limit_s", Integer, nullable=False),
    Column("idle_limit_s", Integer, nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("authorized_at", UtcDateTime),
    Column("opened_at", UtcDateTime),
    Column("close_requested_at", UtcDateTime),
    Column("closed_at", UtcDateTime),
    Column("settled_at", UtcDateTime),
    Column("open_cmd_id", String(64), nullable=False, default=""),
    Column("opening_pulses", BigInteger),
    Column("closing_pulses", BigInteger),
    Column("k_factor_pulses_per_m3", BigInteger),
    Column("usage_pulses", BigInteger),
    Column("usage_note", String(64), nullable=False, default=""),
    Column("volume_ml", BigInteger),
    Column("charge_minor", BigInteger),
    Column("captured_minor", BigInteger),
    Column("overrun_minor", BigInteger),
    Column("stop_reason", String(32), nullable=False, default=""),
    Column("refusal", String(64), nullable=False, default=""),
    Column("evidence", String(32), nullable=False, default=""),
    Column("device_log_sequence", BigInteger),
    Column("duration_s", Integer),
    Column("temperature_decidegc", Integer),
    #: late, repeated or contradicting events that changed nothing
    Column("ignored_events", Integer, nullable=False, default=0),
)
_live = water_sessions.c.state.in_(sorted(state.value for state in LIVE))
Index(
    "uq_water_sessions_request",
    water_sessions.c.tenant_id,
    water_sessions.c.request_id,
    unique=True,
)
Index(
    "uq_water_sessions_live_outlet",
    water_sessions.c.tenant_id,
    water_sessions.c.device_id,
    unique=True,
    sqlite_where=_live,
    postgresql_where=_live,
)
Index(
    "uq_water_sessions_live_cardholder",
    water_sessions.c.tenant_id,
    water_sessions.c.cardholder_id,
    unique=True,
    sqlite_where=_live,
    postgresql_where=_live,
)
Index(
    "ix_water_sessions_history",
    water_sessions.c.tenant_id,
    water_sessions.c.cardholder_id,
    water_sessions.c.requested_at,
)
Index("ix_water_sessions_closed", water_sessions.c.tenant_id, water_sessions.c.device_id, water_sessions.c.closed_at)
Index("ix_water_sessions_state", water_sessions.c.state, water_sessions.c.requested_at)

waiting_starts = Table(
    "waiting_starts",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    #: one waits per outlet
    Column("device_id", String(64), primary_key=True),
    Column("request_id", String(100), nullable=False),
    Column("cardholder_id", String(64), nullable=False),
    Column("credential_kind", String(16), nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)

taps = Table(
    "water_session_taps",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("request_id", String(100), primary_key=True),
    #: the Decision as it was sent
    Column("answer", Text, nullable=False),
    Column("answered_at", UtcDateTime, nullable=False, index=True),
)
