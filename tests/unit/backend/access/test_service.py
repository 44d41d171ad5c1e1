"""A tap at a gate is answered with a reason, once; what the gate saw is counted once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from backend.access import service
from backend.access.models import decisions
from backend.cardholders import service as cardholders
from backend.db import Database
from backend.fleet import service as fleet
from backend.fleet.service import DeviceUnknown
from backend.kit.clock import epoch_ms
from backend.tenants import keys
from gateway.contract.commands import Command, GrantPassage
from gateway.contract.events import CommandRefused, PassageCounted, RefusalCode
from gateway.contract.messages import CredentialKind, CredentialPresented, Decision
from gateway.contract.signing import verify
from tests.factories import NOW
from tests.unit.backend.cardholders.helpers import UID, add, person
from tests.unit.backend.fleet.helpers import TENANT, add_campus, outlet, report

SOON = NOW + timedelta(milliseconds=40)


@dataclass(frozen=True)
class Ctx:
    """What a decision needs, with a clock 40 ms after NOW."""

    db: Database
    secrets_dir: Path
    clock: Callable[[], datetime] = lambda: SOON


@pytest.fixture
def ctx(database: Database, tmp_path: Path) -> Ctx:
    """Return a library gate for students and staff, and a student with a card."""
    with database.write() as conn:
        add_campus(conn)
        fleet.add_device(conn, outlet("dev_gate", place_id="pl_gate", kind="door"))
        service.set_door(conn, service.DoorPolicy(TENANT, "dev_gate", frozenset({"student", "staff"})))
        add(conn)
        cardholders.add_card(conn, tmp_path, TENANT, "ch_1", UID, NOW)
    return Ctx(database, tmp_path)


def presented(
    request_id: str = "rq_1", *, kind: str = "uid", value: str = UID, device: str = "dev_gate", direction: str = "in"
) -> CredentialPresented:
    """Return what a reader saw at NOW."""
    return CredentialPresented(
        request_id=request_id,
        at_ms=epoch_ms(NOW),
        device=device,
        kind=CredentialKind(kind),
        value=value,
        direction=direction,
    )


def command_of(ctx: Ctx, decision: Decision) -> Command:
    """Return the command in a decision if the tenant's key signed it."""
    kid, key = keys.command_key(ctx.secrets_dir, TENANT)
    assert decision.command is not None
    return verify(decision.command, keys={kid: key.public_key()}, as_type=Command)


def passage(decision: Decision | None, ctx: Ctx, event_id: str = "ev_1", **changes: object) -> PassageCounted:
    """Return what the gate saw after a decision, or without one."""
    body = command_of(ctx, decision).body if decision else None
    passage_id = body.passage_id if isinstance(body, GrantPassage) else ""
    fields = {
        "event_id": event_id,
        "at_ms": epoch_ms(SOON),
        "device": "dev_gate",
        "passage_id": passage_id,
        "direction": "in",
    }
    return PassageCounted(**{**fields, **changes})  # type: ignore[arg-type]


