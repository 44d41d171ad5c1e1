"""Files as they came, the lines of the file in force for each method and day, and files that wait for a person."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Date, Index, Integer, LargeBinary, String, Table, text

from backend.db import UtcDateTime, metadata

statement_files = Table(
    "statement_files",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("method", String(32), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("file_sha256", String(64), primary_key=True),
    Column("name", String(240), nullable=False),
    Column("layout", String(64), nullable=False),
    Column("merchant_no", String(64), nullable=False),
    Column("byte_count", BigInteger, nullable=False),
    Column("line_count", Integer, nullable=False),
    Column("imported_at", UtcDateTime, nullable=False),
    Column("replaced_at", UtcDateTime),
    Index(
        "uq_statement_files_in_force",
        "tenant_id",
        "method",
        "day",
        unique=True,
        sqlite_where=text("replaced_at IS NULL"),
        postgresql_where=text("replaced_at IS NULL"),
    ),
)

statement_lines = Table(
    "statement_lines",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("method", String(32), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("line_number", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("order_no", String(64), nullable=False),
    Column("operation_no", String(64), nullable=False),
    Column("provider_ref", String(64), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("fee_e5", BigInteger, nullable=False),
    Column("happened_at", UtcDateTime, nullable=False),
    Column("status", String(32), nullable=False),
    CheckConstraint(
        "kind IN ('payment', 'refund', 'hold', 'completion', 'release', 'adjustment', 'payout', 'payout_return', "
        "'deposit') AND amount_minor <> 0",
        name="kind",
    ),
    Index("ix_statement_lines_order_no", "tenant_id", "method", "order_no"),
    Index(
        "ix_statement_lines_operation_no",
        "tenant_id",
        "method",
        "operation_no",
        sqlite_where=text("operation_no <> ''"),
        postgresql_where=text("operation_no <> ''"),
    ),
)

proposed_files = Table(
    "statement_proposed_files",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("proposal_id", String(64), primary_key=True),
    Column("method", String(32), nullable=False),
    Column("day", Date, nullable=False),
    Column("file_sha256", String(64), nullable=False),
    Column("name", String(240), nullable=False),
    Column("merchant_no", String(64), nullable=False),
    Column("byte_count", BigInteger, nullable=False),
    Column("line_count", Integer, nullable=False),
    Column("brought_by", String(64), nullable=False),
    Column("brought_at", UtcDateTime, nullable=False),
    #: waiting, imported or rejected
    Column("state", String(8), nullable=False),
    Column("decided_by", String(64), nullable=False),
    Column("decided_at", UtcDateTime),
    #: empty once it is decided
    Column("content", LargeBinary, nullable=False),
    CheckConstraint("state IN ('waiting', 'imported', 'rejected')", name="state"),
    #: Four eyes, whatever the code above believes.
    CheckConstraint("state <> 'imported' OR (decided_by <> '' AND decided_by <> brought_by)", name="four_eyes"),
    Index("ix_statement_proposed_files_state", "tenant_id", "state", "brought_at"),
)
