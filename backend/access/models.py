"""Tables of the access slice. Decisions and passages are appended, never edited once committed."""

from sqlalchemy import JSON, Boolean, Column, Index, Integer, String, Table, Text

from backend.db import UtcDateTime, metadata

doors = Table(
    "access_doors",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("device_id", String(64), primary_key=True),
    Column("person_classes", JSON, nullable=False),
    Column("minimum_assurance", Integer, nullable=False),
    #: list of [weekday, from_minute, to_minute], Monday is 0, half open, in the tenant's zone
    Column("hours", JSON, nullable=False),
    Column("open_ms", Integer, nullable=False),
)

decisions = Table(
    "access_decisions",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("request_id", String(128), primary_key=True),
    Column("device_id", String(64), nullable=False),
    Column("direction", String(8), nullable=False),
    Column("credential_kind", String(16), nullable=False),
    Column("cardholder_id", String(64)),
    Column("credential_id", String(64)),
    Column("granted", Boolean, nullable=False),
    Column("reason", String(32), nullable=False),
    #: of the grant; the passage event names it
    Column("passage_id", String(64)),
    Column("presented_at", UtcDateTime, nullable=False),
    Column("decided_at", UtcDateTime, nullable=False),
    Column("latency_ms", Integer, nullable=False),
    #: the answer as it was sent, for repeats
    Column("answer", Text, nullable=False),
    Index(None, "tenant_id", "decided_at"),
    Index(None, "tenant_id", "passage_id"),
)

passages = Table(
    "access_passages",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("event_id", String(64), primary_key=True),
    Column("device_id", String(64), nullable=False),
    Column("passage_id", String(64), nullable=False),
    Column("direction", String(8), nullable=False),
    #: passed, timeout, forced, tailgate, fire_free, or refused (the grant never reached the door)
    Column("outcome", String(16), nullable=False),
    Column("passed_at", UtcDateTime, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Index(None, "tenant_id", "passed_at"),
    Index(None, "tenant_id", "passage_id"),
)