class TestDecide:
    def test_grants_one_signed_passage(self, ctx: Ctx) -> None:
        decision = service.decide(ctx, TENANT, presented(), NOW)
        command = command_of(ctx, decision)

        assert (decision.granted, decision.reason) == (True, "ok")
        assert (command.device, command.gateway, command.sequence) == ("dev_gate", "gw_1", 1)
        assert isinstance(command.body, GrantPassage)
        assert 0 < command.not_after_ms - command.issued_at_ms <= 30_000

    def test_answers_a_repeat_as_before_whatever_has_changed(self, ctx: Ctx) -> None:
        first = service.decide(ctx, TENANT, presented(), NOW)
        with ctx.db.write() as conn:
            for each in cardholders.credentials(conn, TENANT, "ch_1"):
                cardholders.freeze_credential(conn, TENANT, each.credential_id, NOW)

        assert service.decide(ctx, TENANT, presented(), SOON) == first
        assert service.decide(ctx, TENANT, presented("rq_2"), SOON).reason == "frozen"

    def test_answers_a_repeated_code_as_before_but_not_a_replayed_one(self, ctx: Ctx) -> None:
        with ctx.db.read() as conn:
            code = cardholders.student_code(conn, ctx.secrets_dir, TENANT, "ch_1", NOW).text
        first = service.decide(ctx, TENANT, presented(kind="code", value=code), NOW)

        assert first.granted
        assert service.decide(ctx, TENANT, presented(kind="code", value=code), NOW) == first
        assert service.decide(ctx, TENANT, presented("rq_2", kind="code", value=code), NOW).reason == "replayed"

    def test_decides_requests_that_come_together_once(self, ctx: Ctx) -> None:
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: service.decide(ctx, TENANT, presented(), NOW), range(4)))

        assert all(answer == answers[0] for answer in answers)
        with ctx.db.read() as conn:
            assert len(conn.execute(select(decisions.c.request_id)).all()) == 1

    @pytest.mark.parametrize(
        ("kind", "value", "reason"),
        [
            ("uid", "04FFFFFFFFFFFF", "unknown_credential"),
            ("uid", "00000000", "unknown_credential"),
            ("code", "not a code", "unknown_credential"),
            ("sun", "aa", "unknown_credential"),
            ("button", "", "unknown_credential"),
        ],
    )
    def test_keeps_every_refusal_with_its_reason(self, ctx: Ctx, kind: str, value: str, reason: str) -> None:
        decision = service.decide(ctx, TENANT, presented(kind=kind, value=value), NOW)

        assert (decision.granted, decision.reason, decision.command) == (False, reason, None)
        with ctx.db.read() as conn:
            row = service.recent_passages(conn, TENANT, "dev_gate", 10)[0]
        assert (row.reason, row.granted, row.latency_ms) == (reason, False, 40)

    def test_tells_an_expired_code(self, ctx: Ctx) -> None:
        with ctx.db.read() as conn:
            code = cardholders.student_code(conn, ctx.secrets_dir, TENANT, "ch_1", NOW - timedelta(minutes=2)).text

        assert service.decide(ctx, TENANT, presented(kind="code", value=code), NOW).reason == "expired"

    def test_keeps_others_out(self, ctx: Ctx) -> None:
        with ctx.db.write() as conn:
            add(conn, person("ch_2", login="guest", person_class="visitor"))
            cardholders.add_card(conn, ctx.secrets_dir, TENANT, "ch_2", "A41E45C6", NOW)

        assert service.decide(ctx, TENANT, presented(value="A41E45C6"), NOW).reason == "wrong_zone"

    def test_lets_a_visitor_in_as_often_as_the_pass_says(self, ctx: Ctx) -> None:
        with ctx.db.write() as conn:
            service.set_door(conn, service.DoorPolicy(TENANT, "dev_gate", frozenset({"visitor"})))
            add(conn, person("ch_2", login="guest", person_class="visitor"))
            end = NOW + timedelta(hours=4)
            cardholders.set_visitor_pass(conn, TENANT, "ch_2", not_before=NOW, not_after=end, uses=1)
        reasons = []
        with ctx.db.read() as conn:
            codes = [
                cardholders.student_code(conn, ctx.secrets_dir, TENANT, "ch_2", NOW + timedelta(seconds=seconds)).text
                for seconds in (0, 15)
            ]
        for number, code in enumerate(codes):
            at = NOW + timedelta(seconds=15 * number)
            reasons.append(service.decide(ctx, TENANT, presented(f"rq_{number}", kind="code", value=code), at).reason)

        assert reasons == ["ok", "visitor_not_valid"]

    def test_lets_nobody_in_at_a_door_without_policy(self, ctx: Ctx) -> None:
        with ctx.db.write() as conn:
            fleet.add_device(conn, outlet("dev_new", place_id="pl_gate", kind="door"))

        assert service.decide(ctx, TENANT, presented(device="dev_new"), NOW).reason == "wrong_zone"

    def test_moves_no_faulty_door(self, ctx: Ctx) -> None:
        with ctx.db.write() as conn:
            fleet.record_health(conn, TENANT, report(device="dev_gate", faults=["tamper"]), NOW)

        assert service.decide(ctx, TENANT, presented(), NOW).reason == "door_faulty"

    def test_knows_neither_outlets_nor_other_gateways_nor_other_schools(self, ctx: Ctx) -> None:
        with pytest.raises(service.DoorUnknown):
            service.decide(ctx, TENANT, presented(device="dev_1"), NOW)
        with pytest.raises(service.DoorUnknown):
            service.decide(ctx, TENANT, presented(), NOW, gateway_id="gw_9")
        with pytest.raises(DeviceUnknown):
            service.decide(ctx, "gxnu", presented(), NOW)

    @pytest.mark.parametrize("request_", [presented(""), presented("x" * 129), presented(direction="up")])
    def test_refuses_requests_it_cannot_keep(self, ctx: Ctx, request_: CredentialPresented) -> None:
        with pytest.raises(service.RequestMalformed):
            service.decide(ctx, TENANT, request_, NOW)


