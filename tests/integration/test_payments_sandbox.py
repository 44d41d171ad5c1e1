"""
The sandbox provider as a process, over HTTP: every way a call can get lost, and what the books say in the end.

The database's clock is moved by hand; the wire's time-outs are real and short.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select

from backend.db import Database
from backend.ledger import service as ledger
from backend.payments import providers, service
from backend.payments.models import operations
from backend.payments.port import Declined, Provider, Succeeded, Unknown
from backend.payments.sandbox import SandboxProvider
from backend.payments.service import State, TopUpState
from tests.factories import NOW
from tests.fakes.sandbox_process import Sandbox

_TIMEOUT_MS = 250


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Yield a running sandbox provider."""
    running = Sandbox(tmp_path_factory.mktemp("provider"))
    running.start()
    yield running
    running.kill()


@dataclass
class World:
    """A database, the real adapter, and a clock moved by hand."""

    db: Database
    sandbox: Sandbox
    tenant_id: str
    now: datetime = NOW
    adapters: dict[str, Provider] = field(default_factory=dict)

    def __post_init__(self) -> None:
        built = providers.build(self.sandbox.url, self.sandbox.folder / "secrets", timeout_ms=_TIMEOUT_MS)
        self.adapters = dict(built)

    def clock(self) -> datetime:
        """Return the time it is."""
        return self.now

    def authorize(self, auth_id: str, method: str = "unionpay") -> service.Authorization:
        """Open an authorization and ask for it."""
        with self.db.write() as conn:
            service.open_authorization(
                conn,
                tenant_id=self.tenant_id,
                auth_id=auth_id,
                water_session_id=f"ws_{auth_id}",
                cardholder_id="ch_1",
                method=method,
                amount_minor=300,
                expires_at=NOW + timedelta(days=2),
                now=self.now,
            )
        return service.perform(self.db, self.adapters, self.tenant_id, auth_id, clock=self.clock)

    def auth(self, auth_id: str) -> service.Authorization:
        """Return an authorization as it is."""
        with self.db.read() as conn:
            return service.authorization(conn, self.tenant_id, auth_id)

    def capture(self, auth_id: str, amount_minor: int) -> None:
        """Capture part of a hold."""
        with self.db.write() as conn:
            service.capture(
                conn,
                tenant_id=self.tenant_id,
                auth_id=auth_id,
                capture_id=f"cap_{auth_id}",
                amount_minor=amount_minor,
                now=self.now,
            )

    def resolve(self, workers: int = 1) -> None:
        """Work off what is due, with one or several workers at once."""
        with ThreadPoolExecutor(workers) as pool:
            list(
                pool.map(
                    lambda _: service.resolve_due(self.db, self.adapters, clock=self.clock, limit=50), range(workers)
                )
            )

    def settle(self, seconds: int, workers: int = 1) -> None:
        """Let time pass from one due operation to the next, working each off."""
        end = self.now + timedelta(seconds=seconds)
        for _ in range(100):
            with self.db.read() as conn:
                due = conn.scalar(select(func.min(operations.c.next_at)).where(operations.c.status == "pending"))
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            self.resolve(workers)
        self.now = end

    def balance(self, account_id: str) -> int:
        """Return an account's posted balance."""
        with self.db.read() as conn:
            try:
                return ledger.balances(conn, self.tenant_id, account_id).posted_minor
            except ledger.AccountUnknown:
                return 0

    def assert_books(self) -> None:
        """Assert that nothing is pending or left in clearing and that the sums can be counted again."""
        with self.db.read() as conn:
            sums = ledger.sums(conn, self.tenant_id)
            assert sums.balanced
            assert sums.debits_pending == 0
            assert ledger.open_clearing(conn, self.tenant_id) == []
            assert ledger.verify(conn, self.tenant_id) == []


@pytest.fixture
def world(database: Database, sandbox: Sandbox, tmp_path: Path) -> World:
    """Return a world whose tenant no other test uses."""
    return World(database, sandbox, f"t-{tmp_path.name}"[:60])


#: behaviour, reason to decline, whether the late order arrives before we ask → first state, last state, provider's end
MATRIX = [
    ("timeout_before", "", "never", State.UNKNOWN, State.DECLINED, ("voided", 0)),
    ("delay", "", "before we ask", State.UNKNOWN, State.HELD, ("held", 1)),
    ("delay", "", "after we gave up", State.UNKNOWN, State.DECLINED, ("voided", 0)),
    ("timeout_after", "", "at once", State.UNKNOWN, State.HELD, ("held", 1)),
    ("timeout_after", "do_not_honor", "at once", State.UNKNOWN, State.DECLINED, ("declined", 0)),
    ("duplicate", "", "at once", State.HELD, State.HELD, ("held", 1)),
    ("decline", "", "at once", State.DECLINED, State.DECLINED, ("declined", 0)),
]


class TestLostAuthorizations:
    @pytest.mark.parametrize("workers", [1, 2])
    @pytest.mark.parametrize(("behaviour", "reason", "arrives", "first", "last", "at_provider"), MATRIX)
    def test_at_most_one_hold_and_the_right_end(
        self,
        world: World,
        behaviour: str,
        reason: str,
        arrives: str,
        first: State,
        last: State,
        at_provider: tuple[str, int],
        workers: int,
    ) -> None:
        auth_id = f"auth_{world.tenant_id}"
        seconds = 3 if arrives == "after we gave up" else 1
        world.sandbox.script(auth_id, behaviour, seconds=seconds, **({"reason": reason} if reason else {}))

        assert world.authorize(auth_id).state is first
        if arrives == "before we ask":
            world.sandbox.wait_until_idle()
        world.settle(120, workers)
        world.sandbox.wait_until_idle()
        found = world.auth(auth_id)
        assert found.state is last
        order = world.sandbox.order(auth_id)
        assert (order["status"], order["times_taken"]) == at_provider
        if last is State.HELD:
            world.capture(auth_id, 120)
        world.settle(86_400 * 2, workers)
        assert world.balance("water_revenue") == (120 if last is State.HELD else 0)
        assert world.sandbox.order(auth_id)["captured_minor"] == (120 if last is State.HELD else 0)
        world.assert_books()


