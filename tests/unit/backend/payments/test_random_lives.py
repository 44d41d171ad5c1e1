"""
Random lives of payments, with providers that lose, delay, decline, and notify falsely: both sides agree in the end.

After every step the books say what the model says, nothing moved backwards, and no order was sent twice.
"""

import itertools
from contextlib import suppress
from datetime import datetime, timedelta
from random import Random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import Connection, delete

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
METHODS = ("unionpay", "wechat", "wallet")
_LIVES_MAX = 9
_NEW_ONES = ["ok", "ok", "ok", "decline", "lost_request", "lost_answer", "late_request", "waiting"]
_STEP_ONES = ["ok", "ok", "lost_request", "lost_answer", "late_request", "decline"]
_CLAIM_ONES = ["true", "true", "forged", "other amount", "waiting"]
_NEW, _STEPS, _CLAIMS = st.sampled_from(_NEW_ONES), st.sampled_from(_STEP_ONES), st.sampled_from(_CLAIM_ONES)
_NUMBERS = st.integers(0, _LIVES_MAX - 1)
_PURSES = {"subsidy": 150, "voucher": 60, "wallet": 400}


class PaymentsMachine(RuleBasedStateMachine):
    """A handful of authorizations, their refunds and a top-up, lived through in any order."""

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
        self.methods: list[str] = []
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

    def _name(self, number: int) -> tuple[str, str]:
        """Return one of the authorizations there are, and its method."""
        number %= len(self.methods)
        return f"auth_{number}", self.methods[number]

    @initialize(method=st.sampled_from(METHODS), behaviour=_NEW)
    def first(self, method: str, behaviour: str) -> None:
        """Begin with one authorization."""
        self.start(method, behaviour, is_sent=True)

    @rule(method=st.sampled_from(METHODS), behaviour=_NEW, is_sent=st.sampled_from([True, True, True, False]))
    def start(self, method: str, behaviour: str, is_sent: bool) -> None:
        """Open an authorization and ask the provider for it, or forget to; or do both once more with a known one."""
        if len(self.methods) < _LIVES_MAX:
            self.methods.append(method)
        name, method = self._name(len(self.methods) - 1)
        with self.database.write() as conn:
            service.open_authorization(
                conn,
                tenant_id=self.tenant_id,
                auth_id=name,
                water_session_id=name.replace("auth", "ws"),
                cardholder_id="ch_1",
                method=method,
                amount_minor=100,
                expires_at=NOW + timedelta(days=30),
                now=self.now,
            )
        if is_sent:
            self._behave(behaviour)
            code = WECHAT_CODE if method == "wechat" else ""
            service.perform(self.database, self.providers, self.tenant_id, name, clock=self.clock, payer_code=code)
            self._behave("ok")

    @rule(number=_NUMBERS, amount_minor=st.integers(0, 110))
    def capture(self, number: int, amount_minor: int) -> None:
        """Capture one if that is allowed."""
        name, _ = self._name(number)
        with suppress(BackendError), self.database.write() as conn:
            service.capture(
                conn,
                tenant_id=self.tenant_id,
                auth_id=name,
                capture_id=name.replace("auth", "cap"),
                amount_minor=amount_minor,
                now=self.now,
            )

    @rule(number=_NUMBERS)
    def void(self, number: int) -> None:
        """Void one if that is allowed."""
        name, _ = self._name(number)
        with suppress(BackendError), self.database.write() as conn:
            service.void(conn, tenant_id=self.tenant_id, auth_id=name, now=self.now)

    @rule(number=_NUMBERS, amount_minor=st.integers(1, 60))
    def refund(self, number: int, amount_minor: int) -> None:
        """Give some of one back if that is allowed."""
        name, _ = self._name(number)
        for refund_number in range(2):
            with suppress(BackendError), self.database.write() as conn:
                service.request_refund(
                    conn,
                    tenant_id=self.tenant_id,
                    refund_id=f"rf_{name}_{refund_number}",
                    auth_id=name,
                    amount_minor=amount_minor + refund_number,
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

    @rule(method=st.sampled_from(["unionpay", "wechat"]), number=_NUMBERS, claim=_CLAIMS)
    def notify(self, method: str, number: int, claim: str) -> None:
        """Let the provider say what became of an order or step, truly or not, and then something it said before."""
        provider = self.providers[method]
        orders = [(order, "") for tenant, order in provider.orders if tenant == self.tenant_id]
        known = orders + self._steps(provider)
        if not known:
            return
        order_id, operation_id = known[-1 - number % len(known)]
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
        self.messages.append((method, {"x-signature": "forged"} if claim == "forged" else headers, body))
        self._send(self.messages[-1])
        self._send(self.messages[number % len(self.messages)])

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
            for number in range(len(self.methods)):
                self.model.see(service.authorization(conn, self.tenant_id, f"auth_{number}"))
            for refund in service.refunds(conn, self.tenant_id, limit=99):
                self.model.see_refund(refund)
            for top_up in service.top_ups(conn, self.tenant_id, "ch_1", 9):
                self.model.see_top_up(top_up)
            wallet = service.wallet(conn, self.tenant_id, "ch_1")
            assert (wallet.posted_minor, wallet.held_minor) == (self.model.purses_minor(), self.model.held_minor())
            assert self._balance(conn, "water_revenue") == self.model.revenue_minor()
            assert dict(ledger.open_clearing(conn, self.tenant_id)) == self.model.deposits()
            assert ledger.sums(conn, self.tenant_id).balanced
        for provider in self.providers.values():
            sent = [order for verb, order in provider.calls if verb in ("authorize", "charge")]
            assert len(sent) == len(set(sent)), "an order is sent once"

    def _balance(self, conn: Connection, account_id: str) -> int:
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
            for number in range(len(self.methods)):
                self.void(number)
        self.the_books_say_what_the_model_says()
        with self.database.read() as conn:
            assert ledger.open_clearing(conn, self.tenant_id) == []
            assert ledger.sums(conn, self.tenant_id).debits_pending == 0
            assert ledger.verify(conn, self.tenant_id) == []
            found = {(case.kind, case.subject_id) for case in cases.cases(conn, self.tenant_id, limit=999)}
            for method, provider in self.providers.items():
                self._compare(conn, method, provider, found)

    def _compare(self, conn: Connection, method: str, provider: FakeProvider, found: set[tuple[str, str]]) -> None:
        """Assert that the provider owes what the books say, and that what is owed to payers is a case each."""
        given_up = ("void_refused", "unknown_abandoned")
        stuck = {subject.split(".")[0] for kind, subject in found if kind in given_up and ".undo" in subject}
        kept = sum(
            order.owed_minor
            for (tenant, name), order in provider.orders.items()
            if tenant == self.tenant_id and name not in stuck
        )
        assert kept == self._balance(conn, f"provider_receivable/{method}"), found
        refused = {subject for kind, subject in found if kind in (*given_up, "refund_refused", "amount_differs")}
        assert bool(self._balance(conn, f"refunds_payable/{method}")) <= bool(refused)
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
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=profile.max_examples // 15,
                    stateful_step_count=20,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )

    def test_long_lives_agree_too(self, database: Database) -> None:
        profile = settings.default
        assert profile is not None
        for seed in range(profile.max_examples // 12):
            machine = type("BoundMachine", (PaymentsMachine,), {"database": database, "tombstones": seed % 2 == 0})()
            try:
                _live(machine, Random(seed))
            except AssertionError as error:
                error.add_note(f"seed {seed}")
                raise


def _live(machine: PaymentsMachine, chance: Random) -> None:
    """Live through a long life in which more happens than goes wrong."""
    machine.start(chance.choice(METHODS), chance.choice(_NEW_ONES), is_sent=True)
    for number_of_act in range(45):
        number = chance.randrange(_LIVES_MAX)
        act = chance.choice(["start", "start", "finish", "finish", "refund", "work", "work", "work", "notify", "rest"])
        if act == "start":
            machine.start(chance.choice(METHODS), chance.choice(_NEW_ONES), is_sent=chance.random() < 0.9)
        elif act == "finish" and chance.random() < 0.75:
            machine.capture(number, chance.randrange(111))
        elif act == "finish":
            machine.void(number)
        elif act == "refund":
            machine.refund(number, chance.randrange(1, 60))
        elif act == "work":
            machine.work(chance.choice([1, 10, 60]), chance.choice(_STEP_ONES))
        elif act == "notify":
            machine.notify(chance.choice(["unionpay", "wechat"]), number, chance.choice(_CLAIM_ONES))
        else:
            chance.choice(
                [machine.arrive, machine.arrive, machine.night, lambda: machine.top_up(chance.choice(_NEW_ONES))]
            )()
        if number_of_act % 3 == 0:
            machine.the_books_say_what_the_model_says()
    machine.teardown()
