"""Authorizations, top-ups and refunds, and the queue of what is still to be said to or asked of a provider."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Index, Integer, String, Table, text

from backend.db import UtcDateTime, metadata

authorizations = Table(
    "payment_authorizations",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("auth_id", String(64), primary_key=True),
    Column("water_session_id", String(64), nullable=False),
    Column("cardholder_id", String(64), nullable=False),
    Column("method", String(32), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("captured_minor", BigInteger, nullable=False),
    Column("state", String(12), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    #: The capture that took the money, so that the same one answers the same again.
    Column("capture_id", String(64)),
    #: The provider took the money after we had given up or released it; it was given back there.
    Column("late_success", Boolean, nullable=False),
    Column("provider_ref", String(96), nullable=False),
    CheckConstraint("captured_minor >= 0 AND captured_minor <= amount_minor", name="captured"),
    CheckConstraint("state IN ('requested', 'held', 'declined', 'unknown', 'captured', 'voided')", name="state"),
    Index("ix_payment_authorizations_state", "tenant_id", "state", "expires_at"),
    Index("ix_payment_authorizations_water_session", "tenant_id", "water_session_id"),
)

#: Which campus purse gave how much to an authorization, in the order they are spent.
parts = Table(
    "payment_parts",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("auth_id", String(64), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("purse", String(16), nullable=False),
    Column("held_minor", BigInteger, nullable=False),
    Column("captured_minor", BigInteger, nullable=False),
    Column("refunded_minor", BigInteger, nullable=False),
    CheckConstraint(
        "refunded_minor >= 0 AND refunded_minor <= captured_minor AND captured_minor <= held_minor", name="amounts"
    ),
)

top_ups = Table(
    "payment_top_ups",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("top_up_id", String(80), primary_key=True),
    Column("cardholder_id", String(64), nullable=False),
    Column("method", String(32), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("state", String(12), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("late_success", Boolean, nullable=False),
    Column("provider_ref", String(96), nullable=False),
    CheckConstraint("state IN ('checking', 'succeeded', 'declined') AND amount_minor > 0", name="state"),
    Index("ix_payment_top_ups_cardholder", "tenant_id", "cardholder_id", "created_at"),
)

operations = Table(
    "payment_operations",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    #: The same on every attempt.
    Column("operation_id", String(96), primary_key=True),
    Column("kind", String(12), nullable=False),
    #: The authorization or top-up it is about.
    Column("order_id", String(80), nullable=False),
    Column("method", String(32), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("status", String(12), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("sent_at", UtcDateTime),
    Column("asked_at", UtcDateTime),
    Column("next_at", UtcDateTime, nullable=False),
    Column("answer", String(64), nullable=False),
    Column("answered_by", String(12), nullable=False),
    Column("number", String(32), nullable=False),
    CheckConstraint("kind IN ('authorize', 'charge', 'capture', 'void', 'undo', 'refund', 'watch')", name="kind"),
    CheckConstraint("status IN ('pending', 'done', 'refused', 'abandoned')", name="status"),
    Index(
        "ix_payment_operations_due",
        "next_at",
        sqlite_where=text("status = 'pending'"),
        postgresql_where=text("status = 'pending'"),
    ),
    #: The few that are not done, however many were.
    Index(
        "ix_payment_operations_open",
        "tenant_id",
        "method",
        "sent_at",
        sqlite_where=text("status <> 'done'"),
        postgresql_where=text("status <> 'done'"),
    ),
    Index("ix_payment_operations_order", "tenant_id", "order_id"),
    #: No two orders or steps are one to a provider.
    Index("uq_payment_operations_number", "tenant_id", "number", unique=True),
    Index("ix_payment_operations_sent", "tenant_id", "method", "sent_at"),
)

refunds = Table(
    "payment_refunds",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("refund_id", String(80), primary_key=True),
    Column("auth_id", String(64), nullable=False),
    Column("water_session_id", String(64), nullable=False),
    Column("cardholder_id", String(64), nullable=False),
    Column("method", String(32), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("state", String(12), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    CheckConstraint("state IN ('requested', 'done', 'refused') AND amount_minor > 0", name="state"),
    Index("ix_payment_refunds_auth", "tenant_id", "auth_id"),
    Index("ix_payment_refunds_cardholder", "tenant_id", "cardholder_id", "created_at"),
)

#: Standing agreements by which a provider may be asked for a cardholder's money.
payers = Table(
    "payment_payers",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("cardholder_id", String(64), primary_key=True),
    Column("method", String(32), primary_key=True),
    Column("agreement", String(128), nullable=False),
    Column("bound_at", UtcDateTime, nullable=False),
)

#: How far each school's ledger was counted again, and what the latest attempt found.
proofs = Table(
    "payment_book_proofs",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    #: all transfers up to this number add up
    Column("proven_number", BigInteger, nullable=False),
    Column("proven_at", UtcDateTime),
    Column("checked_at", UtcDateTime, nullable=False),
    Column("discrepancies", Integer, nullable=False),
)

#: Each verified message of a provider, once.
notifications = Table(
    "payment_notifications",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("method", String(32), primary_key=True),
    Column("notify_id", String(160), primary_key=True),
    #: SHA-256 of what it says, so that another message under the same id shows
    Column("digest", String(64), nullable=False),
    Column("order_no", String(64), nullable=False),
    Column("operation_no", String(64), nullable=False),
    #: what followed: applied, unknown_order, or differs
    Column("outcome", String(16), nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("repeats", Integer, nullable=False),
)