class TestLostCaptures:
    @pytest.mark.parametrize("behaviour", ["timeout_before", "timeout_after", "delay", "duplicate"])
    def test_money_is_taken_once(self, world: World, behaviour: str) -> None:
        auth_id = f"auth_{world.tenant_id}"
        assert world.authorize(auth_id, "alipay").state is State.HELD
        world.capture(auth_id, 120)
        world.sandbox.script(auth_id, behaviour, verb="capture")
        world.settle(3_600)

        order = world.sandbox.order(auth_id)
        assert (order["brand"], order["status"], order["captured_minor"]) == ("alipay", "captured", 120)
        with world.db.read() as conn:
            assert service.unknowns(conn, world.tenant_id) == []
        world.assert_books()


class TestLostVoids:
    @pytest.mark.parametrize("behaviour", ["timeout_before", "timeout_after", "delay", "duplicate"])
    def test_the_hold_is_released(self, world: World, behaviour: str) -> None:
        auth_id = f"auth_{world.tenant_id}"
        world.authorize(auth_id)
        with world.db.write() as conn:
            service.void(conn, tenant_id=world.tenant_id, auth_id=auth_id, now=world.now)
        world.sandbox.script(auth_id, behaviour, verb="void")
        world.settle(3_600)

        assert world.sandbox.order(auth_id)["status"] == "voided"
        with world.db.read() as conn:
            assert service.unknowns(conn, world.tenant_id) == []
            assert service.late_successes(conn, world.tenant_id) == 0
        world.assert_books()


class TestLostTopUps:
    @pytest.mark.parametrize(
        ("behaviour", "last", "credited"),
        [
            ("timeout_before", TopUpState.DECLINED, 0),
            ("timeout_after", TopUpState.SUCCEEDED, 2_000),
            ("duplicate", TopUpState.SUCCEEDED, 2_000),
            ("decline", TopUpState.DECLINED, 0),
        ],
    )
    def test_the_wallet_is_credited_once(self, world: World, behaviour: str, last: TopUpState, credited: int) -> None:
        request_id = f"request-{world.tenant_id}"[:64]
        world.sandbox.script(f"tu_{request_id}", behaviour)
        for _ in range(2):
            service.top_up(world.db, world.adapters, world.tenant_id, "ch_1", "alipay", 2_000, request_id, world.clock)
        world.settle(3_600)

        with world.db.read() as conn:
            assert service.find_top_up(conn, world.tenant_id, f"tu_{request_id}").state is last
        assert world.balance("cardholder_wallet/ch_1") == credited
        assert world.sandbox.order(f"tu_{request_id}")["times_taken"] == int(credited > 0)
        world.assert_books()


class TestProviderDown:
    def test_a_new_order_is_declined_and_an_old_one_survives_the_restart(
        self, database: Database, tmp_path: Path
    ) -> None:
        sandbox = Sandbox(tmp_path)
        sandbox.start()
        try:
            world = World(database, sandbox, "gxu")
            sandbox.script("auth_lost", "timeout_after", seconds=30)
            assert world.authorize("auth_lost").state is State.UNKNOWN
            assert world.authorize("auth_held").state is State.HELD
            world.capture("auth_held", 120)
            sandbox.kill()

            found = world.authorize("auth_down")
            assert (found.state, found.reason) == (State.DECLINED, "provider_unreachable")
            world.settle(300)
            assert world.auth("auth_lost").state is State.UNKNOWN
            sandbox.start()
            world.settle(900)
            assert world.auth("auth_lost").state is State.HELD
            assert sandbox.order("auth_held")["captured_minor"] == 120
        finally:
            sandbox.kill()


class TestSignatures:
    def test_an_answer_of_somebody_else_is_unknown(self, sandbox: Sandbox) -> None:
        stranger = SandboxProvider("unionpay", url=sandbox.url, key=b"x" * 32, timeout_ms=2_000)

        assert stranger.charge(merchant_id="m", order_id="stranger", amount_minor=5) == Unknown("unsigned_answer")
        assert sandbox.order("stranger") == {}

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"x-timestamp": "1", "x-signature": "00"},
            {"x-timestamp": "now", "x-signature": "00"},
            {"x-timestamp": str(int(time.time())), "x-signature": "00"},
        ],
    )
    def test_an_unsigned_request_is_refused(self, sandbox: Sandbox, headers: dict[str, str]) -> None:
        body = b'{"merchant_id": "m", "order_id": "unsigned", "amount_minor": 5}'
        answer = httpx.post(f"{sandbox.url}/v1/unionpay/charge", content=body, headers=headers, trust_env=False)

        assert answer.status_code == 401
        assert sandbox.order("unsigned") == {}

    def test_a_signed_answer_is_believed(self, sandbox: Sandbox) -> None:
        adapter = providers.build(sandbox.url, sandbox.folder / "secrets")["alipay"]

        charged = adapter.charge(merchant_id="m", order_id="signed", amount_minor=5)
        assert charged == Succeeded("charged", 5, charged.reference if isinstance(charged, Succeeded) else "")
        assert adapter.query(merchant_id="m", order_id="nothing") == Declined("not_found")
        assert adapter.charge(merchant_id="m", order_id="signed", amount_minor=6) == Declined("order_differs")
        assert adapter.charge(merchant_id="m", order_id="zero", amount_minor=0) == Unknown("http_400")
