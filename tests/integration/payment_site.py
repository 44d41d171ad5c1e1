"""
A school and the sandbox provider's process, with everything that can go wrong between them at the test's command.

The clock of both sides is moved by hand. What provider and wire do is real: requests and answers cross sockets, signed
and verified, and notifications arrive at a listener, from which the test hands them on when it wants.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs

import httpx
from sqlalchemy import Connection, event, func, select

from backend.db import Database
from backend.ledger import service as ledger
from backend.payments import cases, providers, service
from backend.payments.models import operations
from backend.payments.port import Provider
from backend.payments.rails.wire import Wire
from backend.tenants import service as tenants
from tests.fakes.sandbox_process import Sandbox, payment_code

#: Long enough for a busy machine; calls that shall time out are given less.
TIMEOUT_MS = 5_000
_SHORT_S = 0.2
_UNIONPAY = {"01": "charge", "02": "authorize", "03": "capture", "04": "refund", "31": "void", "32": "void"}
_ALIPAY = {
    "alipay.fund.auth.order.freeze": "authorize",
    "alipay.fund.auth.order.unfreeze": "void",
    "alipay.fund.auth.operation.cancel": "void",
    "alipay.trade.cancel": "void",
    "alipay.trade.refund": "refund",
    "alipay.data.dataservice.bill.downloadurl.query": "statement",
}
_THANKS = {"unionpay": b"ok", "alipay": b"success", "wechat": b'{"code":"SUCCESS"}'}


class Crash(Exception):
    """The process died here."""


def call_of(request: httpx.Request) -> str:
    """Return which call of the port a request belongs to; a question is `query`."""
    path = request.url.path
    if path.startswith("/unionpay"):
        txn_type = parse_qs(request.content.decode())["txnType"][0]
        return {"00": "query", "76": "statement"}.get(txn_type) or _UNIONPAY[txn_type]
    if path.startswith("/alipay"):
        form = parse_qs(request.content.decode())
        method = form["method"][0] if form else "download"
        if method == "alipay.trade.pay":
            return "capture" if '"auth_no"' in form["biz_content"][0] else "charge"
        return _ALIPAY.get(method, "query" if form else "statement")
    if "bill" in path:
        return "statement"
    if request.method == "GET":
        return "query"
    return {"codepay": "charge", "reverse": "void", "refunds": "refund"}[path.rpartition("/")[2]]


class _Once(httpx.SyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        yield self._body


class Net(httpx.BaseTransport):
    """The network between them. Refuses, garbles, holds or cuts short the next call of a kind, swallows questions."""

    def __init__(self, real: httpx.BaseTransport) -> None:
        self._real = real
        self._attacks: deque[tuple[str, str]] = deque()
        self._late: list[httpx.Request] = []
        self.questions_down = False
        #: Every call that went out, in order.
        self.calls: list[str] = []

    def forget(self) -> None:
        """Carry everything again, and count from here."""
        self._attacks.clear()
        self._late.clear()
        self.questions_down = False
        self.calls.clear()

    def deliver_late(self) -> None:
        """Let the requests that were held arrive now."""
        late, self._late = self._late, []
        for request in late:
            self._real.handle_request(request).read()

    def attack(self, call: str, how: str) -> None:
        """Spoil the next call of a kind: `refuse`, `short` (time out soon), `garble` (break the answer) or `late`."""
        self._attacks.append((call, how))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Carry one request."""
        call, how = call_of(request), ""
        if self._attacks and self._attacks[0][0] == call:
            how = self._attacks.popleft()[1]
        if call == "query" and self.questions_down:
            raise httpx.ReadTimeout("nobody answers questions", request=request)
        if how == "refuse":
            raise httpx.ConnectError("refused", request=request)
        self.calls.append(call)
        if how == "late":
            self._late.append(request)
            raise httpx.ReadTimeout("still under way", request=request)
        if how == "short":
            request.extensions["timeout"] = {**request.extensions["timeout"], "read": _SHORT_S}
        answer = self._real.handle_request(request)
        if how != "garble":
            return answer
        body = answer.read()
        middle = len(body) // 2
        garbled = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        return httpx.Response(answer.status_code, headers=answer.headers, stream=_Once(garbled))


class Mortal:
    """An adapter whose process may die just before a call, or after its answer before anything is committed."""

    def __init__(self, provider: Provider, db: Database) -> None:
        self._provider = provider
        self._dies: tuple[str, str] | None = None
        self._at_commit = False
        event.listen(db.engine, "commit", self._commit)

    def die(self, call: str, when: str) -> None:
        """Die at the next call of a kind, `before_send` or `before_commit`."""
        self._dies = (call, when)

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._provider, name)
        if self._dies is None or name != self._dies[0]:
            return inner
        return lambda *given: self._fatal(inner, given)

    def _fatal(self, inner: Callable[..., Any], given: tuple[Any, ...]) -> Any:
        assert self._dies is not None
        (_, when), self._dies = self._dies, None
        if when == "before_send":
            raise Crash
        answer = inner(*given)
        self._at_commit = True
        return answer

    def _commit(self, conn: Connection) -> None:
        if self._at_commit:
            self._at_commit = False
            conn.invalidate()  # the database sees the connection of a dead process break off
            raise Crash


class Listener:
    """Where providers send their notifications."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, dict[str, str], bytes]] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                _, _, method, tenant_id = self.path.split("/")
                body = self.rfile.read(int(self.headers["content-length"]))
                listener.heard.append((method, tenant_id, dict(self.headers.items()), body))
                self.send_response(200)
                self.send_header("content-length", str(len(_THANKS[method])))
                self.end_headers()
                self.wfile.write(_THANKS[method])

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


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

    def books(self) -> dict[str, Any]:
        """Return what the provider has on its books, and what is under way there."""
        found: dict[str, Any] = self.doors.get("/orders").json()
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
        until = time.monotonic() + 20
        while self.site.books()["notifying"]:
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

    def cases(self) -> set[str]:
        """Return the kinds of all cases."""
        with self.db.read() as conn:
            return {case.kind for case in cases.cases(conn, self.tenant_id, limit=99)}

    def orders(self) -> list[dict[str, Any]]:
        """Return this school's orders as the provider has them."""
        orders: list[dict[str, Any]] = self.site.books()["orders"]
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
