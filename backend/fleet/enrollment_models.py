"""Tables of claim codes, certificates, births and the configurations gateways should have."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, Text

from backend.db import UtcDateTime, metadata

claim_codes = Table(
    "fleet_claim_codes",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    #: digest of the code; the code itself is shown once and kept nowhere
    Column("code_sha256", String(64), primary_key=True),
    Column("gateway_id", String(64), nullable=False),
    #: whether the gateway may come with another key than the one it is known by
    Column("allows_new_key", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime),
    #: the key it was used for, and the certificate given
    Column("used_for_sha256", String(64), nullable=False, default=""),
    Column("serial", String(64), nullable=False, default=""),
)

certificates = Table(
    "fleet_certificates",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    #: hexadecimal
    Column("serial", String(64), primary_key=True),
    Column("gateway_id", String(64), nullable=False),
    #: digest of the public key it is for
    Column("key_sha256", String(64), nullable=False),
    Column("certificate_pem", Text, nullable=False),
    #: `enrolled` or `renewed`
    Column("cause", String(16), nullable=False),
    Column("issued_at", UtcDateTime, nullable=False),
    Column("not_after", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
    Index("ix_fleet_certificates_gateway", "tenant_id", "gateway_id", "issued_at"),
)

#: Each process that ever said hello as a gateway.
births = Table(
    "fleet_births",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("gateway_id", String(64), primary_key=True),
    Column("instance", String(64), primary_key=True),
    Column("first_at", UtcDateTime, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
    Column("hellos", BigInteger, nullable=False),
)

#: What is known of a gateway beyond its place, key and journal.
gateway_cares = Table(
    "fleet_gateway_cares",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("gateway_id", String(64), primary_key=True),
    #: who said hello last
    Column("instance", String(64), nullable=False, default=""),
    #: how often a process came back after another one had spoken under the same name, and when last
    Column("twin_turns", BigInteger, nullable=False, default=0),
    Column("twin_at", UtcDateTime),
    Column("takeovers", BigInteger, nullable=False, default=0),
    Column("certificate_not_after", UtcDateTime),
    Column("configuration_version", Integer, nullable=False, default=0),
    Column("configuration_state", String(16), nullable=False, default=""),
    Column("configuration_detail", String(500), nullable=False, default=""),
    Column("configuration_running", Integer, nullable=False, default=0),
    Column("configuration_at", UtcDateTime),
)

#: Configurations gateways should have; the highest version counts.
configurations = Table(
    "fleet_configurations",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("gateway_id", String(64), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("toml", Text, nullable=False),
    Column("confirm_s", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    #: last handed to the broker
    Column("sent_at", UtcDateTime),
)
