"""All figures agree, or exactly the one that does not is named."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, update

from backend.db import Database
from backend.kit.clock import epoch_ms
from backend.kit.ids import new_id
from backend.ledger import service as ledger
from backend.ledger.models import accounts, transfers
from backend.ledger.rules import TransferKind, TransferRequest
from backend.metering.models import readings
from backend.outbox import service as outbox
from backend.payments import service as payments
from backend.reconciliation import service
from backend.settlement import service as settlement
from backend.water_sessions.models import water_sessions
from backend.water_sessions.types import WaterSession
from gateway.contract.events import MeterRead
from tests.unit.backend.water_sessions.world import (
    K_FACTOR,
    OTHER_OUTLET,
    OUTLET,
    START_MINOR,
    TENANT,
    UNKNOWN,
    World,
)

#: Pulses used by four showers, one after the other; the third is beyond its hold, the last without any flow.
USED = (9_000, 4_321, 90_000, 0)


def change(world: World, work: Callable[[Connection], object]) -> None:
    """Do something in a transaction that has the tenant's turn."""
    with world.db.write() as conn:
        outbox.take_turn(conn, TENANT)
        work(conn)


def shower(world: World, *, opening: int, used: int, device_id: str = OUTLET, method: str = "wallet") -> WaterSession:
    """Let Ann shower and return the settled session; the clock moves on by five minutes."""
    started = world.start("ann", device_id=device_id, method=method)
    opened, ended = world.opened(started, pulses=opening), world.ended(started, pulses=opening, used=used)
    change(world, lambda conn: settlement.on_valve_opened(conn, world.ctx, TENANT, opened, world.now))
    change(world, lambda conn: settlement.on_ended(conn, world.ctx, TENANT, ended, world.now))
    world.later(300)
    world.connect()
    return world.session(started.water_session_id)


def meter_read(world: World, pulses: int, cause: str = "scheduled", *, device_id: str = OUTLET) -> None:
    """Let the gateway report a reading now."""
    event = MeterRead(
        event_id=new_id("ev"),
        at_ms=epoch_ms(world.now),
        device=device_id,
        register_pulses=pulses,
        k_factor_pulses_per_m3=K_FACTOR,
        device_boot_id=1,
        cause=cause,
    )
    change(world, lambda conn: settlement.on_meter_read(conn, TENANT, event))


def showers(world: World) -> list[WaterSession]:
    """Let the water run as USED says, without gaps, and return the sessions."""
    register, done = 1_000, []
    for used in USED:
        done.append(shower(world, opening=register, used=used))
        register += used
    return done


def reconcile(world: World) -> service.Run:
    """Return a run now."""
    with world.db.write() as conn:
        return service.run(conn, TENANT, world.now)


def kinds(run: service.Run) -> list[str]:
    """Return the kinds of a run's breaks."""
    return [each.kind for each in run.breaks]


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """Return a filled school."""
    return World(database, tmp_path / "secrets").fill()


class TestRunWithoutBreaks:
    def test_finds_nothing_in_an_unused_school(self, world: World) -> None:
        run = reconcile(world)

        assert (run.breaks, run.sessions, run.devices) == ((), 0, 2)

    def test_explains_every_pulse(self, world: World) -> None:
        meter_read(world, 1_000, "boot")
        showers(world)
        shower(world, opening=50, used=700, device_id=OTHER_OUTLET, method="unionpay")
        meter_read(world, 1_000 + sum(USED))

        run = reconcile(world)

        assert run.breaks == ()
        assert run.register_pulses == run.billed_pulses + run.free_pulses + run.lost_pulses == sum(USED) + 700
        assert run.sessions == 5

    def test_takes_running_water_for_nobodys_gap(self, world: World) -> None:
        showers(world)
        register = 1_000 + sum(USED)
        started = world.start("bob")
        opened = world.opened(started, pulses=register)
        world.later(30)
        meter_read(world, register + 500)
        before_opening_was_heard = reconcile(world)
        change(world, lambda conn: settlement.on_valve_opened(conn, world.ctx, TENANT, opened, world.now))
        meter_read(world, register + 600)

        assert before_opening_was_heard.breaks == ()
        assert reconcile(world).breaks == ()

    def test_books_water_after_a_released_hold_as_lost(self, world: World) -> None:
        started = world.start("ann")
        change(world, lambda conn: payments.void(conn, tenant_id=TENANT, auth_id=started.auth_id, now=world.now))
        ended = world.ended(started)
        change(world, lambda conn: settlement.on_ended(conn, world.ctx, TENANT, ended, world.now))

        run = reconcile(world)

        assert run.breaks == ()
        assert (run.billed_pulses, run.lost_pulses) == (0, 9_000)


