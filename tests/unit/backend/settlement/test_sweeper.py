"""Sessions that nothing is heard of."""

from pathlib import Path

import pytest

from backend.db import Database
from backend.fleet import service as fleet
from backend.outbox import service as outbox
from backend.payments import service as payments
from backend.payments.port import Succeeded
from backend.settlement import service, sweeper
from backend.water_sessions import service as water_sessions
from backend.water_sessions.machine import State
from gateway.contract.commands import CloseValve
from tests.unit.backend.water_sessions.world import (
    DECLINED,
    GATEWAY,
    OUTLET,
    START_MINOR,
    TENANT,
    UNKNOWN,
    World,
    health,
)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """Return a filled school."""
    return World(database, tmp_path / "secrets").fill()


def actions(world: World) -> list[str]:
    """Sweep and return what was done."""
    return [swept.action for swept in sweeper.sweep(world.ctx, world.now)]


def send_commands(world: World) -> None:
    """Let the broker take what waits."""
    with world.db.write() as conn:
        rows = outbox.due(conn, world.now, 10)
        outbox.mark_sent(conn, [(row.tenant_id, row.cmd_id) for row in rows], world.now)


def hear(world: World, **registers: int) -> None:
    """Let the gateway report on the connection it has had all along."""
    with world.db.write() as conn:
        fleet.record_health(conn, TENANT, health(world.now, registers=registers), world.now)


def lose_gateway(world: World) -> None:
    """Let the broker report the gateway's end."""
    with world.db.write() as conn:
        fleet.record_gone(conn, TENANT, GATEWAY, world.now)


class TestSweep:
    def test_leaves_a_fresh_session_alone(self, world: World) -> None:
        world.start()
        world.later(sweeper.OPENING_WAIT_S - 1)

        assert actions(world) == []

    def test_voids_when_the_command_never_left(self, world: World) -> None:
        started = world.start()
        world.later(sweeper.OPENING_WAIT_S + 1)

        assert actions(world) == ["voided"]

        assert world.session(started.water_session_id).state is State.VOIDED
        assert world.wallet().available_minor == START_MINOR
        assert actions(world) == []

    def test_waits_for_the_journal_of_a_gateway_that_is_away(self, world: World) -> None:
        started = world.start()
        send_commands(world)
        lose_gateway(world)
        world.later(3_600)

        first = actions(world)
        event = world.ended(started)
        with world.db.write() as conn:
            outbox.take_turn(conn, TENANT)
            service.on_ended(conn, world.ctx, TENANT, event, world.now)

        assert first == []
        assert world.session(started.water_session_id).captured_minor == 66

    def test_voids_when_the_gateway_is_here_and_silent_about_it(self, world: World) -> None:
        world.start()
        send_commands(world)
        world.later(sweeper.OPENING_WAIT_S + 1)
        hear(world)

        assert actions(world) == ["voided"]

    def test_gives_up_a_gateway_after_a_day(self, world: World) -> None:
        world.start()
        send_commands(world)
        lose_gateway(world)
        world.later(sweeper.AWAY_MAX_H * 3_600 + 1)

        assert actions(world) == ["voided"]

    def test_settles_from_the_register_when_no_end_came(self, world: World) -> None:
        started = world.start()
        with world.db.write() as conn:
            service.on_valve_opened(conn, world.ctx, TENANT, world.opened(started), world.now)
        world.later(900 + sweeper.ENDING_WAIT_S + 10)
        with world.db.write() as conn:
            fleet.record_health(conn, TENANT, health(world.now, registers={OUTLET: 5_500}), world.now)

        assert actions(world) == ["settled_from_register"]

        after = world.session(started.water_session_id)
        assert (after.state, after.usage_pulses, after.evidence) == (State.SETTLED, 4_500, "latest_reading")
        assert after.captured_minor == 33
        world.check_books()

    def test_asks_again_for_the_end_that_somebody_asked_for(self, world: World) -> None:
        started = world.start()
        with world.db.write() as conn:
            service.on_valve_opened(conn, world.ctx, TENANT, world.opened(started), world.now)
        water_sessions.request_stop(world.ctx, TENANT, started.water_session_id, started.cardholder_id)
        asked = len(world.commands())
        world.later(water_sessions.CLOSE_AGAIN_S - 1)
        assert actions(world) == []
        world.later(1)

        assert actions(world) == ["closed_again"]

        again = world.commands()[-1]
        assert len(world.commands()) == asked + 1
        assert isinstance(again.body, CloseValve)
        assert (again.body.water_session_id, again.body.stop_reason) == (started.water_session_id, "remote")
        assert actions(world) == []

    def test_does_not_shout_at_a_gateway_that_is_away(self, world: World) -> None:
        started = world.start()
        with world.db.write() as conn:
            service.on_valve_opened(conn, world.ctx, TENANT, world.opened(started), world.now)
        water_sessions.request_stop(world.ctx, TENANT, started.water_session_id, started.cardholder_id)
        lose_gateway(world)
        world.later(water_sessions.CLOSE_AGAIN_S + 1)

        assert actions(world) == []

    def test_keeps_a_hold_while_the_gateway_is_away_in_mid_shower(self, world: World) -> None:
        started = world.start()
        with world.db.write() as conn:
            service.on_valve_opened(conn, world.ctx, TENANT, world.opened(started), world.now)
        lose_gateway(world)
        world.later(7_200)

        assert actions(world) == []
        assert world.wallet().held_minor == started.hold_minor

    def test_authorizes_a_payment_that_becomes_known_in_time(self, world: World) -> None:
        world.unionpay.answer = UNKNOWN
        started = world.start(method="unionpay")
        world.unionpay.answer = Succeeded("held", 0)
        world.later(20)
        world.connect()
        payments.resolve_due(world.db, world.ctx.providers, clock=world.ctx.clock, limit=10)

        assert actions(world) == ["concluded"]

        assert world.session(started.water_session_id).state is State.AUTHORIZED
        assert len(world.commands()) == 1

    def test_refuses_a_payment_that_was_declined_after_all(self, world: World) -> None:
        world.unionpay.answer = UNKNOWN
        started = world.start(method="unionpay")
        world.unionpay.answer = DECLINED
        world.later(20)
        payments.resolve_due(world.db, world.ctx.providers, clock=world.ctx.clock, limit=10)

        assert actions(world) == ["refused"]

        assert world.session(started.water_session_id).refusal == "payment_declined"

    def test_gives_up_an_unknown_payment_and_opens_nothing_later(self, world: World) -> None:
        world.unionpay.answer = UNKNOWN
        started = world.start(method="unionpay")
        world.later(61)

        assert actions(world) == ["refused"]
        world.unionpay.answer = Succeeded("held", 0)
        for _ in range(5):
            world.later(600)
            payments.resolve_due(world.db, world.ctx.providers, clock=world.ctx.clock, limit=10)
            assert actions(world) == []

        assert world.session(started.water_session_id).refusal == "payment_unknown"
        assert world.commands() == []
        assert ("void", started.auth_id) in world.unionpay.calls
