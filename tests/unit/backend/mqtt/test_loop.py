"""What a worker does when it has gained a broker again: what the one before may have lost is sent once more."""

from pathlib import Path

import pytest

from backend.db import Database
from backend.mqtt.loop import WorkerLoop
from backend.outbox import service as outbox
from gateway.contract import topics
from tests.unit.backend.mqtt.test_hostile import FakeLink, loop
from tests.unit.backend.water_sessions.world import TENANT, World


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """Return a filled school."""
    return World(database, tmp_path / "secrets").fill()


def _confirmed(world: World) -> None:
    """Store a command that a broker took and nobody has answered."""
    cmd_id = world.start("ann").open_cmd_id
    with world.db.write() as conn:
        outbox.mark_sent(conn, [(TENANT, cmd_id)], world.now)


def _turns(worker: WorkerLoop, link: FakeLink) -> int:
    for _ in range(3):
        worker.turn()
    return len(link.sent(topics.Down.COMMAND))


class TestTurn:
    def test_sends_again_what_a_lost_broker_had_taken(self, world: World) -> None:
        link = FakeLink([], connection=1)
        worker = loop(world, link)
        worker.turn()
        _confirmed(world)
        assert _turns(worker, link) == 0

        link.is_up = False
        worker.turn()
        link.connection, link.is_up = 2, True

        assert _turns(worker, link) == 1

    def test_sends_no_expired_command_again(self, world: World) -> None:
        _confirmed(world)
        world.later(21)

        link = FakeLink([], connection=1)

        assert _turns(loop(world, link), link) == 0
