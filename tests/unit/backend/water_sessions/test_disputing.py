"""A session is disputed while finance looks at it, and settled again when they have decided."""

from pathlib import Path
from typing import Any

import pytest

from backend.cardholders import service as cardholders
from backend.db import Database
from backend.errors import BackendError
from backend.payments import cases, staff_entries
from backend.settlement import service as settlement
from backend.water_sessions import disputing, service
from backend.water_sessions.machine import State
from backend.water_sessions.types import WaterSession
from tests.unit.backend.water_sessions.world import TENANT, World


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """Return a filled school with people of finance."""
    filled = World(database, tmp_path / "secrets").fill()
    with database.write() as conn:
        for login, role in (("fin", "finance"), ("boss", "approver")):
            person = cardholders.Cardholder(
                TENANT, f"ch_{login}", login, login, login, "staff", "active", frozenset({role})
            )
            cardholders.add_cardholder(conn, person, "a long password", filled.now)
    return filled


def _shower(world: World, used: int = 9_000) -> WaterSession:
    started = world.start()
    with world.db.write() as conn:
        settlement.on_valve_opened(conn, world.ctx, TENANT, world.opened(started), world.now)
        return settlement.on_ended(conn, world.ctx, TENANT, world.ended(started, used=used), world.now)


def _open(world: World, of: WaterSession, person: str = "ann", **changed: Any) -> disputing.Dispute:
    values: dict[str, Any] = {"dispute_id": "dp_1", "reason": "too_cold", "text": ""}
    with world.db.write() as conn:
        return disputing.open_dispute(
            conn,
            tenant_id=TENANT,
            water_session_id=of.water_session_id,
            cardholder_id=world.people[person],
            now=world.now,
            **{**values, **changed},
        )


def _decide(world: World, upheld_minor: int, entry_id: str = "en_1") -> disputing.Dispute:
    with world.db.write() as conn:
        return disputing.decide_dispute(
            conn,
            tenant_id=TENANT,
            dispute_id="dp_1",
            upheld_minor=upheld_minor,
            answer="the meter was right",
            decided_by="ch_fin",
            entry_id=entry_id,
            now=world.now,
        )


def _state(world: World, of: WaterSession) -> State:
    with world.db.read() as conn:
        return service.session(conn, TENANT, of.water_session_id).state


class TestOpenDispute:
    def test_marks_the_session_and_keeps_what_the_meter_says(self, world: World) -> None:
        shower = _shower(world)

        opened = _open(world, shower)
        again = _open(world, shower)

        assert again == opened
        assert _state(world, shower) is State.DISPUTED
        with world.db.read() as conn:
            about = cases.case_of(conn, TENANT, "dispute", "dp_1")
        assert about is not None
        said = about.evidence
        assert (said["volume_ml"], said["temperature_decidegc"], said["device_log_sequence"]) == (20_000, 401, 7)
        assert (said["opening_pulses"], said["closing_pulses"], said["suggested_minor"]) == (1_000, 10_000, None)

    def test_suggests_all_of_it_where_no_water_was_counted(self, world: World) -> None:
        shower = _shower(world, used=225)

        _open(world, shower, reason="no_water")

        with world.db.read() as conn:
            about = cases.case_of(conn, TENANT, "dispute", "dp_1")
        assert about is not None
        assert about.evidence["suggested_minor"] == shower.captured_minor == 2

    def test_is_for_who_used_the_water(self, world: World) -> None:
        shower = _shower(world)

        with pytest.raises(service.WaterSessionUnknown):
            _open(world, shower, person="bob")

        assert _state(world, shower) is State.SETTLED

    def test_is_about_a_settled_session(self, world: World) -> None:
        running = world.start()

        with pytest.raises(BackendError) as refused:
            _open(world, running)

        assert refused.value.code == "dispute_not_possible"

    def test_is_one_at_a_time(self, world: World) -> None:
        shower = _shower(world)
        _open(world, shower)

        with pytest.raises(BackendError) as refused:
            _open(world, shower, dispute_id="dp_2")

        assert refused.value.code == "dispute_open"


class TestDecideDispute:
    def test_rejected_settles_the_session(self, world: World) -> None:
        shower = _shower(world)
        _open(world, shower)

        decided = _decide(world, 0)

        assert (decided.state, _state(world, shower)) == ("rejected", State.SETTLED)
        assert _decide(world, 0) == decided
        assert _open(world, shower, dispute_id="dp_2").state == "open"
        assert _state(world, shower) is State.DISPUTED

    def test_upheld_settles_the_session_and_pays_back_when_approved(self, world: World) -> None:
        shower = _shower(world)
        _open(world, shower)
        before = world.wallet().posted_minor

        decided = _decide(world, shower.captured_minor or 0)
        with world.db.write() as conn:
            staff_entries.approve(conn, tenant_id=TENANT, entry_id="en_1", approved_by="ch_boss", now=world.now)

        assert (decided.state, _state(world, shower)) == ("upheld", State.SETTLED)
        assert world.wallet().posted_minor == before + (shower.captured_minor or 0)
        with world.db.read() as conn:
            assert disputing.dispute(conn, TENANT, "dp_1").state == "refunded"
        world.check_books()

    def test_may_be_taken_again_when_the_second_person_refuses(self, world: World) -> None:
        shower = _shower(world)
        _open(world, shower)
        _decide(world, 10)
        with world.db.write() as conn:
            staff_entries.reject(
                conn,
                tenant_id=TENANT,
                entry_id="en_1",
                rejected_by="ch_boss",
                note="the valve log says otherwise",
                now=world.now,
            )

        again = _decide(world, 5, "en_2")

        assert (again.state, again.amount_minor, _state(world, shower)) == ("upheld", 5, State.SETTLED)

    def test_changes_nothing_when_refused(self, world: World) -> None:
        shower = _shower(world)
        _open(world, shower)

        with pytest.raises(BackendError) as refused:
            _decide(world, (shower.captured_minor or 0) + 1)

        assert refused.value.code == "not_refundable"
        assert _state(world, shower) is State.DISPUTED
