"""Tables of the metering slice."""

from typing import Any

from sqlalchemy import BigInteger, Column, Dialect, Index, String, Table
from sqlalchemy.types import TypeDecorator

from backend.db import UtcDateTime, metadata


class RegisterPulses(TypeDecorator[int]):
    """A meter register of 64 unsigned bits, kept as the signed BIGINT of the same bits: SQL may not order by it."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:
        """Return the signed number with the same 64 bits."""
        if value is None:
            return None
        assert 0 <= value < 1 << 64, "a register is 64 unsigned bits"
        return value - (1 << 64) if value >= 1 << 63 else value

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        """Return the register that was stored."""
        return None if value is None else int(value) % (1 << 64)


readings = Table(
    "metering_readings",
    metadata,
    Column("tenant_id", String(64), primary_key=True),
    Column("device_id", String(64), primary_key=True),
    #: opening, closing, scheduled, boot or unbilled_flow
    Column("cause", String(16), primary_key=True),
    #: a water session or event; the time in milliseconds when there is none
    Column("reference", String(64), primary_key=True),
    Column("read_at", UtcDateTime, nullable=False),
    Column("register_pulses", RegisterPulses, nullable=False),
    Column("k_factor_pulses_per_m3", BigInteger, nullable=False),
    Index(None, "tenant_id", "device_id", "read_at"),
)