class TestRunFindsWater:
    def test_between_sessions(self, world: World) -> None:
        shower(world, opening=1_000, used=9_000)
        shower(world, opening=10_045, used=900)

        run = reconcile(world)

        assert kinds(run) == ["register_gap"]
        gap = run.breaks[0]
        assert (gap.subject, gap.pulses, gap.volume_ml, gap.owner) == (OUTLET, 45, 100, "facilities")
        assert "nothing reported" in gap.cause
        assert run.register_pulses == run.billed_pulses + run.gap_pulses == 9_945

    def test_before_the_first_and_after_the_last_session(self, world: World) -> None:
        meter_read(world, 900, "boot")
        world.later(10)
        shower(world, opening=1_000, used=9_000)
        meter_read(world, 19_000, "unbilled_flow")

        run = reconcile(world)

        assert [(each.kind, each.pulses) for each in run.breaks] == [("register_gap", 100), ("register_gap", 9_000)]
        assert "reported by the gateway" in run.breaks[1].cause
        assert run.breaks[1].amount_minor == 66

    def test_where_nobody_ever_showered(self, world: World) -> None:
        meter_read(world, 10, "boot")
        world.later(60)
        meter_read(world, 460)

        assert [(each.kind, each.volume_ml) for each in reconcile(world).breaks] == [("register_gap", 1_000)]

    def test_a_meter_that_was_reset(self, world: World) -> None:
        shower(world, opening=50_000, used=9_000)
        shower(world, opening=20, used=900)

        run = reconcile(world)

        assert [(each.kind, each.pulses) for each in run.breaks] == [("register_reset", 20)]
        assert run.register_pulses == 9_000 + 20 + 900

    def test_that_was_billed_twice(self, world: World) -> None:
        shower(world, opening=1_000, used=9_000)
        shower(world, opening=9_500, used=900)

        assert [(each.kind, each.pulses) for each in reconcile(world).breaks] == [("register_overlap", -500)]


@contextmanager
def undone(world: World) -> Iterator[Connection]:
    """Yield a connection whose changes are rolled back."""
    with world.db.engine.connect() as conn:
        if world.db.is_sqlite:
            conn.exec_driver_sql("BEGIN IMMEDIATE")
        yield conn
        conn.rollback()


def session_figure(column: str) -> Callable[[Connection, WaterSession, int], object]:
    """Return what adds to a figure of a session."""

    def corrupt(conn: Connection, of: WaterSession, off: int) -> None:
        where = water_sessions.c.water_session_id == of.water_session_id
        conn.execute(update(water_sessions).where(where).values({column: getattr(of, column) + off}))

    return corrupt


def reading_figure(cause: str) -> Callable[[Connection, WaterSession, int], object]:
    """Return what adds to a meter reading of a session."""

    def corrupt(conn: Connection, of: WaterSession, off: int) -> None:
        value = (of.opening_pulses if cause == "opening" else of.closing_pulses) or 0
        where = (readings.c.cause == cause, readings.c.reference == of.water_session_id)
        conn.execute(update(readings).where(*where).values(register_pulses=value + off))

    return corrupt


def lose_reading(conn: Connection, of: WaterSession, _: int) -> None:
    """Forget a session's closing reading."""
    conn.execute(delete(readings).where(readings.c.cause == "closing", readings.c.reference == of.water_session_id))


def shrink_hold(conn: Connection, of: WaterSession, _: int) -> None:
    """Let a session have held less than was captured."""
    where = water_sessions.c.water_session_id == of.water_session_id
    conn.execute(update(water_sessions).where(where).values(hold_minor=(of.captured_minor or 0) - 1))


def account_sum(conn: Connection, _: WaterSession, off: int) -> None:
    """Change the running sum of an account."""
    where = accounts.c.account_id == "water_revenue"
    conn.execute(update(accounts).where(where).values(credits_posted=accounts.c.credits_posted + off))


CORRUPTIONS: dict[str, tuple[Callable[[Connection, WaterSession, int], object], str]] = {
    "opening": (session_figure("opening_pulses"), "reading_mismatch"),
    "closing": (session_figure("closing_pulses"), "reading_mismatch"),
    "usage": (session_figure("usage_pulses"), "usage_mismatch"),
    "volume": (session_figure("volume_ml"), "volume_mismatch"),
    "charge": (session_figure("charge_minor"), "charge_mismatch"),
    "captured": (session_figure("captured_minor"), "capture_mismatch"),
    "overrun": (session_figure("overrun_minor"), "overrun_mismatch"),
    "hold": (shrink_hold, "capture_beyond_hold"),
    "opening reading": (reading_figure("opening"), "reading_mismatch"),
    "closing reading": (reading_figure("closing"), "reading_mismatch"),
    "lost reading": (lose_reading, "reading_missing"),
    "account": (account_sum, "ledger_account"),
}


class TestRunFindsOneWrongFigure:
    def test_and_names_exactly_it(self, world: World) -> None:
        done = [each for each in showers(world) if each.captured_minor]
        assert reconcile(world).breaks == ()

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.sampled_from(sorted(CORRUPTIONS)), st.sampled_from(done), st.integers(1, 500))
        def corrupt_one(name: str, of: WaterSession, off: int) -> None:
            corrupt, expected = CORRUPTIONS[name]
            with undone(world) as conn:
                corrupt(conn, of, off)
                run = service.run(conn, TENANT, world.now)

            assert kinds(run) == [expected]
            subjects = {"water_revenue"} if name == "account" else {of.water_session_id}
            assert {each.subject for each in run.breaks} == subjects

        corrupt_one()


