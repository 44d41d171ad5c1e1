"""The provider's side of a running school: what it is told to do, what it has on its books, and whether ours agree."""

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from backend.db import Database, open_database
from backend.ledger import service as ledger
from backend.payments import queue_repository
from backend.payments.capabilities import EXTERNAL_METHODS
from backend.payments.order_numbers import order_no
from backend.payments.types import Operation
from firmware_sim.broker import listening
from firmware_sim.demo import passwords
from firmware_sim.plan import TENANT_ID
from tests.e2e.journeys.school import School, eventually
from tests.patience import PATIENCE_S


@dataclass(slots=True)
class Books:
    """Provider and ledger of one school, looked at from outside."""

    school: School
    doors: httpx.Client
    db: Database = field(init=False)

    def __post_init__(self) -> None:
        self.db = open_database(self.school.stack.database_url, pool_size=1)

    # -- the provider

    def script(self, verb: str, behaviour: str, *, match: str = "next", **more: Any) -> None:
        """Say how the provider treats the next request of a kind, or the next about an order."""
        answer = self.doors.post("/script", json={"match": match, "verb": verb, "behaviour": behaviour, **more})
        assert answer.status_code == 200, answer.text

    def kill_provider(self) -> None:
        """Let the provider's process die."""
        self.school.stack.parts["provider"].kill()

    def restart_provider(self) -> None:
        """Let the provider come back with what it had on its books."""
        self.school.restart("provider")
        eventually("the provider's port", lambda: listening(self.school.stack.provider_port))

    def move_provider_to(self, now: datetime) -> None:
        """Let it be another time at the provider."""
        assert self.doors.post("/clock", json={"now": now.isoformat()}).status_code == 200

    def orders(self) -> list[dict[str, Any]]:
        """Return every order the provider has."""
        found: list[dict[str, Any]] = self.doors.get("/orders").json()["orders"]
        return found

    def in_flight(self) -> int:
        """Return how many requests the provider is working at."""
        return int(self.doors.get("/orders").json()["in_flight"])

    def order(self, our_id: str) -> dict[str, Any]:
        """Return the provider's order of an authorization or a top-up; empty when it has none."""
        return next((order for order in self.orders() if order["order_no"] == order_no(our_id)), {})

    def notify(self, our_id: str, behaviour: str) -> list[dict[str, Any]]:
        """Send an order's notifications now, again or spoilt; return what became of each."""
        answer = self.doors.post("/notify", json={"order_no": our_id, "behaviour": behaviour}, timeout=PATIENCE_S)
        assert answer.status_code == 200, answer.text
        sent: list[dict[str, Any]] = answer.json()["sent"]
        return sent

    # -- ours

    def operation(self, operation_id: str) -> Operation | None:
        """Return what is being said to or asked of the provider under an id."""
        with self.db.read() as conn:
            return queue_repository.find(conn, TENANT_ID, operation_id)

    def balance(self, account_id: str) -> int:
        """Return an account's posted balance; one never opened has nothing."""
        with self.db.read() as conn:
            try:
                return ledger.balances(conn, TENANT_ID, account_id).posted_minor
            except ledger.AccountUnknown:
                return 0

    def cases(self, kind: str) -> list[dict[str, Any]]:
        """Return the cases of a kind, newest first."""
        found: list[dict[str, Any]] = self.school.get(f"/money/cases?kind={kind}", "finance")["items"]
        return found

    def case(self, kind: str, subject_id: str) -> dict[str, Any]:
        """Return the case of something, once it is open."""

        def look() -> dict[str, Any] | None:
            return next((case for case in self.cases(kind) if case["subject_id"] == subject_id), None)

        found = eventually(f"a case {kind} of {subject_id}", look)
        assert found is not None
        return found

    def agree(self, *, within_s: float = PATIENCE_S) -> None:
        """Return once nothing is open any more and the two sides tell the same to the fen; fail when they do not."""
        last: list[str] = []

        def look() -> bool:
            last[:] = self._differences()
            return not last

        try:
            eventually("provider and ledger agree", look, within_s=within_s)
        except AssertionError as error:
            raise AssertionError(f"{error}: {last}") from error

    def _differences(self) -> list[str]:
        found, orders = [], self.orders()
        for order in orders:
            captures = [each for each in order["operations"] if each["kind"] == "capture" and each["status"] == "done"]
            if order["times_taken"] > 1 or len(captures) > 1:
                found.append(f"taken twice: {order}")
        for method in EXTERNAL_METHODS:
            owed = sum(_net_minor(order) for order in orders if order["brand"] == method)
            booked = self.balance(f"provider_receivable/{method}")
            if owed != booked:
                found.append(f"{method} has {owed}, our books {booked}")
        with self.db.read() as conn:
            sums = ledger.sums(conn, TENANT_ID)
            if not sums.balanced or sums.debits_pending:
                found.append(f"{sums}")
            found += [f"open clearing: {reference} {left}" for reference, left in ledger.open_clearing(conn, TENANT_ID)]
            found += [str(each) for each in ledger.verify(conn, TENANT_ID)]
        return found


def _net_minor(order: Mapping[str, Any]) -> int:
    taken: int = order["captured_minor"]
    if order["kind"] == "charge":
        taken = order["amount_minor"] if order["times_taken"] and order["status"] != "voided" else 0
    return taken - int(order["refunded_minor"])


@contextmanager
def books_of(school: School) -> Iterator[Books]:
    """Yield the books of a running school."""
    with httpx.Client(base_url=f"http://127.0.0.1:{school.stack.provider_port}", timeout=PATIENCE_S) as doors:
        books = Books(school, doors)
        try:
            yield books
        finally:
            books.db.engine.dispose()


class Phone:
    """A signed-in person's browser, in English, without its scripts."""

    def __init__(self, school: School, login: str) -> None:
        self._http = httpx.Client(
            base_url=school.stack.base_url, timeout=PATIENCE_S, follow_redirects=True, headers={"accept-language": "en"}
        )
        sent = {"login": login, "password": passwords(school.stack.demo)[login], "tenant": TENANT_ID, "next": "/wallet"}
        assert "Wallet" in self.send("/login", self.page("/login"), **sent)

    def close(self) -> None:
        """Close the browser."""
        self._http.close()

    def page(self, path: str) -> str:
        """Return a page."""
        answer = self._http.get(path)
        assert answer.is_success, answer.text
        return answer.text

    def send(self, path: str, page: str, **fields: str) -> str:
        """Return what follows on a form of a page."""
        form = {"form_token": _field(page, "form_token")} | fields
        answer = self._http.post(path, data=form)
        assert answer.is_success, answer.text
        return answer.text

    def top_up(self, method: str, amount_minor: int, payer_code: str = "") -> str:
        """Send the form of the wallet and return our id of the top-up."""
        page = self.page("/wallet")
        request_id = _field(page, "top_up_id")
        fields = {"method": method, "amount": str(amount_minor), "top_up_id": request_id, "payer_code": payer_code}
        self.send("/wallet/top-up", page, **fields)
        return f"tu_{request_id}"


def _field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', page)
    assert found is not None, f"no {name} on the page"
    return found.group(1)


def request_id() -> str:
    """Return a fresh id for a request of the API."""
    return secrets.token_hex(10)


def now() -> datetime:
    """Return the time it is."""
    return datetime.now(UTC)
