"""Random lives of payments with a provider that loses, delays and declines: in the end both sides agree."""

import itertools
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import delete

from backend.db import Database
from backend.errors import BackendError
from backend.ledger import service as ledger
from backend.payments import service
from backend.payments.models import operations
from backend.payments.service import Authorization, State, TopUpState
from tests.factories import NOW
from tests.fakes.provider import FakeProvider

_tenants = itertools.count()
_BEHAVIOURS = st.sampled_from(["ok", "ok", "decline", "lost_request", "lost_answer", "late_request"])
_NUMBERS = st.integers(0, 2)


class PaymentsMachine(RuleBasedStateMachine):
    """Three authorizations and a top-up, lived through in any order."""

    database: Database
    tombstones = True

    def __init__(self) -> None:
        super().__init__()
        self.tenant_id = f"lives{next(_tenants)}"
        self.provider = FakeProvider(tombstones=self.tombstones)
        self.now = NOW
        self.opened: set[str] = set()
        with self.database.write() as conn:  # the queue is everybody's: start with an empty one
            conn.execute(delete(operations))

    def clock(self) -> object:
        """Return the time it is."""
        return self.now

    @property
    def providers(self) -> dict[str, FakeProvider]:
        """Return the fake under its method."""
        return {"unionpay": self.provider}

    @rule(number=_NUMBERS)
    def open(self, number: int) -> None:
        """Open an authorization, or the same again."""
        self.opened.add(f"auth_{number}")
        with self.database.write() as conn:
            service.open_authorization(
                conn,
                tenant_id=self.tenant_id,
                auth_id=f"auth_{number}",
                water_session_id=f"ws_{number}",
                cardholder_id="ch_1",
                method="unionpay",
                amount_minor=100,
                expires_at=NOW + timedelta(days=30),
                now=self.now,
            )

    @rule(number=_NUMBERS, behaviour=_BEHAVIOURS)
    def perform(self, number: int, behaviour: str) -> None:
        """Ask the provider for it."""
        if f"auth_{number}" in self.opened:
            self.provider._behaviours.clear()
            self.provider.behave(behaviour)
            service.perform(self.database, self.providers, self.tenant_id, f"auth_{number}", clock=self.clock)  # type: ignore[arg-type]
            self.provider._behaviours.clear()

    @rule(number=_NUMBERS, amount_minor=st.integers(0, 110))
    def capture(self, number: int, amount_minor: int) -> None:
        """Capture it if that is allowed."""
        try:
            with self.database.write() as conn:
                service.capture(
                    conn,
                    tenant_id=self.tenant_id,
                    auth_id=f"auth_{number}",
                    capture_id=f"cap_{number}",
                    amount_minor=amount_minor,
                    now=self.now,
                )
        except BackendError:
            pass

    @rule(number=_NUMBERS)
    def void(self, number: int) -> None:
        """Void it if that is allowed."""
        try:
            with self.database.write() as conn:
                service.void(conn, tenant_id=self.tenant_id, auth_id=f"auth_{number}", now=self.now)
        except BackendError:
            pass

    @rule(behaviour=_BEHAVIOURS)
    def top_up(self, behaviour: str) -> None:
        """Top the wallet up, or the same again."""
        self.provider._behaviours.clear()
        self.provider.behave(behaviour)
        service.top_up(
            self.database,
            self.providers,
            self.tenant_id,
            "ch_1",
            "unionpay",
            500,
            "request-0001",
            self.clock,  # type: ignore[arg-type]
        )
        self.provider._behaviours.clear()

    @rule(seconds=st.sampled_from([1, 10, 60]), lost=st.booleans())
    def work(self, seconds: int, lost: bool) -> None:
        """Let time pass and work the queue off, the first answer perhaps lost."""
        self.now += timedelta(seconds=seconds)
        if lost:
            self.provider.behave("lost_answer")
        service.resolve_due(self.database, self.providers, clock=self.clock, limit=50)  # type: ignore[arg-type]
        self.provider._behaviours.clear()

    @rule()
    def deliver_late(self) -> None:
        """Let requests that were under way arrive."""
        self.provider.deliver_late()

    @invariant()
    def the_books_balance(self) -> None:
        """Debits equal credits at every moment."""
        with self.database.read() as conn:
            assert ledger.sums(conn, self.tenant_id).balanced

    def teardown(self) -> None:
        """Let everything arrive and settle, release what is still held, and compare both sides."""
        for _ in range(4):
            self.provider.deliver_late()
            for seconds in (5, 60, 60, 700, 4_000, 90_000):
                self.now += timedelta(seconds=seconds)
                for _round in range(4):
                    service.resolve_due(self.database, self.providers, clock=self.clock, limit=50)  # type: ignore[arg-type]
            for name in self.opened:
                with self.database.write() as conn:
                    if service.authorization(conn, self.tenant_id, name).state is State.HELD:
                        service.void(conn, tenant_id=self.tenant_id, auth_id=name, now=self.now)
        with self.database.read() as conn:
            for name in self.opened:
                self._compare(service.authorization(conn, self.tenant_id, name))
            self._compare_top_up()
            assert ledger.open_clearing(conn, self.tenant_id) == []
            assert ledger.sums(conn, self.tenant_id).debits_pending == 0
            assert ledger.verify(conn, self.tenant_id) == []

    def _compare(self, ours: Authorization) -> None:
        theirs = self.provider.orders.get((self.tenant_id, ours.auth_id))
        assert ours.state in (State.DECLINED, State.VOIDED, State.CAPTURED), ours
        if ours.captured_minor:
            assert theirs is not None
            assert (theirs.status, theirs.captured_minor) == ("captured", ours.captured_minor)
        elif theirs is not None:
            assert theirs.status in ("voided", "declined"), (ours, theirs)

    def _compare_top_up(self) -> None:
        with self.database.read() as conn:
            wallet = service.wallet(conn, self.tenant_id, "ch_1")
            found = service.top_ups(conn, self.tenant_id, "ch_1", 9)
        theirs = self.provider.orders.get((self.tenant_id, "tu_request-0001"))
        charged = theirs is not None and theirs.status == "charged"
        assert charged is (wallet.posted_minor == 500) is any(row.state is TopUpState.SUCCEEDED for row in found)
        assert all(row.state is not TopUpState.CHECKING for row in found)


class TestRandomLives:
    def test_both_sides_agree_in_the_end(self, database: Database) -> None:
        for tombstones in (True, False):
            machine = type("BoundMachine", (PaymentsMachine,), {"database": database, "tombstones": tombstones})
            run_state_machine_as_test(  # type: ignore[no-untyped-call]
                machine,
                settings=settings(
                    max_examples=settings.default.max_examples // 7,
                    stateful_step_count=25,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
