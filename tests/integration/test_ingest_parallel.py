"""Starts, stops, what comes up and the sweeper at once, on PostgreSQL: no deadlock, and the books are right."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from backend.db import Database
from backend.errors import BackendError
from backend.kit.clock import utc_now
from backend.mqtt import ingest
from backend.settlement import sweeper
from backend.water_sessions import service as water_sessions
from gateway.contract import topics
from tests.unit.backend.mqtt.test_ingest import Journal, events, message
from tests.unit.backend.water_sessions.world import OTHER_OUTLET, OUTLET, START_MINOR, TENANT, World, health

pytestmark = pytest.mark.timeout(120)
ROUNDS = 15


def together(works: Sequence[Callable[[], object]]) -> list[BaseException]:
    """Do all at once and return what they raised."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        barrier.wait()
        work()

    with ThreadPoolExecutor(len(works)) as pool:
        futures = [pool.submit(run, work) for work in works]
        return [raised for future in futures if (raised := future.exception(60)) is not None]


class TestParallel:
    def test_changes_neither_deadlock_nor_lose_money(self, database: Database, tmp_path: Path) -> None:
        world = World(database, tmp_path / "secrets", now=utc_now()).fill()
        journal = Journal(world)
        shared = threading.Lock()

        def live(login: str, device_id: str) -> Callable[[], None]:
            def work() -> None:
                for _ in range(ROUNDS):
                    one = world.start(login, device_id=device_id)
                    with shared:
                        opened = journal.record(world.opened(one, at_s=0.1))
                        ended = journal.record(world.ended(one, at_s=0.2))
                    stop = partial(water_sessions.request_stop, world.ctx, TENANT, one.water_session_id)
                    both = partial(ingest.handle, world.ctx, [events(opened, ended)])
                    again = partial(ingest.handle, world.ctx, [events(ended)])
                    failed = together([partial(stop, one.cardholder_id), both, again])
                    assert failed == []

            return work

        def clock() -> None:
            for _ in range(ROUNDS * 3):
                sweeper.sweep(world.ctx, world.now)
                ingest.handle(world.ctx, [message(topics.Up.HEALTH, health(world.now))])
                ingest.retry_parked(world.ctx)

        raised = together([live("ann", OUTLET), live("bob", OTHER_OUTLET), clock, clock])

        assert raised == []
        for login in ("ann", "bob"):
            assert world.wallet(login).held_minor == 0
            assert world.wallet(login).posted_minor == START_MINOR - 66 * ROUNDS
        world.check_books()

    def test_one_outlet_takes_one_of_two(self, database: Database, tmp_path: Path) -> None:
        world = World(database, tmp_path / "secrets", now=utc_now()).fill()

        raised = together([lambda: world.start("ann"), lambda: world.start("bob")])

        (refused,) = raised
        assert isinstance(refused, BackendError)
        assert refused.code == "outlet_busy"
