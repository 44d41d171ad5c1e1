"""Tables of the reconciliation slice: runs and the breaks each found. Appended, never edited."""

from sqlalchemy import BigInteger, Column, Integer, String, Table

from backend.db import UtcDateTime, metadata

runs = Table(
    "reconciliation_runs",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("run_id", String(64), primary_key=True),
    Column("run_at", UtcDateTime, nullable=False),
    Column("devices", Integer, nullable=False),
    Column("sessions", Integer, nullable=False),
    Column("register_pulses", BigInteger, nullable=False),
    Column("billed_pulses", BigInteger, nullable=False),
    Column("free_pulses", BigInteger, nullable=False),
    Column("lost_pulses", BigInteger, nullable=False),
    Column("gap_pulses", BigInteger, nullable=False),
    Column("break_count", Integer, nullable=False),
    #: of the newest transfer that was compared; what is recorded later has a higher one
    Column("last_number", BigInteger, nullable=False),
)

breaks = Table(
    "reconciliation_breaks",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("run_id", String(64), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("subject", String(160), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("volume_ml", BigInteger, nullable=False),
    Column("pulses", BigInteger, nullable=False),
    Column("cause", String(300), nullable=False),
    Column("owner", String(16), nullable=False),
)
