"""Sessions that nothing is heard of."""

from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Connection

from backend.db import Database
from backend.fleet import service as fleet
from backend.mqtt import ingest
from backend.outbox import service as outbox
from backend.payments import service as payments
from backend.payments.port import Succeeded
from backend.settlement import service, sweeper
from backend.water_sessions import service as water_sessions
from backend.water_sessions.machine import State
from backend.water_sessions.types import WaterSession
from gateway.contract import topics
from gateway.contract.commands import CloseValve
from gateway.contract.messages import Gone
from tests.unit.backend.mqtt.test_ingest import Journal, events, message
from tests.unit.backend.water_sessions.world import (
    DECLINED,
    GATEWAY,
    OTHER_OUTLET,
    OUTLET,
    START_MINOR,
    TENANT,
    UNKNOWN,
    World,
    health,
    hello,
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


def open_valve(world: World, started: WaterSession, *, pulses: int = 1_000) -> None:
    """Let the outlet report its opening."""
    with world.db.write() as conn:
        service.on_valve_opened(conn, world.ctx, TENANT, world.opened(started, pulses=pulses), world.now)


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

    def test_lets_a_gateway_that_comes_back_tell_first(self, world: World) -> None:
        started, journal = world.start(), Journal(world)
        ingest.handle(world.ctx, [events(journal.record(world.opened(started)))])
        ingest.handle(world.ctx, [message(topics.Up.GONE, Gone(gateway=GATEWAY))])
        world.later(2_400)
        away = actions(world)
        born = msgspec.structs.replace(hello(world.now), journal_sequence=2)
        ingest.handle(world.ctx, [message(topics.Up.HELLO, born)])
        at_once = actions(world)
        world.later(sweeper.ENDING_WAIT_S + 60)
        unreported = actions(world)
        hear(world)
        undrained = actions(world)

        ingest.handle(world.ctx, [events(journal.record(world.ended(started)))])

        assert (away, at_once, unreported, undrained) == ([], [], [], [])
        after = world.session(started.water_session_id)
        assert (after.captured_minor, after.evidence) == (66, "device_log")

    def test_lets_a_gateway_that_comes_back_tell_first_of_an_opening(self, world: World) -> None:
        started, journal = world.start(), Journal(world)
        send_commands(world)
        ingest.handle(world.ctx, [message(topics.Up.GONE, Gone(gateway=GATEWAY))])
        world.later(120)
        away = actions(world)
        ingest.handle(world.ctx, [message(topics.Up.HELLO, hello(world.now))])
        hear(world)
        at_once = actions(world)

        both = events(journal.record(world.opened(started)), journal.record(world.ended(started)))
        ingest.handle(world.ctx, [both])

        assert (away, at_once) == ([], [])
        assert world.session(started.water_session_id).captured_minor == 66

    def test_waits_while_the_journal_is_not_empty(self, world: World) -> None:
        started = world.start()
        send_commands(world)
        world.later(sweeper.OPENING_WAIT_S + 1)
        with world.db.write() as conn:
            busy = msgspec.structs.replace(health(world.now), journal_waiting=1)
            fleet.record_health(conn, TENANT, busy, world.now)
        waiting = actions(world)
        world.later(15)
        hear(world)

        assert waiting == []
        assert actions(world) == ["voided"]
        assert world.session(started.water_session_id).state is State.VOIDED

    def test_settles_what_a_gateway_away_for_a_day_left_open(self, world: World) -> None:
        hear(world, **{OUTLET: 1_000_000})  # the controller before this one
        started = world.start()
        open_valve(world, started, pulses=5)
        lose_gateway(world)
        world.later(sweeper.AWAY_MAX_H * 3_600 + 5)

        assert actions(world) == ["settled_from_register"]

        after = world.session(started.water_session_id)
        assert (after.state, after.captured_minor, after.closing_pulses) == (State.VOIDED, 0, 5)
        assert world.wallet().available_minor == START_MINOR

    def test_bills_no_more_than_the_limit_from_an_absurd_register(self, world: World) -> None:
        started = world.start()
        open_valve(world, started)
        world.later(900 + sweeper.ENDING_WAIT_S + 10)
        hear(world, **{OUTLET: 2**40})

        assert actions(world) == ["settled_from_register"]

        after = world.session(started.water_session_id)
        assert (after.evidence, after.volume_ml, after.captured_minor) == ("latest_reading_cut", 60_000, 198)
        assert after.overrun_minor == 0

    def test_goes_on_past_a_session_it_cannot_handle(self, world: World) -> None:
        broken, fine = world.start(), world.start("bob", device_id=OTHER_OUTLET)
        open_valve(world, broken)
        open_valve(world, fine)
        with world.db.write() as conn:
            water_sessions.amend(conn, broken, k_factor_pulses_per_m3=0)
        world.later(900 + sweeper.ENDING_WAIT_S + 10)
        hear(world)

        assert actions(world) == ["settled_from_register"]
        assert actions(world) == []
        assert not world.session(fine.water_session_id).is_live

    def test_does_nothing_to_a_session_that_ended_meanwhile(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        started = world.start()
        open_valve(world, started)
        world.later(900 + sweeper.ENDING_WAIT_S + 10)
        hear(world, **{OUTLET: 5_500})
        take_turn = outbox.take_turn

        def end_first(conn: Connection, tenant_id: str) -> None:
            take_turn(conn, tenant_id)
            service.on_ended(conn, world.ctx, TENANT, world.ended(started), world.now)

        monkeypatch.setattr(outbox, "take_turn", end_first)

        assert actions(world) == []
        assert world.session(started.water_session_id).captured_minor == 66

    def test_revokes_an_opening_again_until_it_ends(self, world: World) -> None:
        started = world.start()
        send_commands(world)
        world.later(sweeper.OPENING_WAIT_S + 1)
        hear(world)
        voided = actions(world)
        open_valve(world, started)
        asked = len(world.commands())
        at_once = actions(world)
        world.later(water_sessions.CLOSE_AGAIN_S)
        again = actions(world)
        body = world.commands()[-1].body
        lose_gateway(world)
        world.later(water_sessions.CLOSE_AGAIN_S)
        away = actions(world)
        world.connect()
        back = actions(world)
        with world.db.write() as conn:
            service.on_ended(conn, world.ctx, TENANT, world.ended(started), world.now)
        world.later(water_sessions.CLOSE_AGAIN_S)

        assert (voided, at_once, again) == (["voided"], [], ["revoked_again"])
        assert (away, back, actions(world)) == ([], ["revoked_again"], [])
        assert body == CloseValve(water_session_id=started.water_session_id, stop_reason="revoked")
        assert len(world.commands()) == asked + 2

    def test_voids_a_hold_that_stands_too_late(self, world: World) -> None:
        world.unionpay.answer = UNKNOWN
        started = world.start(method="unionpay")
        world.unionpay.answer = Succeeded("held", 0)
        world.later(30)
        payments.resolve_due(world.db, world.ctx.providers, clock=world.ctx.clock, limit=10)
        with world.db.read() as conn:
            state = payments.authorization(conn, TENANT, started.auth_id).state
        world.later(31)

        assert state == payments.State.HELD
        assert actions(world) == ["refused"]

        payments.resolve_due(world.db, world.ctx.providers, clock=world.ctx.clock, limit=10)
        assert ("void", started.auth_id) in world.unionpay.calls
        assert world.commands() == []

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