class TestOnPassage:
    def test_counts_an_event_once(self, ctx: Ctx) -> None:
        decision = service.decide(ctx, TENANT, presented(), NOW)
        with ctx.db.write() as conn:
            assert service.on_passage(conn, TENANT, passage(decision, ctx), SOON)
            assert not service.on_passage(conn, TENANT, passage(decision, ctx), SOON)
            rows = service.recent_passages(conn, TENANT, None, 10)

            assert [(row.name, row.name_en, row.reason, row.outcome) for row in rows] == [
                ("王**", "Y. W.", "ok", "passed")
            ]
            assert service.occupancy(conn, TENANT, ["dev_gate"], SOON) == 1


class TestOnRefused:
    def test_shows_that_the_door_did_not_open(self, ctx: Ctx) -> None:
        decision = service.decide(ctx, TENANT, presented(), NOW)
        event = CommandRefused(
            event_id="ev_9",
            at_ms=epoch_ms(SOON),
            code=RefusalCode.EXPIRED,
            device="dev_gate",
            subject_id=passage(decision, ctx).passage_id,
        )
        with ctx.db.write() as conn:
            service.on_refused(conn, TENANT, event, SOON)
            rows = service.recent_passages(conn, TENANT, None, 10)

            assert [row.outcome for row in rows] == ["refused"]
            assert service.occupancy(conn, TENANT, ["dev_gate"], SOON) == 0


class TestRecentPassages:
    def test_lists_passages_without_a_grant_among_the_others(self, ctx: Ctx) -> None:
        service.decide(ctx, TENANT, presented(), NOW)
        later = NOW + timedelta(seconds=9)
        with ctx.db.write() as conn:
            forced = passage(None, ctx, "ev_2", outcome="forced", at_ms=epoch_ms(later))
            service.on_passage(conn, TENANT, forced, later)
            rows = service.recent_passages(conn, TENANT, None, 10)

            assert [(row.reason, row.outcome) for row in rows] == [("no_grant", "forced"), ("ok", None)]
            assert service.recent_passages(conn, TENANT, "dev_other", 10) == []
            assert service.recent_passages(conn, "gxnu", None, 10) == []
            assert len(service.recent_passages(conn, TENANT, None, 1)) == 1


class TestOccupancy:
    def test_starts_anew_at_the_schools_midnight(self, ctx: Ctx) -> None:
        with ctx.db.write() as conn:
            yesterday = NOW - timedelta(hours=20, milliseconds=1)
            service.on_passage(conn, TENANT, passage(None, ctx, "ev_1", at_ms=epoch_ms(yesterday)), NOW)
            service.on_passage(conn, TENANT, passage(None, ctx, "ev_2", at_ms=epoch_ms(NOW - timedelta(hours=20))), NOW)

            assert service.occupancy(conn, TENANT, ["dev_gate"], NOW) == 1
