"""
A school and the sandbox provider's process, with everything that can go wrong between them at the test's command.

The clock of both sides is moved by hand. What provider and wire do is real: requests and answers cross sockets, signed
and verified, and notifications arrive at a listener, from which the test hands them on when it wants.
"""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import httpx
from sqlalchemy import func, select

from backend.cardholders import service as cardholders
from backend.cardholders.types import Cardholder
from backend.db import Database
from backend.kit.clock import epoch_ms
from backend.ledger import service as ledger
from backend.payments import cases, providers, returning, service
from backend.payments.models import operations
from backend.payments.port import Provider
from backend.payments.rails.wire import Wire
from backend.tenants import service as tenants
from tests.fakes.sandbox_process import Sandbox, payment_code
from tests.integration.payment_net import Listener, Mortal, Net
from tests.patience import PATIENCE_S

#: Long enough for a busy machine; calls that shall time out are given less.
TIMEOUT_MS = 5_000
TENANT = "school"


@dataclass
class Site:
    """
    The provider's process, the network to it and the listener, shared by many tests, each a school of its own.

    They are one merchant, ten days apart: reading its keys takes longer than most tests.
    """

    sandbox: Sandbox
    listener: Listener
    net: Net
    doors: httpx.Client
    now: datetime
    schools: int = 0
    adapters: Mapping[str, Provider] = field(init=False)

    def __post_init__(self) -> None:
        self.adapters = providers.build(
            self.sandbox.url,
            self.sandbox.secrets_dir,
            public_url=self.listener.url,
            clock=lambda: self.now,
            wire=Wire(timeout_ms=TIMEOUT_MS, transport=self.net),
        )

    def script(self, match: str, behaviour: str, **more: Any) -> None:
        """Say how the provider treats the next matching request."""
        body = {"match": match, "behaviour": behaviour, **more}
        assert self.doors.post("/script", json=body).status_code == 200

    def move_to(self, now: datetime) -> None:
        """Let it be another time, here and at the provider."""
        self.now = now
        assert self.doors.post("/clock", json={"now": now.isoformat()}).status_code == 200

    def books(self, since: datetime) -> dict[str, Any]:
        """Return what has come onto the provider's books since a time, and what is under way there."""
        found: dict[str, Any] = self.doors.get("/orders", params={"since_ms": epoch_ms(since)}).json()
        return found


@contextmanager
def running_site(sandbox: Sandbox, now: datetime) -> Iterator[Site]:
    """Yield a running site."""
    listener = Listener()
    sandbox.merchant(TENANT)
    sandbox.start()
    try:
        transport = httpx.HTTPTransport(verify=False)  # nothing here needs certificates, and loading them takes long
        with httpx.Client(base_url=sandbox.url, transport=transport) as doors:
            yield Site(sandbox, listener, Net(transport), doors, now)
    finally:
        sandbox.kill()
        listener.close()


