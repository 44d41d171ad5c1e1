"""
Random lives of payments, with providers that lose, delay, decline, and notify falsely: both sides agree in the end.

After every step the books say what the model says, nothing moved backwards, and no order was sent twice.
"""

import itertools
from contextlib import suppress
from datetime import datetime, timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import delete

from backend.db import Database
from backend.errors import BackendError
from backend.ledger import service as ledger
from backend.payments import cases, service
from backend.payments.models import operations
from backend.payments.service import State, TopUpState
from backend.tenants import service as tenants
from tests.factories import NOW
from tests.fakes.provider import FakeProvider
from tests.unit.backend.payments.books import ZONE, import_days
from tests.unit.backend.payments.conftest import WECHAT_CODE
from tests.unit.backend.payments.model import Model

_tenants = itertools.count()
METHODS = {"auth_0": "unionpay", "auth_1": "wechat", "auth_2": "wallet", "auth_3": "unionpay", "auth_4": "wechat"}
_NAMES = st.sampled_from(sorted(METHODS))
_EXTERNAL = st.sampled_from([name for name, method in METHODS.items() if method != "wallet"])
_NEW = st.sampled_from(["ok", "ok", "decline", "lost_request", "lost_answer", "late_request", "waiting"])
_STEPS = st.sampled_from(["ok", "lost_request", "lost_answer", "late_request", "decline"])
_CLAIMS = st.sampled_from(["true", "true", "forged", "other amount", "waiting"])
_PURSES = {"subsidy": 150, "voucher": 60, "wallet": 400}
_TOP_UP = "tu_request-0001"


