"""Table of what came up and was not taken: counted, with a sample."""

from sqlalchemy import BigInteger, Column, String, Table

from backend.db import UtcDateTime, metadata

rejected_messages = Table(
    "rejected_messages",
    metadata,
    #: as the topic says; `-` when it says nothing we know
    Column("tenant_id", String(64), primary_key=True),
    Column("gateway_id", String(64), primary_key=True),
    #: the topic's last part, or the tag of a journaled event
    Column("kind", String(32), primary_key=True),
    #: a RefusalCode, the code of a refusal, or the name of what went wrong
    Column("reason", String(64), primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
    Column("sample", String(200), nullable=False),
)
