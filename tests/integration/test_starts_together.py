"""Showers started at the same moment share a commit; the books are those of one start after another."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, select
from sqlalchemy.exc import OperationalError

from backend.db import Database
from backend.ledger import service as ledger
from backend.ledger.rules import TransferKind, TransferRequest
from backend.outbox.models import commands
from backend.payments import service as payments
from backend.payments.port import Declined
from backend.water_sessions import service as water_sessions
from backend.water_sessions.context import Context
from backend.water_sessions.machine import State
from backend.water_sessions.models import water_sessions as sessions_table
from backend.water_sessions.types import StartRequest, WaterSession
from tests.factories import NOW
from tests.fakes.steady_provider import SteadyProvider
from tests.fakes.wide_school import START_MINOR, TENANT, fill_school, start_of
from tests.patience import PATIENCE_S

_ROOT = Path(__file__).parents[2]


class Morning:
    """A wide school and callers who come while somebody else has the tenant's turn."""

    def __init__(self, database: Database, secrets_dir: Path, count: int) -> None:
        self.unionpay = SteadyProvider("unionpay")
        self.ctx = Context(
            db=database, clock=lambda: NOW, secrets_dir=secrets_dir, providers={"unionpay": self.unionpay}
        )
        self.pool = ThreadPoolExecutor(40)
        self.commits = 0
        fill_school(database, count, NOW)
        event.listen(database.engine, "commit", self._committed)

    def _committed(self, _conn: Connection) -> None:
        self.commits += 1

    @contextmanager
    def busy(self, work: Callable[[Connection], object] = lambda _conn: None) -> Iterator[Future[Any]]:
        """Let the tenant's turn be taken until this block ends, and yield the promise of who has it."""
        begun, gate = threading.Event(), threading.Event()

        def hold(conn: Connection) -> object:
            begun.set()
            assert gate.wait(PATIENCE_S)
            return work(conn)

        promise = self.pool.submit(lambda: payments.in_turn(self.ctx.db, TENANT, hold))
        assert begun.wait(PATIENCE_S)
        try:
            yield promise
        finally:
            gate.set()

    def queued(self, call: Callable[[], object]) -> Future[Any]:
        """Have something called by another thread, and return its promise when it waits for the turn."""
        queue = self.ctx.db._queues._waiting[TENANT]
        count, pause = len(queue), threading.Event()
        promise = self.pool.submit(call)
        for _ in range(int(PATIENCE_S * 1_000)):
            if len(queue) > count:
                return promise
            pause.wait(0.001)
        raise AssertionError("it never came to wait")

    def start(self, number: int) -> WaterSession:
        """Start the shower of a number."""
        return water_sessions.request_start(self.ctx, start_of(number))

    def books(self) -> list[tuple[Any, ...]]:
        """Return what each person has and holds, each session and its command: without what is minted at random."""
        with self.ctx.db.read() as conn:
            assert ledger.sums(conn, TENANT).balanced
            assert ledger.verify(conn, TENANT) == []
            assert ledger.open_clearing(conn, TENANT) == []
            found: list[tuple[Any, ...]] = []
            for each in sorted(water_sessions.live(conn, TENANT), key=lambda one: one.request_id):
                wallet = payments.wallet(conn, TENANT, each.cardholder_id)
                auth = payments.authorization(conn, TENANT, each.auth_id)
                sent = select(func.count()).select_from(commands).where(commands.c.cmd_id == each.open_cmd_id)
                found.append(
                    (each.request_id, each.state, each.hold_minor, wallet, auth.state, conn.execute(sent).scalar_one())
                )
            return found

    def count(self) -> int:
        """Return how many sessions are stored, whatever became of them."""
        with self.ctx.db.read() as conn:
            return int(conn.execute(select(func.count()).select_from(sessions_table)).scalar_one())


@pytest.fixture
def morning(database: Database, tmp_path: Path) -> Iterator[Morning]:
    """Return a school of twelve outlets."""
    found = Morning(database, tmp_path / "secrets", 12)
    yield found
    found.pool.shutdown()