class PaymentsMachine(RuleBasedStateMachine):
    """Five authorizations, their refunds and a top-up, lived through in any order."""

    database: Database
    tombstones = True

    def __init__(self) -> None:
        super().__init__()
        self.tenant_id = f"lives{next(_tenants)}"
        self.now: datetime = NOW
        self.providers = {
            method: FakeProvider(method, tombstones=self.tombstones, clock=self.clock)
            for method in ("unionpay", "wechat")
        }
        self.model = Model(sum(_PURSES.values()))
        self.messages: list[tuple[str, dict[str, str], bytes]] = []
        self.first_day = self.next_day = NOW.astimezone(ZONE).date()
        with self.database.write() as conn:
            conn.execute(delete(operations))  # the queue is everybody's: start with an empty one
            tenants.create(conn, tenants.Tenant(self.tenant_id, "大学", "University"))
            service.bind_payer(
                conn,
                tenant_id=self.tenant_id,
                cardholder_id="ch_1",
                method="unionpay",
                agreement="agr_1",
                now=self.now,
            )
            for purse, amount_minor in _PURSES.items():
                service.credit_wallet(
                    conn,
                    tenant_id=self.tenant_id,
                    cardholder_id="ch_1",
                    amount_minor=amount_minor,
                    transfer_id=f"opening-{purse}",
                    now=self.now,
                    purse=purse,
                )

    def clock(self) -> datetime:
        """Return the time it is."""
        return self.now

    def _behave(self, behaviour: str) -> None:
        for provider in self.providers.values():
            provider.forget_behaviours()
            if behaviour != "ok":
                provider.behave(behaviour)

    @rule(name=_NAMES, amount_minor=st.sampled_from([100, 100, 700]))
    def open(self, name: str, amount_minor: int) -> None:
        """Open an authorization, or the same again."""
        with suppress(BackendError), self.database.write() as conn:
            service.open_authorization(
                conn,
                tenant_id=self.tenant_id,
                auth_id=name,
                water_session_id=name.replace("auth", "ws"),
                cardholder_id="ch_1",
                method=METHODS[name],
                amount_minor=amount_minor,
                expires_at=NOW + timedelta(days=30),
                now=self.now,
            )

    @rule(name=_EXTERNAL, behaviour=_NEW)
    def perform(self, name: str, behaviour: str) -> None:
        """Ask the provider for it."""
        self._behave(behaviour)
        code = WECHAT_CODE if METHODS[name] == "wechat" else ""
        with suppress(BackendError):
            service.perform(self.database, self.providers, self.tenant_id, name, clock=self.clock, payer_code=code)
        self._behave("ok")

    @rule(name=_NAMES, amount_minor=st.integers(0, 110))
    def capture(self, name: str, amount_minor: int) -> None:
        """Capture it if that is allowed."""
        with suppress(BackendError), self.database.write() as conn:
            service.capture(
                conn,
                tenant_id=self.tenant_id,
                auth_id=name,
                capture_id=name.replace("auth", "cap"),
                amount_minor=amount_minor,
                now=self.now,
            )

    @rule(name=_NAMES)
    def void(self, name: str) -> None:
        """Void it if that is allowed."""
        with suppress(BackendError), self.database.write() as conn:
            service.void(conn, tenant_id=self.tenant_id, auth_id=name, now=self.now)

    @rule(name=_NAMES, number=st.integers(0, 2), amount_minor=st.integers(1, 60))
    def refund(self, name: str, number: int, amount_minor: int) -> None:
        """Give some of it back if that is allowed."""
        with suppress(BackendError), self.database.write() as conn:
            service.request_refund(
                conn,
                tenant_id=self.tenant_id,
                refund_id=f"rf_{name}_{number}",
                auth_id=name,
                amount_minor=amount_minor,
                reason="cold",
                now=self.now,
            )

    @rule(behaviour=_NEW)
    def top_up(self, behaviour: str) -> None:
        """Top the wallet up, or the same again."""
        self._behave(behaviour)
        service.top_up(
            self.database, self.providers, self.tenant_id, "ch_1", "unionpay", 500, "request-0001", self.clock
        )
        self._behave("ok")

    @rule(seconds=st.sampled_from([1, 10, 60]), behaviour=_STEPS)
    def work(self, seconds: int, behaviour: str) -> None:
        """Let time pass and work the queue off, one call of each provider perhaps going wrong."""
        self.now += timedelta(seconds=seconds)
        self._behave(behaviour)
        service.resolve_due(self.database, self.providers, clock=self.clock, limit=50)
        self._behave("ok")

    @rule()
    def arrive(self) -> None:
        """Let requests that were under way arrive, and payers confirm."""
        for provider in self.providers.values():
            provider.deliver_late()
            provider.confirm()

    @rule(method=st.sampled_from(["unionpay", "wechat"]), data=st.data(), claim=_CLAIMS)
    def notify(self, method: str, data: st.DataObject, claim: str) -> None:
        """Let the provider say what became of an order or step, truly or not, and keep what it said."""
        provider = self.providers[method]
        steps = [(order, step) for order, step in self._steps(provider)]
        known = [(order, "") for tenant, order in provider.orders if tenant == self.tenant_id] + steps
        if not known:
            return
        order_id, operation_id = data.draw(st.sampled_from(sorted(known)))
        headers, body = provider.message(
            self.tenant_id,
            order_id,
            notify_id=f"n{len(self.messages)}",
            operation_id=operation_id,
            amount_minor=99_999 if claim == "other amount" else None,
            status="waiting" if claim == "waiting" else "",
        )
        if claim == "other amount" and b"99999" not in body:
            return
        if claim == "forged":
            headers = {"x-signature": "forged"}
        self.messages.append((method, headers, body))
        self._send(self.messages[-1])

    @rule(data=st.data())
    def notify_again(self, data: st.DataObject) -> None:
        """Let something the provider once said arrive again, whatever has become of it since."""
        if self.messages:
            self._send(data.draw(st.sampled_from(self.messages)))

    def _steps(self, provider: FakeProvider) -> list[tuple[str, str]]:
        names = [operation_id for tenant, operation_id in provider.steps if tenant == self.tenant_id]
        orders = {
            name: name.split(".")[0].replace("cap_", "auth_")
            for name in names
            if name.startswith(("auth_", "cap_", "tu_"))
        }
        return [(order, name) for name, order in orders.items() if (self.tenant_id, order) in provider.orders]

    def _send(self, message: tuple[str, dict[str, str], bytes]) -> None:
        method, headers, body = message
        service.take_notification(
            self.database,
            self.providers,
            method=method,
            tenant_id=self.tenant_id,
            headers=headers,
            body=body,
            clock=self.clock,
        )

    @rule()
    def night(self) -> None:
        """Let a day pass; what was under way has arrived, and the day's statements are read."""
        for provider in self.providers.values():
            provider.deliver_late()
        self.now += timedelta(days=1)
        self._read_statements()

    def _read_statements(self) -> None:
        today = self.now.astimezone(ZONE).date()
        days = [self.next_day + timedelta(days=number) for number in range((today - self.next_day).days)]
        self.next_day = today
        for provider in self.providers.values():
            import_days(self.database, provider, days, self.tenant_id)
        service.resolve_from_statements(self.database, self.tenant_id, clock=self.clock)

    @invariant()
    def the_books_say_what_the_model_says(self) -> None:
        """What was seen may follow from what was seen before, and the ledger agrees with it."""
        with self.database.read() as conn:
            for name in METHODS:
                with suppress(service.AuthorizationUnknown):
                    self.model.see(service.authorization(conn, self.tenant_id, name))
            for refund in service.refunds(conn, self.tenant_id, limit=99):
                self.model.see_refund(refund)
            for top_up in service.top_ups(conn, self.tenant_id, "ch_1", 9):
                self.model.see_top_up(top_up)
            wallet = service.wallet(conn, self.tenant_id, "ch_1")
            assert (wallet.posted_minor, wallet.held_minor) == (self.model.purses_minor(), self.model.held_minor())
            assert self._balance("water_revenue") == self.model.revenue_minor()
            assert dict(ledger.open_clearing(conn, self.tenant_id)) == self.model.deposits()
            assert ledger.sums(conn, self.tenant_id).balanced
        for provider in self.providers.values():
            sent = [order for verb, order in provider.calls if verb in ("authorize", "charge")]
            assert len(sent) == len(set(sent)), "an order is sent once"

    def _balance(self, account_id: str) -> int:
        with self.database.read() as conn:
            try:
                return ledger.balances(conn, self.tenant_id, account_id).posted_minor
            except ledger.AccountUnknown:
                return 0

    def teardown(self) -> None:
        """Let everything arrive and settle, release what is still held, and compare both sides."""
        for _ in range(4):
            self.arrive()
            for seconds in (5, 60, 60, 700, 4_000, 90_000):
                self.now += timedelta(seconds=seconds)
                for _round in range(4):
                    service.resolve_due(self.database, self.providers, clock=self.clock, limit=50)
            self._read_statements()
            for name, each in self.model.authorizations.items():
                if each.state is not State.CAPTURED:
                    self.void(name)
        self.the_books_say_what_the_model_says()
        with self.database.read() as conn:
            assert ledger.open_clearing(conn, self.tenant_id) == []
            assert ledger.sums(conn, self.tenant_id).debits_pending == 0
            assert ledger.verify(conn, self.tenant_id) == []
            found = {(case.kind, case.subject_id) for case in cases.cases(conn, self.tenant_id, limit=999)}
        for method, provider in self.providers.items():
            self._compare(method, provider, found)

    def _compare(self, method: str, provider: FakeProvider, found: set[tuple[str, str]]) -> None:
        """Assert that the provider owes what the books say, and that what is owed to payers is a case each."""
        stuck = {subject.split(".")[0] for kind, subject in found if kind == "void_refused" and ".undo" in subject}
        kept = sum(
            order.owed_minor
            for (tenant, name), order in provider.orders.items()
            if tenant == self.tenant_id and name not in stuck
        )
        assert kept == self._balance(f"provider_receivable/{method}"), found
        refused = {subject for kind, subject in found if kind in ("refund_refused", "void_refused", "amount_differs")}
        assert bool(self._balance(f"refunds_payable/{method}")) <= bool(refused)
        for name, each in self.model.authorizations.items():
            assert each.state in (State.DECLINED, State.VOIDED, State.CAPTURED), each
            theirs = provider.orders.get((self.tenant_id, name))
            if each.method == method and each.state is State.CAPTURED and each.captured_minor:
                assert theirs is not None
                assert theirs.captured_minor in (each.captured_minor, 0)
        for top_up in self.model.top_ups.values():
            assert top_up.state is not TopUpState.CHECKING


class TestRandomLives:
    def test_both_sides_agree_in_the_end(self, database: Database) -> None:
        for tombstones in (True, False):
            machine = type("BoundMachine", (PaymentsMachine,), {"database": database, "tombstones": tombstones})
            profile = settings.default
            assert profile is not None
            run_state_machine_as_test(  # type: ignore[no-untyped-call]
                machine,
                settings=settings(
                    max_examples=profile.max_examples // 7,
                    stateful_step_count=25,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
