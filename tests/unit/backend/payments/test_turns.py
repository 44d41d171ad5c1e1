"""What a school's people and providers do at the same time is done together, in one transaction, on both databases."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from backend import worker
from backend.db import Database
from backend.payments import purse_transfers, service
from backend.payments.service import TopUpState
from tests.fakes.web_site import open_school
from tests.patience import PATIENCE_S
from tests.unit.backend.payments.conftest import World
from tests.unit.backend.payments.office import TENANT, Office


@contextmanager
def _busy(db: Database, tenant_id: str = TENANT) -> Iterator[Callable[[Callable[[], object]], Future[Any]]]:
    """Hold a school's turn; yield what sends work and returns when it waits for the turn to come round."""
    begun, gate, pool = threading.Event(), threading.Event(), ThreadPoolExecutor(8)

    def lead(_conn: Connection) -> None:
        begun.set()
        assert gate.wait(PATIENCE_S)

    def send(work: Callable[[], object]) -> Future[Any]:
        queue = db._queues._waiting[tenant_id]
        count, promise, pause = len(queue), pool.submit(work), threading.Event()
        for _ in range(int(PATIENCE_S * 1_000)):
            if len(queue) > count:
                return promise
            if promise.done():
                promise.result()
                break
            pause.wait(0.001)
        raise AssertionError("it never came to wait for the turn")

    leading = pool.submit(lambda: service.in_turn(db, tenant_id, lead))
    assert begun.wait(PATIENCE_S)
    try:
        yield send
    finally:
        gate.set()
        leading.result(PATIENCE_S)
        pool.shutdown()


def _commits(db: Database) -> list[int]:
    """Return a list that gets an item with every commit from now on."""
    found: list[int] = []
    event.listen(db.engine, "commit", lambda _conn: found.append(1))
    return found


class TestInTurn:
    def test_transfers_of_many_people_share_a_commit_and_a_refused_one_spoils_none(self, database: Database) -> None:
        office = Office(database).fill()
        office.give("wallet", 900)
        office.give("wallet", 100, "ch_bob")
        commits = _commits(database)

        def moving(person: str, amount_minor: int, request_id: str) -> Callable[[], object]:
            def work(conn: Connection) -> object:
                return purse_transfers.transfer(
                    conn,
                    tenant_id=TENANT,
                    cardholder_id=person,
                    from_purse="wallet",
                    to_purse="voucher",
                    amount_minor=amount_minor,
                    request_id=request_id,
                    now=office.now,
                )

            return lambda: service.in_turn(database, TENANT, work)

        with _busy(database) as send:
            anns, bobs = send(moving("ch_ann", 400, "request-0001")), send(moving("ch_bob", 101, "request-0002"))
            again = send(moving("ch_ann", 400, "request-0001"))

        assert anns.result(PATIENCE_S) == again.result(PATIENCE_S)
        assert isinstance(bobs.exception(PATIENCE_S), purse_transfers.TransferNotCovered)
        assert office.purses() == {"subsidy": 0, "voucher": 400, "wallet": 500}
        assert office.purses("ch_bob") == {"subsidy": 0, "voucher": 0, "wallet": 100}
        assert len(commits) == 1
        assert office.is_even()

    def test_what_became_of_an_unknown_waits_for_the_turn_and_is_settled_once(self, world: World) -> None:
        world.provider.behave("lost_answer")
        service.top_up(world.db, world.providers, "gxu", "ch_1", "unionpay", 500, "request-0001", world.clock)

        with _busy(world.db, "gxu") as send:
            resolving = send(lambda: world.resolve(seconds=10))

        assert resolving.result(PATIENCE_S) == 1
        assert world.resolve() == 0
        with world.db.read() as conn:
            assert service.find_top_up(conn, "gxu", "tu_request-0001").state is TopUpState.SUCCEEDED
            assert service.wallet(conn, "gxu", "ch_1").available_minor == 500

    @pytest.mark.parametrize("database", ["sqlite"], indirect=True)
    def test_what_expires_waits_for_the_turn(self, database: Database, tmp_path: Path) -> None:
        school = open_school(database, tmp_path)

        with _busy(database, "gxu") as send:
            expiring = send(lambda: worker._expire(school.backend))

        assert expiring.exception(PATIENCE_S) is None
