"""A clock that is moved by hand, a fake provider, and a payer with money."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select

from backend.db import Database
from backend.payments import service
from backend.payments.models import operations
from backend.payments.service import Authorization
from tests.factories import NOW
from tests.fakes.provider import FakeProvider


@dataclass
class World:
    """What a payments test works with."""

    db: Database
    provider: FakeProvider = field(default_factory=FakeProvider)
    now: datetime = NOW

    @property
    def providers(self) -> dict[str, FakeProvider]:
        """Return the fake under its method."""
        return {self.provider.method: self.provider}

    def clock(self) -> datetime:
        """Return the time it is."""
        return self.now

    def credit(self, amount_minor: int = 1_000) -> None:
        """Put money into the wallet."""
        with self.db.write() as conn:
            service.credit_wallet(
                conn,
                tenant_id="gxu",
                cardholder_id="ch_1",
                amount_minor=amount_minor,
                transfer_id=f"opening-{amount_minor}",
                now=self.now,
                memo="opening balance",
            )

    def open(self, method: str = "unionpay", amount_minor: int = 300, auth_id: str = "auth_1") -> Authorization:
        """Open an authorization for water session `ws_1`."""
        with self.db.write() as conn:
            return service.open_authorization(
                conn,
                tenant_id="gxu",
                auth_id=auth_id,
                water_session_id="ws_1",
                cardholder_id="ch_1",
                method=method,
                amount_minor=amount_minor,
                expires_at=NOW + timedelta(hours=6),
                now=self.now,
            )

    def perform(self, auth_id: str = "auth_1") -> Authorization:
        """Ask the provider for the authorization."""
        return service.perform(self.db, self.providers, "gxu", auth_id, clock=self.clock)

    def capture(self, amount_minor: int, capture_id: str = "cap_1", auth_id: str = "auth_1") -> Authorization:
        """Capture part of the hold."""
        with self.db.write() as conn:
            return service.capture(
                conn,
                tenant_id="gxu",
                auth_id=auth_id,
                capture_id=capture_id,
                amount_minor=amount_minor,
                now=self.now,
            )

    def void(self, auth_id: str = "auth_1") -> Authorization:
        """Release the hold."""
        with self.db.write() as conn:
            return service.void(conn, tenant_id="gxu", auth_id=auth_id, now=self.now)

    def resolve(self, seconds: int = 0) -> int:
        """Let time pass and work the queue off once."""
        self.now += timedelta(seconds=seconds)
        return service.resolve_due(self.db, self.providers, clock=self.clock, limit=100)

    def settle(self, seconds: int = 7_200) -> None:
        """Let time pass from one due operation to the next, working each off."""
        end = self.now + timedelta(seconds=seconds)
        for _ in range(500):
            with self.db.read() as conn:
                due = conn.scalar(select(func.min(operations.c.next_at)).where(operations.c.status == "pending"))
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            self.resolve()
        self.now = end

    def auth(self, auth_id: str = "auth_1") -> Authorization:
        """Return the authorization as it is."""
        with self.db.read() as conn:
            return service.authorization(conn, "gxu", auth_id)


@pytest.fixture
def world(database: Database) -> World:
    """Return a world on a fresh database."""
    return World(database)