class TestTogether:
    def test_shares_one_commit_and_leaves_the_books_of_one_after_another(self, morning: Morning) -> None:
        for number in range(5):
            morning.start(number)
        one_by_one, alone = morning.books(), morning.commits
        with morning.busy():
            starts = [morning.queued(partial(morning.start, number)) for number in range(5, 10)]

        assert [each.result(PATIENCE_S).state for each in starts] == [State.AUTHORIZED] * 5
        assert (alone, morning.commits) == (5, 6)
        together = morning.books()[5:]
        assert [row[1:] for row in together] == [row[1:] for row in one_by_one]

    def test_is_one_start_when_the_same_request_comes_twice_in_a_group(self, morning: Morning) -> None:
        with morning.busy():
            first, second = (morning.queued(lambda: morning.start(3)) for _ in range(2))

        assert first.result(PATIENCE_S) == second.result(PATIENCE_S)
        assert morning.count() == 1
        assert morning.books()[0][-1] == 1

    def test_refuses_one_among_others_and_nothing_of_it_stays(self, morning: Morning) -> None:
        with morning.ctx.db.write() as conn:
            spent = TransferRequest(
                transfer_id="spent",
                kind=TransferKind.SINGLE,
                debit_account_id="cardholder_wallet/ch_1",
                credit_account_id="opening_equity",
                amount_minor=START_MINOR,
                event_at=NOW,
            )
            assert ledger.execute(conn, TENANT, [spent], now=NOW)[0].stands
        taken = start_of(0)
        rival = StartRequest(TENANT, "rq_rival", taken.device_id, "ch_5", "wallet")
        before = morning.commits

        with morning.busy():
            good = morning.queued(lambda: morning.start(0))
            poor = morning.queued(lambda: morning.start(1))
            late = morning.queued(lambda: water_sessions.request_start(morning.ctx, rival))
            other = morning.queued(lambda: morning.start(2))

        assert {good.result(PATIENCE_S).state, other.result(PATIENCE_S).state} == {State.AUTHORIZED}
        assert isinstance(poor.exception(PATIENCE_S), water_sessions.InsufficientFunds)
        assert isinstance(late.exception(PATIENCE_S), water_sessions.OutletBusy)
        assert morning.commits == before + 1
        assert [row[0] for row in morning.books()] == ["rq_0", "rq_2"]
        assert morning.count() == 2
        assert morning.start(5).state is State.AUTHORIZED  # the refused rival holds nothing

    def test_rolls_back_money_that_moved_before_the_refusal(self, morning: Morning) -> None:
        def changes_its_mind() -> None:
            def work(conn: Connection) -> None:
                water_sessions.start_in(conn, morning.ctx, start_of(4), NOW)
                raise LookupError

            payments.in_turn(morning.ctx.db, TENANT, work)

        with morning.busy():
            first = morning.queued(lambda: morning.start(3))
            undone = morning.queued(changes_its_mind)
            same = morning.queued(lambda: morning.start(4))

        assert isinstance(undone.exception(PATIENCE_S), LookupError)
        assert {first.result(PATIENCE_S).state, same.result(PATIENCE_S).state} == {State.AUTHORIZED}
        assert [row[0] for row in morning.books()] == ["rq_3", "rq_4"]

    def test_tells_every_start_of_a_commit_that_failed_and_all_can_ask_again(self, morning: Morning) -> None:
        failures = [OperationalError("COMMIT", {}, Exception("disk I/O error"))]

        def fail(_conn: Connection) -> None:
            if failures:
                raise failures.pop()

        with morning.busy():
            starts = [morning.queued(partial(morning.start, number)) for number in range(4)]
            event.listen(morning.ctx.db.engine, "commit", fail)

        assert [type(each.exception(PATIENCE_S)) for each in starts] == [OperationalError] * 4
        assert (morning.count(), morning.books()) == (0, [])
        assert [morning.start(number).state for number in range(4)] == [State.AUTHORIZED] * 4
        assert len(morning.books()) == 4

    def test_waits_for_providers_outside_any_transaction(self, morning: Morning) -> None:
        """Four external starts: the turn is free while each provider is asked, and their answers share commits too."""
        with morning.ctx.db.write() as conn:
            for number in range(4):
                payments.bind_payer(
                    conn,
                    tenant_id=TENANT,
                    cardholder_id=f"ch_{number}",
                    method="unionpay",
                    agreement=f"agr_{number}",
                    now=NOW,
                )
        self._answers_only_when_all_are_asked(morning, 4)
        asked = [
            StartRequest(TENANT, f"rq_{number}", f"dev_{number}", f"ch_{number}", "unionpay") for number in range(4)
        ]

        starts = [morning.pool.submit(water_sessions.request_start, morning.ctx, request) for request in asked]

        assert [each.result(PATIENCE_S).state for each in starts] == [State.AUTHORIZED] * 4
        morning.books()

    @staticmethod
    def _answers_only_when_all_are_asked(morning: Morning, count: int) -> None:
        together, authorize = threading.Barrier(count), morning.unionpay.authorize

        def wait(order: Any, payer: Any) -> Any:
            together.wait(PATIENCE_S)
            return authorize(order, payer)

        morning.unionpay.authorize = wait  # type: ignore[method-assign]

    def test_credits_top_ups_that_arrive_together_once_each(self, morning: Morning) -> None:
        def top_up(number: int) -> Any:
            return payments.top_up(
                morning.ctx.db,
                morning.ctx.providers,
                TENANT,
                f"ch_{number}",
                "unionpay",
                1_000,
                f"request_{number}",
                morning.ctx.clock,
                payer_code="6212345678901234567",
            )

        with morning.busy():
            made = [morning.queued(partial(top_up, number)) for number in (1, 2, 2, 3)]

        states = [each.result(PATIENCE_S).state for each in made]
        assert states.count(payments.TopUpState.SUCCEEDED) >= 3
        assert payments.TopUpState.DECLINED not in states
        with morning.ctx.db.read() as conn:
            for number in (1, 2, 3):
                assert payments.wallet(conn, TENANT, f"ch_{number}").posted_minor == START_MINOR + 1_000
        assert morning.books() == []

    def test_ends_declined_payments_without_touching_their_neighbors(self, morning: Morning) -> None:
        morning.unionpay.answer = Declined("no_money")
        refused = StartRequest(TENANT, "rq_9", "dev_9", "ch_9", "unionpay")
        with morning.ctx.db.write() as conn:
            payments.bind_payer(
                conn, tenant_id=TENANT, cardholder_id="ch_9", method="unionpay", agreement="agr_9", now=NOW
            )

        with morning.busy():
            declined = morning.queued(lambda: water_sessions.request_start(morning.ctx, refused))
            good = morning.queued(lambda: morning.start(1))

        assert isinstance(declined.exception(PATIENCE_S), water_sessions.PaymentDeclined)
        assert good.result(PATIENCE_S).state is State.AUTHORIZED
        assert [row[0] for row in morning.books()] == ["rq_1"]


