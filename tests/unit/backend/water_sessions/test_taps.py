"""Taps at an outlet's reader."""

from pathlib import Path

import msgspec
import pytest

from backend.cardholders import service as cardholders
from backend.db import Database
from backend.fleet import service as fleet
from backend.outbox import service as outbox
from backend.settlement import service as settlement
from backend.water_sessions import service, taps
from backend.water_sessions.machine import State
from gateway.contract.commands import CloseValve, OpenValve
from gateway.contract.messages import CredentialKind, Decision
from tests.unit.backend.water_sessions.world import OTHER_OUTLET, OUTLET, TENANT, World, health


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """Return a filled school."""
    return World(database, tmp_path / "secrets").fill()


def tap(world: World, login: str, *, device_id: str = OUTLET, request_id: str = "") -> Decision:
    """Tap and return the answer."""
    presented = world.tap(login, device_id=device_id, request_id=request_id)
    return taps.on_presented(world.ctx, TENANT, presented, world.now)


def end(world: World, water_session_id: str, *, used: int = 9_000) -> None:
    """Let the gateway report an ending."""
    of = world.session(water_session_id)
    with world.db.write() as conn:
        outbox.take_turn(conn, TENANT)
        settlement.on_ended(conn, world.ctx, TENANT, world.ended(of, used=used), world.now)


def running(world: World, device_id: str = OUTLET) -> str:
    """Return who uses an outlet."""
    with world.db.read() as conn:
        found = service.live_of_device(conn, TENANT, device_id)
    return "" if found is None else next(login for login, one in world.people.items() if one == found.cardholder_id)


class TestOnPresented:
    def test_starts_with_the_wallet(self, world: World) -> None:
        decision = tap(world, "ann")

        assert (decision.granted, decision.reason, decision.display) == (True, "ok", "¥50.00")
        assert running(world) == "ann"
        assert [type(command.body) for command in world.commands()] == [OpenValve]

    def test_stops_by_the_same_person(self, world: World) -> None:
        tap(world, "ann")

        decision = tap(world, "ann")

        close = world.commands()[-1].body
        assert decision.reason == "stopped"
        assert isinstance(close, CloseValve)
        assert close.stop_reason == "card"

    def test_answers_a_repeat_as_before(self, world: World) -> None:
        tap(world, "ann")
        stopped = tap(world, "ann", request_id="rq_stop")
        with world.db.read() as conn:
            live = service.live_of_device(conn, TENANT, OUTLET)
        assert live is not None
        end(world, live.water_session_id)

        again = tap(world, "ann", request_id="rq_stop")

        assert again == stopped
        assert running(world) == ""

    def test_hands_over_to_the_next_student(self, world: World) -> None:
        first = world.start("ann")

        decision = tap(world, "bob")
        before_end = running(world)
        end(world, first.water_session_id)

        bodies = [command.body for command in world.commands()]
        assert decision.reason == "handover"
        assert before_end == "ann"
        assert running(world) == "bob"
        assert [type(body) for body in bodies] == [OpenValve, CloseValve, OpenValve]
        assert isinstance(bodies[1], CloseValve)
        assert bodies[1].stop_reason == "handover"
        assert world.session(first.water_session_id).state is State.SETTLED

    def test_drops_a_start_that_waited_too_long(self, world: World) -> None:
        first = world.start("ann")
        tap(world, "bob")
        world.later(taps.WAIT_S + 1)

        end(world, first.water_session_id)

        assert running(world) == ""

    def test_does_not_end_a_shower_for_someone_who_cannot_start(self, world: World) -> None:
        world.start("ann")
        world.start("bob", device_id=OTHER_OUTLET)

        decision = tap(world, "bob")

        assert (decision.granted, decision.reason) == (False, "cardholder_busy")
        assert [type(command.body) for command in world.commands()] == [OpenValve, OpenValve]

    def test_refuses_a_third_person_while_one_waits(self, world: World) -> None:
        world.start("ann")
        tap(world, "bob")

        assert tap(world, "cat").reason == "outlet_busy"

    def test_refuses_a_frozen_card(self, world: World) -> None:
        with world.db.write() as conn:
            card = next(one for one in cardholders.credentials(conn, TENANT, world.people["ann"]) if one.kind == "uid")
            cardholders.freeze_credential(conn, TENANT, card.credential_id, world.now)

        decision = tap(world, "ann")

        assert (decision.granted, decision.reason) == (False, "credential_frozen")
        assert world.commands() == []

    def test_keeps_to_the_display(self, world: World) -> None:
        assert all(len(text) <= 32 for text in taps._DISPLAY.values())


class TestForgetTaps:
    def test_forgets_only_old_answers(self, world: World) -> None:
        tap(world, "ann", request_id="rq_1")
        world.later(taps.TAP_MEMORY_S - 1)
        taps.forget_taps(world.ctx, world.now)
        kept = tap(world, "ann", request_id="rq_1")
        world.later(2)

        taps.forget_taps(world.ctx, world.now)

        assert kept.reason == "ok"
        assert tap(world, "ann", request_id="rq_1").reason == "stopped"


class TestCode:
    def test_is_used_up_also_by_a_refused_start(self, world: World) -> None:
        with world.db.read() as conn:
            code = cardholders.student_code(conn, world.secrets_dir, TENANT, world.people["ann"], world.now)
        report = health(world.now)
        silent = [msgspec.structs.replace(one, state="silent") for one in report.devices if one.device == OUTLET]
        with world.db.write() as conn:
            fleet.record_health(conn, TENANT, msgspec.structs.replace(report, devices=silent), world.now)

        def show(device_id: str) -> str:
            shown = msgspec.structs.replace(
                world.tap("ann", device_id=device_id), kind=CredentialKind.CODE, value=code.text
            )
            return taps.on_presented(world.ctx, TENANT, shown, world.now).reason

        assert [show(OUTLET), show(OTHER_OUTLET)] == ["outlet_offline", "code_replayed"]
        assert running(world, OTHER_OUTLET) == ""
