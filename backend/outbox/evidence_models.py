"""Table of the signed records that bills rest on, with the bytes as they were signed."""

from sqlalchemy import BigInteger, Column, Index, String, Table, Text

from backend.db import UtcDateTime, metadata

evidence_records = Table(
    "inbox_evidence",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("gateway_id", String(64), primary_key=True),
    Column("epoch", String(64), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("water_session_id", String(64), nullable=False),
    #: the key it was verified with, 32 bytes in base 64; a box that is replaced gets another
    Column("public_key", String(64), nullable=False),
    Column("kid", String(64), nullable=False),
    Column("payload", Text, nullable=False),
    Column("signature", String(128), nullable=False),
    Column("accepted_at", UtcDateTime, nullable=False),
    Index("ix_inbox_evidence_session", "tenant_id", "water_session_id"),
)
