"""Tariff versions. A version that has begun is never edited; it only gets an end."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, String, Table

from backend.db import UtcDateTime, metadata

tariff_versions = Table(
    "tariff_versions",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("tariff_id", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("place_id", String(64), nullable=False),
    Column("scenario", String(32), nullable=False),
    Column("name", String(120), nullable=False),
    Column("name_en", String(120), nullable=False),
    Column("active_from", UtcDateTime, nullable=False),
    Column("active_to", UtcDateTime),
    Column("price_minor_per_m3", BigInteger, nullable=False),
    Column("fixed_minor", BigInteger, nullable=False),
    Column("minimum_minor", BigInteger, nullable=False),
    Column("free_below_ml", BigInteger, nullable=False),
    Column("volume_limit_ml", BigInteger, nullable=False),
    Column("duration_limit_s", Integer, nullable=False),
    Column("idle_limit_s", Integer, nullable=False),
    Column("minimum_hold_minor", BigInteger, nullable=False),
    CheckConstraint("active_to IS NULL OR active_to > active_from", name="period"),
    CheckConstraint(
        "price_minor_per_m3 >= 0 AND fixed_minor >= 0 AND minimum_minor >= 0 AND free_below_ml >= 0"
        " AND volume_limit_ml > 0 AND duration_limit_s > 0 AND idle_limit_s > 0 AND minimum_hold_minor >= 0",
        name="figures",
    ),
    Index("ix_tariff_versions_place", "tenant_id", "scenario", "place_id", "active_from"),
)
