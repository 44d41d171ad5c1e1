"""Tables of the cardholders slice."""

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, String, Table, UniqueConstraint

from backend.db import UtcDateTime, metadata

cardholders = Table(
    "cardholders",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("cardholder_id", String(64), primary_key=True),
    Column("login", String(100), nullable=False),
    Column("name", String(200), nullable=False),
    Column("name_en", String(200), nullable=False),
    Column("person_class", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("roles", JSON, nullable=False),
    Column("password_hash", String(200), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("tenant_id", "login"),
)

credentials = Table(
    "cardholders_credentials",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("credential_id", String(64), primary_key=True),
    Column("cardholder_id", String(64), nullable=False),
    #: uid or code
    Column("kind", String(16), nullable=False),
    #: uid: keyed hash of the card's number; code: the 8 random bytes inside the code; both in hex
    Column("lookup", String(64), nullable=False),
    #: what people recognize it by: the last digits of a card
    Column("hint", String(16), nullable=False),
    Column("assurance", Integer, nullable=False),
    #: active or frozen
    Column("status", String(16), nullable=False),
    Column("frozen_at", UtcDateTime),
    #: for visitors: the pass's half-open period and how many uses are left
    Column("not_before", UtcDateTime),
    Column("not_after", UtcDateTime),
    Column("uses_left", Integer),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("tenant_id", "kind", "lookup"),
    Index(None, "tenant_id", "cardholder_id"),
)

#: A code that was shown. The key is what makes each code good for one use.
code_uses = Table(
    "cardholders_code_uses",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("credential_id", String(64), primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("draw", Integer, primary_key=True),
    Column("used_at", UtcDateTime, nullable=False),
)

sign_ins = Table(
    "cardholders_sign_ins",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("token_sha256", String(64), primary_key=True),
    Column("cardholder_id", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    UniqueConstraint("token_sha256"),
    Index(None, "tenant_id", "expires_at"),
)

failed_sign_ins = Table(
    "cardholders_failed_sign_ins",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("attempt_id", String(64), primary_key=True),
    Column("login", String(100), nullable=False),
    Column("attempted_at", UtcDateTime, nullable=False),
    Index(None, "tenant_id", "login", "attempted_at"),
)