class TestKilled:
    def test_keeps_every_start_that_was_told_and_none_by_half(self, database: Database, tmp_path: Path) -> None:
        count, chance = 40, random.Random(5)
        morning = Morning(database, tmp_path / "secrets", count)
        morning.ctx.signing(TENANT)
        url = database.engine.url.render_as_string(hide_password=False)
        command = [sys.executable, "-m", "tests.integration.starts_writer", url, str(tmp_path / "secrets")]
        told: dict[str, str] = {}

        for answers in (chance.randrange(1, 12), chance.randrange(12, 24), count):
            process = subprocess.Popen(
                [*command, str(count), NOW.isoformat()], stdout=subprocess.PIPE, text=True, cwd=_ROOT
            )
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(answers)]
            os.kill(process.pid, signal.SIGKILL)
            lines += [line for line in process.stdout if line.endswith("\n")]
            process.wait(PATIENCE_S)
            process.stdout.close()
            for line in lines:
                number, session_id = line.split()
                assert told.setdefault(number, session_id) == session_id, "asked again, the same session answers"
            rows = morning.books()
            assert len(rows) == morning.count() >= len(told)
            assert {row[-1] for row in rows} == {1}
            assert {row[3].held_minor - row[2] for row in rows} == {0}

        assert len(told) == morning.count() == count
