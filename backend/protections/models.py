"""Tables of the protections slice."""

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, Index, String, Table, Text

from backend.db import UtcDateTime, metadata

grants = Table(
    "protections_grants",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("grant_id", String(64), primary_key=True),
    Column("grantor", String(200), nullable=False),
    Column("brand", String(32), nullable=False),
    Column("scenario", String(32), nullable=False),
    Column("place_id", String(64), nullable=False),
    Column("active_from", UtcDateTime, nullable=False),
    Column("active_to", UtcDateTime, nullable=False),
    Column("mode", String(16), nullable=False),
    Column("exemptions", JSON, nullable=False),
    Column("consideration", Text, nullable=False),
    Column("document_sha256", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("approved_by", String(64)),
    Column("terminated_at", UtcDateTime),
    #: who asked for its end; a second person ends it
    Column("termination_asked_by", String(64)),
    Column("termination_asked_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("submitted_at", UtcDateTime),
    Column("approved_at", UtcDateTime),
    #: Four eyes, whatever the code above believes; what was never approved bound nobody.
    CheckConstraint(
        "status <> 'terminated' OR approved_by IS NULL OR termination_asked_by IS NOT NULL", name="termination"
    ),
    Index(None, "tenant_id", "status", "scenario"),
)

#: One row a tenant: whoever changes grants raises it first, so that two approvals cannot miss each other.
revisions = Table(
    "protections_revisions",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("revision", BigInteger, nullable=False),
)

#: What a grant did: a method refused because of it, or accepted in spite of it by a named exemption.
effects = Table(
    "protections_effects",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("effect_id", String(64), primary_key=True),
    Column("grant_id", String(64), nullable=False),
    #: refused or exempted
    Column("effect", String(16), nullable=False),
    Column("method", String(32), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("scenario", String(32), nullable=False),
    Column("place_id", String(64), nullable=False),
    Column("person_class", String(16), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Index(None, "tenant_id", "grant_id", "at"),
)