@dataclass
class School:
    """A school with a database of its own, ten days after the one before."""

    db: Database
    site: Site
    tenant_id: str = TENANT
    name: str = field(init=False)
    first_at: datetime = field(init=False)
    net: Net = field(init=False)
    adapters: dict[str, Mortal] = field(init=False)

    def __post_init__(self) -> None:
        self.site.schools += 1
        self.name = f"{self.site.schools:04d}"
        self.first_at = self.site.now.replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=10)
        self.move_to(self.first_at)
        self.net = self.site.net
        self.net.forget()
        self.site.listener.heard.clear()
        self.adapters = {method: Mortal(provider, self.db) for method, provider in self.site.adapters.items()}
        with self.db.write() as conn:
            tenants.create(conn, tenants.Tenant(self.tenant_id, "大学", "University"))
            for method in ("unionpay", "alipay"):
                service.bind_payer(
                    conn,
                    tenant_id=self.tenant_id,
                    cardholder_id="ch_1",
                    method=method,
                    agreement=f"agr_{self.name}",
                    now=self.now,
                )

    @property
    def now(self) -> datetime:
        """Return the time it is."""
        return self.site.now

    def move_to(self, now: datetime) -> None:
        """Let it be another time, here and at the provider."""
        self.site.move_to(now)

    @property
    def providers(self) -> Mapping[str, Provider]:
        """Return the adapters as the services take them."""
        return cast(Mapping[str, Provider], self.adapters)

    def clock(self) -> datetime:
        """Return the time it is."""
        return self.now

    def code(self, method: str) -> str:
        """Return a fresh payment code where agreements are not taken."""
        return payment_code(method) if method == "wechat" else ""

    def authorize(self, auth_id: str, method: str) -> service.Authorization:
        """Open an authorization over 300 and ask for it."""
        with self.db.write() as conn:
            service.open_authorization(
                conn,
                tenant_id=self.tenant_id,
                auth_id=auth_id,
                water_session_id=f"ws_{auth_id}",
                cardholder_id="ch_1",
                method=method,
                amount_minor=300,
                expires_at=self.now + timedelta(days=9),
                now=self.now,
            )
        return service.perform(
            self.db, self.providers, self.tenant_id, auth_id, clock=self.clock, payer_code=self.code(method)
        )

    def top_up(self, request_id: str, method: str) -> service.TopUp:
        """Top the wallet up by 2000."""
        return service.top_up(
            self.db,
            self.providers,
            self.tenant_id,
            "ch_1",
            method,
            2_000,
            request_id,
            self.clock,
            payer_code=self.code(method),
        )

    def auth(self, auth_id: str) -> service.Authorization:
        """Return an authorization as it is."""
        with self.db.read() as conn:
            return service.authorization(conn, self.tenant_id, auth_id)

    def top_up_state(self, request_id: str) -> service.TopUpState:
        """Return where a top-up is."""
        with self.db.read() as conn:
            return service.find_top_up(conn, self.tenant_id, f"tu_{request_id}").state

    def capture(self, auth_id: str, amount_minor: int = 120) -> None:
        """Capture part of what is held."""
        with self.db.write() as conn:
            service.capture(
                conn,
                tenant_id=self.tenant_id,
                auth_id=auth_id,
                capture_id=f"cap_{auth_id}",
                amount_minor=amount_minor,
                now=self.now,
            )

    def void(self, auth_id: str) -> None:
        """Release what is held."""
        with self.db.write() as conn:
            service.void(conn, tenant_id=self.tenant_id, auth_id=auth_id, now=self.now)

    def refund(self, refund_id: str, auth_id: str, amount_minor: int) -> None:
        """Give part of what was paid back."""
        with self.db.write() as conn:
            service.request_refund(
                conn,
                tenant_id=self.tenant_id,
                refund_id=refund_id,
                auth_id=auth_id,
                amount_minor=amount_minor,
                reason="cold",
                now=self.now,
            )

    def status(self, operation_id: str) -> str:
        """Return where an operation is."""
        query = select(operations.c.status).where(operations.c.operation_id == operation_id)
        with self.db.read() as conn:
            return str(conn.execute(query).scalar_one())

    def ask_again(self) -> int:
        """Have providers asked again wherever finance can, and return how often that was."""
        with self.db.write() as conn:
            opened = cases.cases(conn, self.tenant_id, state="open", limit=99)
            if opened:
                finance = frozenset({"finance"})
                person = Cardholder(self.tenant_id, "ch_fin", "fin", "fin", "fin", "staff", "active", finance)
                cardholders.add_cardholder(conn, person, "a long password", self.now)
            asked = 0
            for each in opened:
                if returning.may_ask_again(conn, each):
                    where = {"tenant_id": self.tenant_id, "case_id": each.case_id}
                    returning.ask_again(conn, asked_by="ch_fin", now=self.now, **where)
                    asked += 1
        return asked

    def ask_now(self, order_id: str) -> bool:
        """Have the provider asked about an order at once, as its payer may."""
        return service.ask_now(self.db, self.providers, self.tenant_id, order_id, clock=self.clock)

    def resolve(self) -> int:
        """Work off what is due now."""
        return service.resolve_due(self.db, self.providers, clock=self.clock, limit=50)

    def settle(self, interval: timedelta, workers: int = 1) -> None:
        """Let time pass from one due operation to the next, one or several workers at once working each off."""
        end = self.now + interval
        for _ in range(500):
            with self.db.read() as conn:
                due = conn.scalar(select(func.min(operations.c.next_at)).where(operations.c.status == "pending"))
            if due is None or due > end:
                break
            if due > self.now:
                self.move_to(due)
            if workers == 1:
                self.resolve()
                continue
            with ThreadPoolExecutor(workers) as pool:
                for attempt in [pool.submit(self.resolve) for _ in range(workers)]:
                    attempt.result()
        self.move_to(end)

    def wait_until_notified(self) -> None:
        """Wait until the provider has sent its notifications."""
        until = time.monotonic() + PATIENCE_S
        while self.site.books(self.now)["notifying"]:
            assert time.monotonic() < until, "notifications are still under way"
            time.sleep(0.01)

    def deliver(self) -> list[int]:
        """Hand on every notification that came for this school; return what each was answered."""
        self.wait_until_notified()
        heard = [each for each in self.site.listener.heard if each[1] == self.tenant_id]
        for each in heard:
            self.site.listener.heard.remove(each)
        return [self.take(method, headers, body) for method, _, headers, body in heard]

    def take(self, method: str, headers: Mapping[str, str], body: bytes) -> int:
        """Hand one notification on; return what it was answered."""
        ack = service.take_notification(
            self.db,
            self.providers,
            method=method,
            tenant_id=self.tenant_id,
            headers=headers,
            body=body,
            clock=self.clock,
        )
        return ack.status

    def read_statements(self, days: int) -> int:
        """Let days pass, fetch each day's files the day after, and return how many unknowns they have settled."""
        settled = 0
        for _ in range(days):
            self.settle(timedelta(minutes=1))
            local_midnight = (self.now + timedelta(hours=8)).replace(hour=0, minute=0) - timedelta(hours=8)
            self.move_to(local_midnight + timedelta(days=1, hours=11))
            self.resolve()
            service.fetch_statements(self.db, self.providers, self.tenant_id, clock=self.clock)
            settled += service.resolve_from_statements(self.db, self.tenant_id, clock=self.clock)
        return settled

    def balance(self, account_id: str) -> int:
        """Return an account's posted balance; one never opened has nothing."""
        with self.db.read() as conn:
            try:
                return ledger.balances(conn, self.tenant_id, account_id).posted_minor
            except ledger.AccountUnknown:
                return 0

    def cases(self, state: str | None = None) -> set[str]:
        """Return the kinds of all cases, or of those in a state."""
        with self.db.read() as conn:
            return {case.kind for case in cases.cases(conn, self.tenant_id, state=state, limit=99)}

    def orders(self) -> list[dict[str, Any]]:
        """Return this school's orders as the provider has them."""
        orders: list[dict[str, Any]] = self.site.books(self.first_at)["orders"]
        return [order for order in orders if datetime.fromisoformat(order["created_at"]) >= self.first_at]

    def times_taken(self) -> int:
        """Return how often a payer's money was taken at this school."""
        return sum(order["times_taken"] for order in self.orders())

    def owed_minor(self, method: str) -> int:
        """Return what the provider owes this school in all."""
        return sum(_net_minor(order) for order in self.orders() if order["brand"] == method)

    def assert_agreed(self, method: str) -> None:
        """Assert that nobody paid twice, and that our books are even, closed and equal to the provider's."""
        for order in self.orders():
            assert order["times_taken"] <= 1, order
            taking = [each for each in order["operations"] if each["kind"] == "capture" and each["status"] == "done"]
            assert len(taking) <= 1, order
        assert self.balance(f"provider_receivable/{method}") == self.owed_minor(method), self.orders()
        with self.db.read() as conn:
            sums = ledger.sums(conn, self.tenant_id)
            assert sums.balanced
            assert sums.debits_pending == 0
            assert ledger.open_clearing(conn, self.tenant_id) == []
            assert ledger.verify(conn, self.tenant_id) == []


def _net_minor(order: Mapping[str, Any]) -> int:
    taken: int = order["captured_minor"]
    if order["kind"] == "charge":
        taken = order["amount_minor"] if order["times_taken"] and order["status"] != "voided" else 0
    return taken - int(order["refunded_minor"])
