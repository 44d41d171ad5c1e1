"""Table of water that ran and was not charged, with its evidence."""

from sqlalchemy import BigInteger, Column, Index, String, Table

from backend.db import UtcDateTime, metadata

unbilled_water = Table(
    "settlement_unbilled_water",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("water_session_id", String(64), primary_key=True),
    #: `after_release`: its hold was given back before the ending was known; `hold_gone`: the hold had lapsed;
    #: `overrun`: beyond the hold; `after_reading`: beyond what was billed from a mere reading. Two are the opposite:
    #: so much too much was charged from a mere reading (`overcharged`), or booked as lost (`loss_taken_back`)
    Column("cause", String(32), primary_key=True),
    Column("device_id", String(64), nullable=False),
    Column("opening_pulses", BigInteger, nullable=False),
    Column("closing_pulses", BigInteger, nullable=False),
    Column("volume_ml", BigInteger, nullable=False),
    #: what was not charged
    Column("amount_minor", BigInteger, nullable=False),
    Column("event_at", UtcDateTime, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
)
Index("ix_settlement_unbilled_water_event", unbilled_water.c.tenant_id, unbilled_water.c.event_at)