def book(world: World, **request: Any) -> None:
    """Book a transfer between two accounts of the school."""

    def work(conn: Connection) -> None:
        asked = TransferRequest(event_at=world.now, **request)
        assert ledger.execute(conn, TENANT, [asked], now=world.now)[0].stands

    change(world, work)


class TestRunFindsMoney:
    def test_of_a_session_that_is_gone(self, world: World) -> None:
        done = showers(world)
        with undone(world) as conn:
            conn.execute(delete(water_sessions).where(water_sessions.c.water_session_id == done[1].water_session_id))
            run = service.run(conn, TENANT, world.now)

        assert kinds(run) == ["register_gap", "money_without_session"]
        assert run.breaks[1].amount_minor == done[1].captured_minor

    def test_that_a_session_claims_and_nobody_took(self, world: World) -> None:
        done = showers(world)
        with undone(world) as conn:
            conn.execute(delete(transfers).where(transfers.c.reference == done[0].water_session_id))
            run = service.run(conn, TENANT, world.now)

        assert "session_without_money" in kinds(run)
        assert "ledger_account" in kinds(run)

    def test_left_in_clearing(self, world: World) -> None:
        with world.db.write() as conn:
            wallet = ledger.account(conn, TENANT, "cardholder_wallet", world.people["ann"])
            clearing = ledger.account(conn, TENANT, "payment_clearing", "wallet")
        book(
            world,
            transfer_id="tr_stray",
            kind=TransferKind.SINGLE,
            debit_account_id=wallet,
            credit_account_id=clearing,
            amount_minor=7,
            reference="ws_stray",
        )

        assert [(each.kind, each.subject, each.amount_minor) for each in reconcile(world).breaks] == [
            ("clearing_open", "ws_stray", 7)
        ]

    def test_held_for_more_than_a_day(self, world: World) -> None:
        with world.db.write() as conn:
            wallet = ledger.account(conn, TENANT, "cardholder_wallet", world.people["ann"])
            clearing = ledger.account(conn, TENANT, "payment_clearing", "wallet")
        book(
            world,
            transfer_id="tr_parked",
            kind=TransferKind.PENDING,
            debit_account_id=wallet,
            credit_account_id=clearing,
            amount_minor=START_MINOR,
            reference="ws_parked",
        )
        world.later(timedelta(hours=24).total_seconds())
        in_time = reconcile(world)
        world.later(1)

        assert in_time.breaks == ()
        assert [(each.kind, each.owner) for each in reconcile(world).breaks] == [("hold_unresolved", "finance")]

    def test_that_a_provider_never_answered_for(self, world: World) -> None:
        world.unionpay.answer = UNKNOWN
        world.start("ann", method="unionpay")
        in_time = reconcile(world)
        world.later(timedelta(hours=25).total_seconds())

        assert in_time.breaks == ()
        assert kinds(reconcile(world)) == ["payment_unknown"]


class TestStoredRuns:
    def test_of_a_day_that_was_compared_stands_in_the_next_run(self, world: World) -> None:
        first = shower(world, opening=1_000, used=9_000)
        started = world.start("ann")
        opened, ended = world.opened(started, pulses=10_000), world.ended(started, pulses=10_000, used=4_500)
        world.later(86_400)
        before = reconcile(world)
        world.later(60)

        change(world, lambda conn: settlement.on_valve_opened(conn, world.ctx, TENANT, opened, world.now))
        change(world, lambda conn: settlement.on_ended(conn, world.ctx, TENANT, ended, world.now))
        recorded_at = world.now
        world.later(60)
        world.connect()
        on_time = shower(world, opening=14_500, used=4_500)
        after = reconcile(world)
        last = reconcile(world)

        assert (before.sessions, after.sessions, after.breaks) == (1, 3, ())
        with world.db.read() as conn:
            runs = [service.late(conn, TENANT, run.run_id) for run in (before, after, last)]
        (late,) = runs[1]
        assert (runs[0], runs[2]) == ([], [])
        assert (late.reference, late.amount_minor, late.recorded_at) == (started.water_session_id, 33, recorded_at)
        assert late.event_at == started.requested_at + timedelta(seconds=120)
        assert {first.water_session_id, on_time.water_session_id}.isdisjoint({late.reference})

    def test_are_the_same_when_asked_again(self, world: World) -> None:
        shower(world, opening=1_000, used=9_000)
        shower(world, opening=10_045, used=900)
        with world.db.write() as conn:
            first = service.run(conn, TENANT, world.now, run_id="rec_1")
        shower(world, opening=99_999, used=900)
        with world.db.write() as conn:
            again = service.run(conn, TENANT, world.now, run_id="rec_1")

            assert again == first == service.get(conn, TENANT, "rec_1")
            assert service.runs(conn, TENANT) == [first]
            assert service.breaks(conn, TENANT, "rec_1") == list(first.breaks)

    def test_are_not_another_schools(self, world: World) -> None:
        with world.db.write() as conn:
            service.run(conn, TENANT, world.now, run_id="rec_1")

            with pytest.raises(service.RunUnknown):
                service.get(conn, "south", "rec_1")
