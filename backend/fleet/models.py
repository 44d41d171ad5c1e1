"""Tables of the fleet slice."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, String, Table

from backend.db import UtcDateTime, metadata

places = Table(
    "fleet_places",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("place_id", String(64), primary_key=True),
    Column("parent_id", String(64)),
    Column("kind", String(16), nullable=False),
    Column("name", String(200), nullable=False),
    Column("name_en", String(200), nullable=False),
)

gateways = Table(
    "fleet_gateways",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("gateway_id", String(64), primary_key=True),
    Column("place_id", String(64), nullable=False),
    Column("public_key", String(64), nullable=False),
    Column("software", String(100), nullable=False, default=""),
    Column("journal_epoch", String(64), nullable=False, default=""),
    Column("connected", Boolean, nullable=False, default=False),
    Column("last_seen_at", UtcDateTime),
    #: of the last hello: by the gateway's clock, and by ours
    Column("hello_at", UtcDateTime),
    Column("hello_received_at", UtcDateTime),
    Column("health_at", UtcDateTime),
    #: what the last hello said was written to its journal, and what the last health report since said is unacknowledged
    Column("journal_sequence", BigInteger, nullable=False, default=0),
    Column("journal_waiting", BigInteger),
)

devices = Table(
    "fleet_devices",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("device_id", String(64), primary_key=True),
    Column("gateway_id", String(64), nullable=False),
    Column("place_id", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("map_id", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("name_en", String(200), nullable=False),
    Column("sticker_token", String(64), nullable=False, unique=True),
    Column("scenario", String(32), nullable=False),
    Column("state", String(16), nullable=False, default="unknown"),
    Column("last_answer_at", UtcDateTime),
    Column("valve_open", Boolean, nullable=False, default=False),
    Column("faults", JSON, nullable=False, default=list),
    Column("register_pulses", BigInteger),
    Column("temperature_decidegc", Integer),
    Column("evidence", String(200), nullable=False, default=""),
    #: of the last health report: by the gateway's clock (orders reports), and by ours (their age)
    Column("health_at", UtcDateTime),
    Column("health_received_at", UtcDateTime),
    Index(None, "tenant_id", "gateway_id"),
)

command_sequences = Table(
    "fleet_command_sequences",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("device_id", String(64), primary_key=True),
    Column("sequence", BigInteger, nullable=False),
)

faults = Table(
    "fleet_faults",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    #: id of the event that raised it
    Column("fault_id", String(64), primary_key=True),
    Column("gateway_id", String(64), nullable=False),
    Column("device_id", String(64), nullable=False),
    Column("fault", String(32), nullable=False),
    Column("detail", String(500), nullable=False),
    Column("raised_at", UtcDateTime, nullable=False),
    Column("cleared_at", UtcDateTime),
    Column("acknowledged_by", String(64)),
    Column("acknowledged_at", UtcDateTime),
    Column("recorded_at", UtcDateTime, nullable=False),
    Index(None, "tenant_id", "gateway_id", "device_id", "fault"),
)

#: The latest clearing of a fault, so that a raising that arrives after its own clearing does not stay open.
fault_clearings = Table(
    "fleet_fault_clearings",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("gateway_id", String(64), primary_key=True),
    Column("device_id", String(64), primary_key=True),
    Column("fault", String(32), primary_key=True),
    Column("cleared_at", UtcDateTime, nullable=False),
)
