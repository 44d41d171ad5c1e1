"""Tables of commands on their way down and journal records that came up."""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from backend.db import UtcDateTime, metadata

commands = Table(
    "outbox_commands",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("cmd_id", String(64), primary_key=True),
    Column("gateway_id", String(64), nullable=False),
    Column("device_id", String(64), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    #: the command's tag, for example `open_valve`
    Column("kind", String(32), nullable=False),
    #: session or passage the command is about
    Column("subject_id", String(64), nullable=False),
    #: the signed CommandMessage exactly as it travels
    Column("message", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("not_after", UtcDateTime, nullable=False),
    #: a worker that took the command has it to itself until then
    Column("claimed_until", UtcDateTime),
    Column("attempts", Integer, nullable=False, default=0),
    #: the broker took it
    Column("sent_at", UtcDateTime),
)
_waiting = commands.c.sent_at.is_(None)
Index(
    "ix_outbox_commands_waiting",
    commands.c.not_after,
    commands.c.device_id,
    commands.c.sequence,
    sqlite_where=_waiting,
    postgresql_where=_waiting,
)
Index("ix_outbox_commands_subject", commands.c.tenant_id, commands.c.subject_id)

records = Table(
    "inbox_records",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("gateway_id", String(64), primary_key=True),
    Column("epoch", String(64), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("sha256", String(64), nullable=False),
    Column("accepted_at", UtcDateTime, nullable=False),
)

cursors = Table(
    "inbox_cursors",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("gateway_id", String(64), primary_key=True),
    Column("epoch", String(64), primary_key=True),
    #: every sequence up to and including this one is accepted
    Column("acked_through", BigInteger, nullable=False),
)

parked = Table(
    "inbox_parked",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("gateway_id", String(64), primary_key=True),
    Column("epoch", String(64), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    #: the verified JournalRecord exactly as it was signed
    Column("payload", Text, nullable=False),
    Column("reason", String(200), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("retry_at", UtcDateTime, nullable=False),
    Column("parked_at", UtcDateTime, nullable=False),
)
