"""A clock that is moved by hand, a fake provider, and a payer with money."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select

from backend.db import Database
from backend.payments import cases, service
from backend.payments.models import operations
from backend.payments.service import Authorization, Refund
from tests.factories import NOW
from tests.fakes.provider import FakeProvider

WECHAT_CODE = "134524350966727175"


@dataclass
class World:
    """What a payments test works with."""

    db: Database
    provider: FakeProvider = field(default_factory=FakeProvider)
    wechat: FakeProvider = field(default_factory=lambda: FakeProvider("wechat"))
    now: datetime = NOW

    def __post_init__(self) -> None:
        self.provider.clock = self.wechat.clock = self.clock
        with self.db.write() as conn:
            for cardholder_id in ("ch_1", "ch_2"):
                service.bind_payer(
                    conn,
                    tenant_id="gxu",
                    cardholder_id=cardholder_id,
                    method="unionpay",
                    agreement=f"agr_{cardholder_id}",
                    now=NOW,
                )

    @property
    def providers(self) -> dict[str, FakeProvider]:
        """Return the fakes under their methods."""
        return {self.provider.method: self.provider, "wechat": self.wechat}

    def at(self, method: str) -> FakeProvider:
        """Return the fake of a method."""
        return self.providers[method]

    def clock(self) -> datetime:
        """Return the time it is."""
        return self.now

    def credit(self, amount_minor: int = 1_000, purse: str = "wallet") -> None:
        """Put money into a purse."""
        with self.db.write() as conn:
            service.credit_wallet(
                conn,
                tenant_id="gxu",
                cardholder_id="ch_1",
                amount_minor=amount_minor,
                transfer_id=f"opening-{amount_minor}" if purse == "wallet" else f"opening-{purse}-{amount_minor}",
                now=self.now,
                memo="opening balance",
                purse=purse,
            )

    def open(self, method: str = "unionpay", amount_minor: int = 300, auth_id: str = "auth_1") -> Authorization:
        """Open an authorization for the water session of the same number."""
        with self.db.write() as conn:
            return service.open_authorization(
                conn,
                tenant_id="gxu",
                auth_id=auth_id,
                water_session_id=auth_id.replace("auth", "ws"),
                cardholder_id="ch_1",
                method=method,
                amount_minor=amount_minor,
                expires_at=NOW + timedelta(hours=6),
                now=self.now,
            )

    def perform(self, auth_id: str = "auth_1", *, code: str = "") -> Authorization:
        """Ask the provider for the authorization; WeChat is shown a code."""
        if not code and self.auth(auth_id).method == "wechat":
            code = WECHAT_CODE
        return service.perform(self.db, self.providers, "gxu", auth_id, clock=self.clock, payer_code=code)

    def held(self, method: str, amount_minor: int = 300, auth_id: str = "auth_1") -> Authorization:
        """Open an authorization and have it held."""
        opened = self.open(method, amount_minor, auth_id)
        return opened if method == "wallet" else self.perform(auth_id)

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

    def refund(self, amount_minor: int, refund_id: str = "rf_1", auth_id: str = "auth_1") -> Refund:
        """Give part of what was captured back."""
        with self.db.write() as conn:
            return service.request_refund(
                conn,
                tenant_id="gxu",
                refund_id=refund_id,
                auth_id=auth_id,
                amount_minor=amount_minor,
                reason="cold",
                now=self.now,
            )

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

    def cases(self) -> list[tuple[str, str]]:
        """Return the kinds and subjects of all cases."""
        with self.db.read() as conn:
            return sorted((case.kind, case.subject_id) for case in cases.cases(conn, "gxu", limit=99))


@pytest.fixture
def world(database: Database) -> World:
    """Return a world on a fresh database."""
    return World(database)
