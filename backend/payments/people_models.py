"""Tables of the money that people move: cases, entries by staff, disputes, transfers between purses, payouts."""

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, Index, Integer, String, Table

from backend.db import UtcDateTime, metadata

cases = Table(
    "payment_cases",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("case_id", String(64), primary_key=True),
    Column("kind", String(32), nullable=False),
    #: what it is about: an order, an operation, a session, a dispute, or a method and day
    Column("subject_id", String(160), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("evidence", JSON, nullable=False),
    #: how often it was reported; the first report's evidence is kept
    Column("times_seen", Integer, nullable=False),
    Column("state", String(8), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("closed_at", UtcDateTime),
    Column("closed_by", String(64), nullable=False),
    Column("note", String(1000), nullable=False),
    CheckConstraint("(state = 'open' AND closed_by = '') OR (state = 'closed' AND closed_by <> '')", name="state"),
    Index("uq_payment_cases_subject", "tenant_id", "kind", "subject_id", unique=True),
    Index("ix_payment_cases_state", "tenant_id", "state", "created_at"),
)

staff_entries = Table(
    "payment_staff_entries",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("entry_id", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    #: whose money it is; empty for an entry between the school's own accounts
    Column("cardholder_id", String(64), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    #: both empty for a refund, which finds its accounts by itself
    Column("debit_account_id", String(160), nullable=False),
    Column("credit_account_id", String(160), nullable=False),
    #: the authorization of a refund, the payout of a payout, the reference of a manual entry
    Column("subject_id", String(160), nullable=False),
    Column("reason", String(500), nullable=False),
    Column("proposed_by", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("state", String(12), nullable=False),
    Column("decided_by", String(64), nullable=False),
    Column("decided_at", UtcDateTime),
    Column("note", String(500), nullable=False),
    #: until when an agreed credit limit is in force, if it ends by itself
    Column("ends_at", UtcDateTime),
    CheckConstraint(
        "(kind IN ('cash_top_up', 'manual', 'refund', 'payout') AND amount_minor > 0 AND ends_at IS NULL)"
        " OR (kind = 'credit_limit' AND amount_minor >= 0)",
        name="kind",
    ),
    CheckConstraint("state IN ('proposed', 'executed', 'rejected', 'expired', 'ended')", name="state"),
    #: Four eyes, whatever the code above believes.
    CheckConstraint(
        "state NOT IN ('executed', 'ended') OR (decided_by <> '' AND decided_by <> proposed_by)", name="four_eyes"
    ),
    Index("ix_payment_staff_entries_state", "tenant_id", "state", "created_at"),
    Index("ix_payment_staff_entries_cardholder", "tenant_id", "cardholder_id", "created_at"),
)
_may_end = (staff_entries.c.kind == "credit_limit") & (staff_entries.c.state == "executed")
Index(
    "ix_payment_staff_entries_ends_at",
    staff_entries.c.tenant_id,
    staff_entries.c.ends_at,
    sqlite_where=_may_end,
    postgresql_where=_may_end,
)

disputes = Table(
    "payment_disputes",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("dispute_id", String(64), primary_key=True),
    Column("water_session_id", String(64), nullable=False),
    Column("auth_id", String(64), nullable=False),
    Column("cardholder_id", String(64), nullable=False),
    Column("reason", String(16), nullable=False),
    Column("text", String(1000), nullable=False),
    Column("state", String(12), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    #: what is given back when it is upheld; zero before and when it is rejected
    Column("amount_minor", BigInteger, nullable=False),
    Column("answer", String(1000), nullable=False),
    Column("decided_by", String(64), nullable=False),
    Column("decided_at", UtcDateTime),
    #: the refund that a second person approves
    Column("entry_id", String(64), nullable=False),
    CheckConstraint("state IN ('open', 'upheld', 'refunded', 'rejected') AND amount_minor >= 0", name="state"),
    Index("ix_payment_disputes_cardholder", "tenant_id", "cardholder_id", "created_at"),
    Index("ix_payment_disputes_entry", "tenant_id", "entry_id"),
)
_undecided = disputes.c.state.in_(("open", "upheld"))
Index(
    "uq_payment_disputes_session",
    disputes.c.tenant_id,
    disputes.c.water_session_id,
    unique=True,
    sqlite_where=_undecided,
    postgresql_where=_undecided,
)

purse_transfers = Table(
    "payment_purse_transfers",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    #: made of the request id of whoever asked
    Column("transfer_id", String(80), primary_key=True),
    Column("cardholder_id", String(64), nullable=False),
    Column("from_purse", String(16), nullable=False),
    Column("to_purse", String(16), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    CheckConstraint("amount_minor > 0 AND from_purse <> to_purse", name="amount"),
    Index("ix_payment_purse_transfers_cardholder", "tenant_id", "cardholder_id", "created_at"),
)

payouts = Table(
    "payment_payouts",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("payout_id", String(64), primary_key=True),
    Column("cardholder_id", String(64), nullable=False),
    #: what the person gets: the rest of the refundable purses
    Column("amount_minor", BigInteger, nullable=False),
    #: what went back to the school's funds
    Column("returned_minor", BigInteger, nullable=False),
    Column("channel", String(8), nullable=False),
    Column("destination", String(200), nullable=False),
    #: what was still owed when they left, after their own money had paid part of it
    Column("owed_minor", BigInteger, nullable=False),
    #: waiting: a second person decides; payable: they said no, and it waits for another proposal; owes: the person does
    Column("state", String(8), nullable=False),
    Column("entry_id", String(64), nullable=False),
    Column("proposed_by", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("paid_at", UtcDateTime),
    CheckConstraint("state IN ('waiting', 'payable', 'paid', 'owes') AND amount_minor >= 0", name="state"),
    CheckConstraint("channel IN ('cash', 'bank') AND returned_minor >= 0", name="channel"),
    CheckConstraint("owed_minor >= 0 AND (owed_minor = 0 OR amount_minor = 0)", name="owed"),
    Index("ix_payment_payouts_cardholder", "tenant_id", "cardholder_id", "created_at"),
    Index("ix_payment_payouts_entry", "tenant_id", "entry_id"),
)
