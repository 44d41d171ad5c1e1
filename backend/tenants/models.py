"""Tables of the tenants slice."""

from sqlalchemy import Column, String, Table

from backend.db import metadata

tenants = Table(
    "tenants",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("name_en", String(200), nullable=False),
    Column("zone", String(64), nullable=False),
    Column("currency", String(3), nullable=False),
)
