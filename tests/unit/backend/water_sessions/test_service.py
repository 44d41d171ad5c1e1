"""Starting and stopping water, on real slices and both databases."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from backend.db import Database
from backend.errors import Forbidden
from backend.fleet import service as fleet
from backend.payments import service as payments
from backend.protections import service as protections
from backend.protections.rules import Grant
from backend.tariffs import service as tariffs
from backend.water_sessions import repository, service
from backend.water_sessions.machine import State
from gateway.contract.commands import CloseValve, OpenValve
from gateway.contract.events import FaultRaised
from gateway.contract.faults import FaultCode
from tests.unit.backend.water_sessions.world import (
    DECLINED,
    GATEWAY,
    OTHER_OUTLET,
    OUTLET,
    START_MINOR,
    TENANT,
    UNKNOWN,
    World,
)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """Return a filled school."""
    return World(database, tmp_path / "secrets").fill()


class TestRequestStart:
    def test_authorizes_with_hold_and_signed_command_at_once(self, world: World) -> None:
        started = world.start()

        (command,) = world.commands()
        assert started.state is State.AUTHORIZED
        assert world.wallet().held_minor == started.hold_minor > 0
        assert isinstance(command.body, OpenValve)
        assert command.body.water_session_id == started.water_session_id
        assert command.body.volume_limit_ml == started.volume_limit_ml == 60_000
        assert (command.tenant, command.gateway, command.device) == (TENANT, GATEWAY, OUTLET)
        assert command.cmd_id == started.open_cmd_id

    def test_returns_the_same_session_when_asked_again(self, world: World) -> None:
        request = world.request()

        first = service.request_start(world.ctx, request)
        second = service.request_start(world.ctx, request)

        assert second == first
        assert len(world.commands()) == 1

    def test_refuses_an_outlet_in_use(self, world: World) -> None:
        world.start("ann")

        with pytest.raises(service.OutletBusy):
            world.start("bob")

    def test_refuses_a_second_session_of_one_person(self, world: World) -> None:
        world.start("ann")

        with pytest.raises(service.CardholderBusy):
            world.start("ann", device_id=OTHER_OUTLET)

    def test_refuses_a_silent_outlet(self, world: World) -> None:
        world.later(120)

        with pytest.raises(service.OutletOffline):
            world.start()

    def test_refuses_a_faulty_outlet(self, world: World) -> None:
        fault = FaultRaised(
            event_id="ev_1", at_ms=int(world.now.timestamp() * 1000) + 1, fault=FaultCode.TAMPER, device=OUTLET
        )
        with world.db.write() as conn:
            fleet.raise_fault(conn, TENANT, GATEWAY, fault, world.now)

        with pytest.raises(service.OutletFaulty):
            world.start()

    def test_refuses_a_door(self, world: World) -> None:
        with pytest.raises(fleet.DeviceUnknown):
            world.start(device_id="dev_door1")

    def test_refuses_an_empty_wallet_and_leaves_nothing(self, world: World) -> None:
        with world.db.write() as conn:
            payments.open_authorization(
                conn,
                tenant_id=TENANT,
                auth_id="auth_elsewhere",
                water_session_id="ws_elsewhere",
                cardholder_id=world.people["ann"],
                method="wallet",
                amount_minor=START_MINOR - 10,
                expires_at=world.now + timedelta(days=1),
                now=world.now,
            )

        with pytest.raises(service.InsufficientFunds):
            world.start()

        assert world.commands() == []
        assert world.wallet().available_minor == 10

    def test_gives_a_small_balance_a_small_volume(self, world: World) -> None:
        with world.db.write() as conn:
            payments.open_authorization(
                conn,
                tenant_id=TENANT,
                auth_id="auth_elsewhere",
                water_session_id="ws_elsewhere",
                cardholder_id=world.people["ann"],
                method="wallet",
                amount_minor=START_MINOR - 100,
                expires_at=world.now + timedelta(days=1),
                now=world.now,
            )

        started = world.start()

        assert started.hold_minor <= 100
        assert 0 < started.volume_limit_ml < 60_000

    def test_refuses_without_a_tariff(self, world: World) -> None:
        world.now -= timedelta(days=60)

        with pytest.raises((tariffs.TariffMissing, service.OutletOffline)):
            world.start()

    def test_authorizes_after_the_provider_held(self, world: World) -> None:
        started = world.start(method="unionpay")

        assert started.state is State.AUTHORIZED
        assert [verb for verb, _ in world.unionpay.calls] == ["authorize"]
        assert len(world.commands()) == 1

    def test_hands_a_payment_code_to_the_provider_and_keeps_it_nowhere(self, world: World) -> None:
        code = "134524350966727175"
        started = service.request_start(world.ctx, world.request(method="wechat"), payer_code=code)

        assert started.state is State.AUTHORIZED
        assert [payer.code for payer in world.wechat.payers] == [code]
        assert code not in repr(started)

    def test_refuses_a_malformed_payment_code_before_anything_is_stored(self, world: World) -> None:
        request = world.request(method="wechat")

        with pytest.raises(payments.PayerCodeMalformed):
            service.request_start(world.ctx, request, payer_code="6212345678901234567")

        assert world.wechat.calls == []
        assert service.request_start(world.ctx, request, payer_code="134524350966727175").is_live

    def test_refuses_a_payer_who_shows_nothing(self, world: World) -> None:
        with pytest.raises(service.PaymentDeclined) as refused:
            world.start(method="wechat")

        assert refused.value.details["reason"] == "payer_unbound"
        assert world.wechat.calls == []
        assert world.commands() == []

    def test_refuses_after_the_provider_declined_and_says_so_again(self, world: World) -> None:
        world.unionpay.answer = DECLINED
        request = world.request(method="unionpay")

        for _ in range(2):
            with pytest.raises(service.PaymentDeclined):
                service.request_start(world.ctx, request)

        with world.db.read() as conn:
            assert service.live_of_device(conn, TENANT, OUTLET) is None
        assert world.commands() == []
        assert len(world.unionpay.calls) == 1

    def test_stays_requested_while_the_provider_says_nothing(self, world: World) -> None:
        world.unionpay.answer = UNKNOWN

        started = world.start(method="unionpay")

        assert started.state is State.REQUESTED
        assert world.commands() == []

    def test_refuses_and_counts_a_method_excluded_by_a_grant(self, world: World) -> None:
        now = world.now
        grant = Grant(
            tenant_id=TENANT,
            grant_id="gr_1",
            grantor="Bank",
            brand="alipay",
            scenario="hot_water",
            place_id="pl_campus",
            active_from=now - timedelta(days=1),
            active_to=now + timedelta(days=1),
            mode="exclusive",
            exemptions=(),
            consideration="",
            document_sha256="0" * 64,
            status="draft",
            created_by=world.people["ann"],
            approved_by=None,
        )
        with world.db.write() as conn:
            protections.draft(conn, grant, now)
            protections.submit(conn, TENANT, "gr_1", by=world.people["ann"], now=now)
            protections.approve(conn, TENANT, "gr_1", by=world.people["bob"], now=now)

        with pytest.raises(protections.MethodNotAccepted):
            world.start(method="unionpay")

        with world.db.read() as conn:
            assert protections.evidence(conn, TENANT, "gr_1").refused == {"unionpay": 1}


class TestStore:
    def test_is_refused_by_the_database_for_a_second_live_session_on_an_outlet(self, world: World) -> None:
        started = world.start()
        from dataclasses import replace

        twin = replace(started, water_session_id="ws_twin", request_id="rq_twin", cardholder_id=world.people["bob"])

        with pytest.raises(IntegrityError), world.db.write() as conn:
            repository.store(conn, twin)


class TestRequestStop:
    def test_stores_one_close_command_however_often_asked(self, world: World) -> None:
        started = world.start()

        for _ in range(3):
            stopped = service.request_stop(world.ctx, TENANT, started.water_session_id, world.people["ann"])

        bodies = [command.body for command in world.commands()]
        assert stopped.state is State.CLOSING
        assert [type(body) for body in bodies] == [OpenValve, CloseValve]

    def test_sends_the_close_again_when_it_brought_no_end(self, world: World) -> None:
        started = world.start()
        service.request_stop(world.ctx, TENANT, started.water_session_id, world.people["ann"])
        world.later(service.CLOSE_AGAIN_S)

        service.request_stop(world.ctx, TENANT, started.water_session_id, world.people["ann"])

        assert [type(command.body) for command in world.commands()] == [OpenValve, CloseValve, CloseValve]

    def test_refuses_a_stranger_and_lets_staff(self, world: World) -> None:
        started = world.start()

        with pytest.raises(Forbidden):
            service.request_stop(world.ctx, TENANT, started.water_session_id, world.people["bob"])
        stopped = service.request_stop(world.ctx, TENANT, started.water_session_id, world.people["cat"])

        assert stopped.state is State.CLOSING

    def test_voids_a_session_whose_payment_is_still_asked(self, world: World) -> None:
        world.unionpay.answer = UNKNOWN
        started = world.start(method="unionpay")

        stopped = service.request_stop(world.ctx, TENANT, started.water_session_id, world.people["ann"])

        assert stopped.state is State.VOIDED
        assert world.commands() == []

    def test_knows_no_session_of_another_tenant(self, world: World) -> None:
        started = world.start()

        with pytest.raises(service.WaterSessionUnknown):
            service.request_stop(world.ctx, "south", started.water_session_id, world.people["ann"])


class TestHistory:
    def test_pages_newest_first(self, world: World) -> None:
        first = world.start()
        service.request_stop(world.ctx, TENANT, first.water_session_id, world.people["ann"])

        with world.db.read() as conn:
            page = service.history(conn, TENANT, world.people["ann"], 10)
            older = service.history(conn, TENANT, world.people["ann"], 10, before=first.requested_at)

        assert [one.water_session_id for one in page] == [first.water_session_id]
        assert older == []


class TestRequestId:
    def test_of_another_person_is_refused(self, world: World) -> None:
        own = service.request_start(world.ctx, world.request("ann", request_id="rq_shared"))

        with pytest.raises(service.RequestConflict):
            service.request_start(world.ctx, world.request("bob", device_id=OTHER_OUTLET, request_id="rq_shared"))

        again = service.request_start(world.ctx, world.request("ann", request_id="rq_shared"))
        assert again.water_session_id == own.water_session_id
        assert world.wallet("bob").held_minor == 0
