"""
The ledger's tables. Transfers are only ever inserted; accounts carry running sums and guard themselves.

A tenant's row in `books` is the door all its writers queue at, and knows how far the numbering, the expiry and the
verification have come, so that none of them reads history again.

What makes writing dear is finding a place in an index for a key that comes at random. So a transfer has the keys that
guard it and those that come in order; its lines on its two accounts are written later, many at once, by
`listing_repository`.
"""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Index, PrimaryKeyConstraint, String, Table, text

from backend.db import UtcDateTime, metadata


def _key(length: int) -> String:
    """Return the type of a key: compared byte by byte on both databases, which is several times cheaper than words."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


_AVAILABLE = """may_go_negative
    OR (normal_side = 'credit' AND credits_posted - debits_posted - debits_pending + credit_limit_minor >= 0)
    OR (normal_side = 'debit' AND debits_posted - credits_posted - credits_pending + credit_limit_minor >= 0)"""

books = Table(
    "ledger_books",
    metadata,
    Column("tenant_id", _key(64), primary_key=True),
    #: Of the newest transfer; they are numbered 1, 2, 3… in the order they were decided.
    Column("last_number", BigInteger, nullable=False),
    #: All holds with an `expires_at` up to this time are resolved.
    Column("expired_to", UtcDateTime, nullable=False),
    #: Left anew by each writer that changes accounts: who finds his own knows that nobody wrote since.
    Column("stamp", String(16), nullable=False),
    #: Raised with each change to a credit limit: what else changes an account is told by a transfer.
    Column("credit_version", BigInteger, nullable=False),
    #: Up to this transfer the checkpoints are what the transfers add up to.
    Column("verified_number", BigInteger, nullable=False),
)

accounts = Table(
    "ledger_accounts",
    metadata,
    Column("tenant_id", _key(64), nullable=False),
    Column("account_id", _key(160), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("owner_id", String(96), nullable=False),
    Column("normal_side", String(6), nullable=False),
    Column("may_go_negative", Boolean, nullable=False),
    Column("credit_limit_minor", BigInteger, nullable=False),
    Column("debits_pending", BigInteger, nullable=False),
    Column("debits_posted", BigInteger, nullable=False),
    Column("credits_pending", BigInteger, nullable=False),
    Column("credits_posted", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    # An index on one key of many begins with it, not with the tenant: the first column then decides a comparison.
    PrimaryKeyConstraint("account_id", "tenant_id"),
    CheckConstraint(_AVAILABLE, name="available"),
    CheckConstraint(
        "debits_pending >= 0 AND debits_posted >= 0 AND credits_pending >= 0 AND credits_posted >= 0", name="sums"
    ),
    CheckConstraint("normal_side IN ('debit', 'credit') AND credit_limit_minor >= 0", name="rule"),
    #: Room in each page, so that a changed row stays in it and its index entry needs no second one.
    postgresql_with={"fillfactor": 80},
    sqlite_with_rowid=False,
)

transfers = Table(
    "ledger_transfers",
    metadata,
    Column("tenant_id", _key(64), nullable=False),
    Column("transfer_id", _key(160), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("debit_account_id", _key(160), nullable=False),
    Column("credit_account_id", _key(160), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("pending_id", _key(160)),
    Column("expires_at", UtcDateTime),
    Column("event_at", UtcDateTime, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("reference", _key(160), nullable=False),
    Column("memo", String(240), nullable=False),
    PrimaryKeyConstraint("transfer_id", "tenant_id"),
    CheckConstraint("amount_minor > 0 AND debit_account_id <> credit_account_id", name="amount"),
    CheckConstraint("(kind IN ('post', 'void', 'expire')) = (pending_id IS NOT NULL)", name="pending"),
    #: What makes a hold resolve once, whatever the code above believes.
    Index(
        "uq_ledger_transfers_pending_id",
        "pending_id",
        "tenant_id",
        unique=True,
        sqlite_where=text("pending_id IS NOT NULL"),
        postgresql_where=text("pending_id IS NOT NULL"),
    ),
    Index(
        "ix_ledger_transfers_expires_at",
        "tenant_id",
        "expires_at",
        sqlite_where=text("expires_at IS NOT NULL"),
        postgresql_where=text("expires_at IS NOT NULL"),
    ),
    Index("uq_ledger_transfers_number", "tenant_id", "number", unique=True),
    Index("ix_ledger_transfers_reference", "reference", "tenant_id"),
)

#: A transfer's place in the statement of each of its accounts. Those of the newest transfers are still missing.
lines = Table(
    "ledger_lines",
    metadata,
    Column("tenant_id", _key(64), nullable=False),
    Column("account_id", _key(160), nullable=False),
    Column("event_at", UtcDateTime, nullable=False),
    Column("number", BigInteger, nullable=False),
    #: What it posts: plus is a credit, minus a debit; zero for what only holds or releases.
    Column("credit_minor", BigInteger, nullable=False),
    PrimaryKeyConstraint("account_id", "tenant_id", "event_at", "number"),
    sqlite_with_rowid=False,
)

#: The lines of a tenant's transfers are there up to this one.
listings = Table(
    "ledger_listings",
    metadata,
    Column("tenant_id", _key(64), primary_key=True),
    Column("listed_number", BigInteger, nullable=False),
)

#: What each reference left on an account that clears; a row goes when it is even. So this is the list of what is not.
residues = Table(
    "ledger_residues",
    metadata,
    Column("tenant_id", _key(64), primary_key=True),
    Column("account_id", _key(160), primary_key=True),
    Column("reference", _key(160), primary_key=True),
    Column("residue_minor", BigInteger, nullable=False),
)

#: An account's sums when they were last counted again from its transfers.
checkpoints = Table(
    "ledger_checkpoints",
    metadata,
    Column("tenant_id", _key(64), primary_key=True),
    Column("account_id", _key(160), primary_key=True),
    Column("debits_pending", BigInteger, nullable=False),
    Column("debits_posted", BigInteger, nullable=False),
    Column("credits_pending", BigInteger, nullable=False),
    Column("credits_posted", BigInteger, nullable=False),
)

#: Who allowed an account how much credit, and why. The newest version is in force.
credit_limits = Table(
    "ledger_credit_limits",
    metadata,
    Column("tenant_id", _key(64), primary_key=True),
    Column("account_id", _key(160), primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("credit_limit_minor", BigInteger, nullable=False),
    Column("set_by", String(160), nullable=False),
    Column("reason", String(240), nullable=False),
    Column("set_at", UtcDateTime, nullable=False),
    CheckConstraint("credit_limit_minor >= 0", name="limit"),
)
