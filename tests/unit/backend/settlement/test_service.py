"""From the register pair to the receipt, on real slices and both databases."""

import itertools
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import Connection

from backend.db import Database, open_database
from backend.fleet import service as fleet
from backend.ledger import service as ledger
from backend.metering import service as metering
from backend.outbox import service as outbox
from backend.payments import cases
from backend.payments import service as payments
from backend.settlement import accounting, rules, service, sweeper
from backend.tariffs import service as tariffs
from backend.water_sessions import service as water_sessions
from backend.water_sessions.machine import State
from backend.water_sessions.types import WaterSession
from gateway.contract.commands import CloseValve
from gateway.contract.events import MeterRead, RefusalCode, StopReason, ValveOpened
from gateway.contract.units import InvalidKFactor
from tests.unit.backend.water_sessions.world import (
    K_FACTOR,
    OTHER_OUTLET,
    OUTLET,
    START_MINOR,
    TENANT,
    World,
    balance_of,
    health,
)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """Return a filled school."""
    return World(database, tmp_path / "secrets").fill()


def change(world: World, work: Callable[[Connection], object]) -> None:
    """Do something in a transaction that has the tenant's turn."""
    with world.db.write() as conn:
        outbox.take_turn(conn, TENANT)
        work(conn)


def open_valve(world: World, of: WaterSession, *, pulses: int = 1_000) -> None:
    """Let the gateway report an opening."""
    event = world.opened(of, pulses=pulses)
    change(world, lambda conn: service.on_valve_opened(conn, world.ctx, TENANT, event, world.now))


def end(world: World, of: WaterSession, *, pulses: int = 1_000, used: int = 9_000) -> None:
    """Let the gateway report an ending."""
    event = world.ended(of, pulses=pulses, used=used)
    change(world, lambda conn: service.on_ended(conn, world.ctx, TENANT, event, world.now))


class TestOnValveOpened:
    def test_keeps_the_opening_reading(self, world: World) -> None:
        started = world.start()

        open_valve(world, started)

        after = world.session(started.water_session_id)
        assert (after.state, after.opening_pulses, after.k_factor_pulses_per_m3) == (State.FLOWING, 1_000, K_FACTOR)
        with world.db.read() as conn:
            latest = metering.latest(conn, TENANT, OUTLET)
        assert latest is not None
        assert (latest.cause, latest.register_pulses) == ("opening", 1_000)

    def test_closes_an_outlet_that_is_open_without_a_grant(self, world: World) -> None:
        started = world.start()
        refusal = world.refused(started, RefusalCode.DEVICE_FAULT)
        change(world, lambda conn: service.on_refused(conn, world.ctx, TENANT, refusal, world.now))

        open_valve(world, started)

        last = world.commands()[-1].body
        assert isinstance(last, CloseValve)
        assert last.stop_reason == "revoked"
        assert world.session(started.water_session_id).state is State.REFUSED

    def test_refuses_another_device(self, world: World) -> None:
        started = world.start()
        event = ValveOpened(
            event_id="ev_1",
            at_ms=1,
            device=OTHER_OUTLET,
            water_session_id=started.water_session_id,
            cmd_id="",
            opening_pulses=0,
            k_factor_pulses_per_m3=1,
        )

        with pytest.raises(service.WrongDevice):
            change(world, lambda conn: service.on_valve_opened(conn, world.ctx, TENANT, event, world.now))


class TestOnEnded:
    def test_captures_what_the_water_costs_and_releases_the_rest(self, world: World) -> None:
        started = world.start()
        open_valve(world, started)

        end(world, started)

        after = world.session(started.water_session_id)
        assert after.state is State.SETTLED
        assert (after.usage_pulses, after.volume_ml) == (9_000, 20_000)
        assert (after.charge_minor, after.captured_minor, after.overrun_minor) == (66, 66, 0)
        assert world.wallet().posted_minor == START_MINOR - 66
        assert world.wallet().held_minor == 0
        world.check_books()

    @pytest.mark.parametrize(
        ("closed_s", "stands_s"),
        [(240, 240), (-30, 0), (-86_400, 7_200), (7_201, 7_200), (10**9, 7_200)],
        ids=["told late", "a slow clock", "yesterday", "the future", "far future"],
    )
    def test_stands_in_the_books_when_the_valve_closed(self, world: World, closed_s: int, stands_s: int) -> None:
        started = world.start()
        open_valve(world, started)
        event = world.ended(started, at_s=closed_s)
        world.later(7_200)

        change(world, lambda conn: service.on_ended(conn, world.ctx, TENANT, event, world.now))

        stands_at = started.requested_at + timedelta(seconds=stands_s)
        with world.db.read() as conn:
            line = payments.wallet_entries(conn, TENANT, world.people["ann"], 1)[0]
            minute = ledger.period(conn, TENANT, "water_revenue", stands_at, stands_at + timedelta(milliseconds=1))
        assert (line.change_minor, line.event_at, line.recorded_at) == (-66, stands_at, world.now)
        assert minute.in_minor == 66
        world.check_books()

    def test_gives_an_unused_hold_back_when_the_valve_closed(self, world: World) -> None:
        started = world.start()
        open_valve(world, started)
        event = world.ended(started, used=0, at_s=60)
        world.later(7_200)

        change(world, lambda conn: service.on_ended(conn, world.ctx, TENANT, event, world.now))

        with world.db.read() as conn:
            line = payments.wallet_entries(conn, TENANT, world.people["ann"], 1)[0]
        assert (line.kind, line.event_at) == ("void", started.requested_at + timedelta(seconds=60))

    def test_settles_before_the_opening_was_heard_of(self, world: World) -> None:
        started = world.start()

        end(world, started)
        open_valve(world, started)

        after = world.session(started.water_session_id)
        assert (after.state, after.captured_minor) == (State.SETTLED, 66)
        assert after.opened_at is not None

    def test_charges_once_however_often_repeated(self, world: World) -> None:
        started = world.start()

        for _ in range(3):
            end(world, started)

        assert world.wallet().posted_minor == START_MINOR - 66
        assert world.session(started.water_session_id).ignored_events == 2
        world.check_books()

    def test_voids_when_nothing_flowed(self, world: World) -> None:
        started = world.start()

        end(world, started, used=0)

        after = world.session(started.water_session_id)
        assert (after.state, after.captured_minor) == (State.VOIDED, 0)
        assert world.wallet().available_minor == START_MINOR

    def test_books_what_exceeds_the_hold_as_the_operators_loss(self, world: World) -> None:
        started = world.start()

        end(world, started, used=90_000)

        after = world.session(started.water_session_id)
        assert after.captured_minor == started.hold_minor
        assert after.overrun_minor == 660 - started.hold_minor
        with world.db.read() as conn:
            (loss,) = service.unbilled(conn, TENANT)
            assert balance_of(conn, "operator_loss") == after.overrun_minor
        assert (loss.cause, loss.amount_minor) == ("overrun", after.overrun_minor)
        world.check_books()

    def test_never_charges_after_the_hold_was_given_back(self, world: World) -> None:
        started = world.start()
        refusal = world.refused(started, RefusalCode.DEVICE_SILENT)
        change(world, lambda conn: service.on_refused(conn, world.ctx, TENANT, refusal, world.now))

        end(world, started)
        end(world, started)

        after = world.session(started.water_session_id)
        assert (after.state, after.captured_minor, after.volume_ml) == (State.REFUSED, 0, 20_000)
        assert world.wallet().available_minor == START_MINOR
        with world.db.read() as conn:
            (loss,) = service.unbilled(conn, TENANT)
            assert balance_of(conn, "operator_loss") == 66
        assert (loss.cause, loss.closing_pulses - loss.opening_pulses) == ("after_release", 9_000)
        world.check_books()

    def test_bills_a_register_that_rolled_over(self, world: World) -> None:
        started = world.start()

        end(world, started, pulses=2**62, used=4_500)

        assert world.session(started.water_session_id).volume_ml == 10_000

    def test_changes_nothing_for_a_meaningless_k_factor(self, world: World) -> None:
        started = world.start()
        event = world.ended(started)
        from msgspec.structs import replace

        broken = replace(event, k_factor_pulses_per_m3=0)

        with pytest.raises(InvalidKFactor):
            change(world, lambda conn: service.on_ended(conn, world.ctx, TENANT, broken, world.now))

        assert world.session(started.water_session_id).state is State.AUTHORIZED

    def test_refuses_an_unknown_session(self, world: World) -> None:
        started = world.start()
        from msgspec.structs import replace

        stray = replace(world.ended(started), water_session_id="ws_unknown")

        with pytest.raises(water_sessions.WaterSessionUnknown):
            change(world, lambda conn: service.on_ended(conn, world.ctx, TENANT, stray, world.now))

    def test_takes_the_money_of_an_external_hold(self, world: World) -> None:
        started = world.start(method="unionpay")

        end(world, started)
        payments.resolve_due(world.db, world.ctx.providers, clock=world.ctx.clock, limit=10)

        assert ("capture", started.auth_id) in world.unionpay.calls
        assert world.session(started.water_session_id).captured_minor == 66
        assert world.wallet().available_minor == START_MINOR
        world.check_books()


def _held_at_most(held_minor: int) -> Callable[[Connection, WaterSession, int], rules.Bill]:
    """Return a bill that finds less held than there is, so that a reading brings both a charge and a loss."""
    billed = accounting.billed
    return lambda conn, of, held: billed(conn, of, min(held, held_minor))


class TestCorrection:
    def settled_from(self, world: World, register: int | None) -> WaterSession:
        """Return a session that was settled from a reading."""
        started = world.start()
        open_valve(world, started)
        world.later(900 + sweeper.ENDING_WAIT_S + 10)
        registers = {} if register is None else {OUTLET: register}
        with world.db.write() as conn:
            fleet.record_health(conn, TENANT, health(world.now, registers=registers), world.now)
        assert [one.action for one in sweeper.sweep(world.ctx, world.now)] == ["settled_from_register"]
        return started

    @pytest.mark.parametrize(("register", "captured"), [(None, 0), (1_500, 4), (5_500, 33)])
    def test_books_more_water_as_a_loss(self, world: World, register: int | None, captured: int) -> None:
        started = self.settled_from(world, register)

        for _ in range(2):
            end(world, started)

        after = world.session(started.water_session_id)
        assert (after.evidence, after.closing_pulses, after.volume_ml) == ("device_log", 10_000, 20_000)
        assert (after.charge_minor, after.captured_minor, after.overrun_minor) == (66, captured, 66 - captured)
        assert world.wallet().available_minor == START_MINOR - captured
        with world.db.read() as conn:
            (lost,) = service.unbilled(conn, TENANT)
            latest = metering.latest(conn, TENANT, OUTLET)
            assert balance_of(conn, "operator_loss") == 66 - captured
        assert (lost.cause, lost.amount_minor) == ("after_reading", 66 - captured)
        assert latest is not None
        assert (latest.register_pulses, latest.read_at) == (10_000, after.closed_at)
        world.check_books()

    def test_gives_too_high_a_charge_back_once_and_keeps_it_as_a_case(self, world: World) -> None:
        started = self.settled_from(world, 19_000)
        before = world.session(started.water_session_id).captured_minor

        for _ in range(2):
            end(world, started)

        after = world.session(started.water_session_id)
        assert (before, after.captured_minor, after.charge_minor, after.overrun_minor) == (132, 132, 66, 0)
        with world.db.read() as conn:
            (case,) = service.unbilled(conn, TENANT)
            assert balance_of(conn, "operator_loss") == 0
            (refund,) = payments.refunds(conn, TENANT, auth_id=after.auth_id)
            (opened,) = cases.cases(conn, TENANT, limit=9)
            assert balance_of(conn, "water_revenue") == 66
        assert (case.cause, case.amount_minor, case.volume_ml) == ("overcharged", 66, 20_000)
        assert (refund.amount_minor, refund.state, refund.reason) == (66, "done", "overcharged")
        assert (opened.kind, opened.subject_id, opened.amount_minor) == ("overcharged", after.water_session_id, 66)
        assert world.wallet().available_minor == START_MINOR - 66
        world.check_books()

    def test_gives_back_no_more_than_staff_left(self, world: World) -> None:
        started = self.settled_from(world, 19_000)
        with world.db.write() as conn:
            payments.request_refund(
                conn,
                tenant_id=TENANT,
                refund_id="rf_staff",
                auth_id=started.auth_id,
                amount_minor=100,
                reason="goodwill",
                now=world.now,
            )

        end(world, started)

        with world.db.read() as conn:
            refunds = payments.refunds(conn, TENANT, auth_id=started.auth_id)
        assert sorted(refund.amount_minor for refund in refunds) == [32, 100]
        assert world.wallet().available_minor == START_MINOR
        world.check_books()

    def test_says_nothing_when_the_reading_was_right(self, world: World) -> None:
        started = self.settled_from(world, 10_000)

        end(world, started)

        assert world.session(started.water_session_id).evidence == "device_log"
        with world.db.read() as conn:
            assert service.unbilled(conn, TENANT) == []

    @pytest.mark.parametrize(("register", "lost_before"), [(1_500, 4), (5_500, 33), (10_000, 66)])
    def test_books_only_what_the_earlier_loss_left_out(self, world: World, register: int, lost_before: int) -> None:
        started = world.start()
        open_valve(world, started)
        change(
            world, lambda conn: payments.void(conn, tenant_id=TENANT, auth_id=started.auth_id, now=world.now)
        )  # the hold is gone before its ending is known
        world.later(900 + sweeper.ENDING_WAIT_S + 10)
        with world.db.write() as conn:
            fleet.record_health(conn, TENANT, health(world.now, registers={OUTLET: register}), world.now)
        sweeper.sweep(world.ctx, world.now)
        before = world.session(started.water_session_id)
        assert (before.evidence, before.captured_minor, before.overrun_minor) == ("latest_reading", 0, lost_before)

        for _ in range(2):
            end(world, started)

        after = world.session(started.water_session_id)
        assert (after.charge_minor, after.captured_minor, after.overrun_minor) == (66, 0, 66)
        with world.db.read() as conn:
            assert balance_of(conn, "operator_loss") == balance_of(conn, "water_revenue") == 66
            by_cause = {one.cause: one.amount_minor for one in service.unbilled(conn, TENANT)}
        assert by_cause.pop("hold_gone") == lost_before
        assert sum(by_cause.values()) == 66 - lost_before
        world.check_books()

    def settled_with_a_loss(self, world: World, register: int, *, is_held: bool) -> WaterSession:
        """Return a session that was settled from a reading, with a loss beyond its hold or instead of it."""
        started = world.start()
        open_valve(world, started)
        if not is_held:
            change(world, lambda conn: payments.void(conn, tenant_id=TENANT, auth_id=started.auth_id, now=world.now))
        world.later(900 + sweeper.ENDING_WAIT_S + 10)
        with world.db.write() as conn:
            fleet.record_health(conn, TENANT, health(world.now, registers={OUTLET: register}), world.now)
        sweeper.sweep(world.ctx, world.now)
        return started

    @pytest.mark.parametrize(("used", "charge"), [(0, 0), (4_500, 33), (9_000, 66), (11_999, 88)])
    def test_takes_a_loss_back_that_a_reading_had_said_too_high(self, world: World, used: int, charge: int) -> None:
        started = self.settled_with_a_loss(world, 13_000, is_held=False)
        before = world.session(started.water_session_id)
        assert (before.captured_minor, before.overrun_minor) == (0, 88)

        for _ in range(2):
            world.later(60)
            end(world, started, used=used)

        after = world.session(started.water_session_id)
        assert (after.charge_minor, after.captured_minor, after.overrun_minor) == (charge, 0, charge)
        with world.db.read() as conn:
            assert balance_of(conn, "operator_loss") == balance_of(conn, "water_revenue") == charge
            by_cause = {one.cause: one.amount_minor for one in service.unbilled(conn, TENANT)}
            back = [
                each
                for each in ledger.transfers_of(conn, TENANT, started.water_session_id)
                if each.credit_account_id == "operator_loss"
            ]
        assert by_cause.pop("hold_gone") == 88
        assert by_cause == ({"loss_taken_back": 88 - charge} if charge < 88 else {})
        assert [each.amount_minor for each in back] == ([88 - charge] if charge < 88 else [])
        world.check_books()

    @pytest.mark.parametrize("less", [1, 4_500, 200_000])
    def test_takes_the_loss_back_before_it_gives_money_back(
        self, world: World, monkeypatch: pytest.MonkeyPatch, less: int
    ) -> None:
        monkeypatch.setattr(accounting, "billed", _held_at_most(100))
        started = self.settled_with_a_loss(world, 19_000, is_held=True)
        before = world.session(started.water_session_id)
        assert (before.captured_minor, before.overrun_minor) == (100, 32)

        for _ in range(2):
            end(world, started, used=max(18_000 - less, 0))

        after = world.session(started.water_session_id)
        charge = after.charge_minor or 0
        assert (after.captured_minor, after.overrun_minor) == (100, max(charge - 100, 0))
        assert world.wallet().available_minor == START_MINOR - min(charge, 100)
        with world.db.read() as conn:
            assert balance_of(conn, "operator_loss") == max(charge - 100, 0)
            assert balance_of(conn, "water_revenue") == charge
        world.check_books()

    def test_leaves_a_true_ending_as_it_was(self, world: World) -> None:
        started = world.start()
        open_valve(world, started)
        end(world, started)
        settled = world.session(started.water_session_id)

        end(world, started, used=20_000)

        after = world.session(started.water_session_id)
        assert (after.closing_pulses, after.charge_minor, after.captured_minor) == (10_000, 66, 66)
        assert (after.evidence, after.ignored_events) == (settled.evidence, settled.ignored_events + 1)
        with world.db.read() as conn:
            assert service.unbilled(conn, TENANT) == []
            latest = metering.latest(conn, TENANT, OUTLET)
            assert balance_of(conn, "operator_loss") == 0
        assert latest is not None
        assert latest.register_pulses == 10_000
        world.check_books()

    @pytest.mark.parametrize("evidence", [rules.LATEST_READING, rules.CUT_READING])
    def test_does_not_put_one_reading_in_place_of_another(self, world: World, evidence: str) -> None:
        started = self.settled_from(world, 1_500)

        again = replace(world.ended(started), evidence=evidence)
        change(world, lambda conn: service.on_ended(conn, world.ctx, TENANT, again, world.now))

        after = world.session(started.water_session_id)
        assert (after.closing_pulses, after.charge_minor, after.overrun_minor) == (1_500, 4, 0)
        with world.db.read() as conn:
            assert service.unbilled(conn, TENANT) == []
        world.check_books()

    def test_touches_no_other_session_of_the_outlet(self, world: World) -> None:
        first = self.settled_from(world, 1_500)
        second = world.start("bob")
        open_valve(world, second, pulses=10_000)
        end(world, second, pulses=10_000, used=4_500)
        before = world.session(second.water_session_id)
        bobs = world.wallet("bob")

        end(world, first)

        assert world.session(second.water_session_id) == before
        assert world.wallet("bob") == bobs
        assert world.session(first.water_session_id).closing_pulses == 10_000
        with world.db.read() as conn:
            readings = metering.readings_by_device(conn, TENANT)[OUTLET]
        at_ends = {
            (each.reference, each.cause): each.register_pulses for each in readings if each.reference[:3] == "ws_"
        }
        assert at_ends == {
            (first.water_session_id, "opening"): 1_000,
            (first.water_session_id, "closing"): 10_000,
            (second.water_session_id, "opening"): 10_000,
            (second.water_session_id, "closing"): 14_500,
        }
        world.check_books()

    def test_counts_a_loss_after_release_once(self, world: World) -> None:
        started = world.start()
        world.later(sweeper.OPENING_WAIT_S + 1)
        sweeper.sweep(world.ctx, world.now)

        end(world, started)
        end(world, started, used=20_000)

        after = world.session(started.water_session_id)
        assert (after.state, after.closing_pulses, after.ignored_events) == (State.VOIDED, 10_000, 2)
        with world.db.read() as conn:
            assert balance_of(conn, "operator_loss") == 66
            assert len(service.unbilled(conn, TENANT)) == 1


class TestOrder:
    @given(order=st.permutations(range(7)), used=st.integers(0, 120_000))
    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_of_events_does_not_change_the_books(
        self, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory, order: list[int], used: int
    ) -> None:
        folder = tmp_path_factory.mktemp("order")
        shutil.copyfile(sqlite_template, folder / "one.db")
        db = open_database(f"sqlite:///{folder / 'one.db'}")
        world = World(db, folder / "secrets").fill()
        started = world.start()
        opened, ended = world.opened(started), world.ended(started, used=used)
        copy = world.refused(started, RefusalCode.STALE_SEQUENCE)
        close = world.refused(started, RefusalCode.DEVICE_SILENT, cmd_id="cmd_close")
        ws = started.water_session_id
        deeds: list[Callable[[Connection], object]] = [
            lambda conn: service.on_valve_opened(conn, world.ctx, TENANT, opened, world.now),
            lambda conn: service.on_valve_opened(conn, world.ctx, TENANT, opened, world.now),
            lambda conn: service.on_ended(conn, world.ctx, TENANT, ended, world.now),
            lambda conn: service.on_ended(conn, world.ctx, TENANT, ended, world.now),
            lambda conn: service.on_refused(conn, world.ctx, TENANT, copy, world.now),
            lambda conn: service.on_refused(conn, world.ctx, TENANT, close, world.now),
            lambda conn: water_sessions.stop_in(
                conn, world.ctx, water_sessions.locked(conn, TENANT, ws), "remote", world.now
            ),
        ]

        for index in order:
            change(world, deeds[index])

        after = world.session(ws)
        charge = service.live_charge(
            tariffs.version(db.engine.connect(), TENANT, "tf_water", 1),
            pulses=used,
            k_factor_pulses_per_m3=K_FACTOR,
        ).amount_minor
        assert after.state is (State.SETTLED if used else State.VOIDED)
        assert (after.opening_pulses, after.closing_pulses) == (1_000, 1_000 + used)
        assert after.captured_minor == min(charge, started.hold_minor)
        assert world.wallet().posted_minor == START_MINOR - min(charge, started.hold_minor)
        assert world.wallet().held_minor == 0
        with db.read() as conn:
            assert balance_of(conn, "operator_loss") == max(0, charge - started.hold_minor)
        world.check_books()
        db.engine.dispose()


class TestOnRefused:
    @pytest.mark.parametrize("code", sorted(rules.FINAL_REFUSALS))
    def test_gives_the_hold_back_when_the_outlet_would_not(self, world: World, code: RefusalCode) -> None:
        started = world.start()
        refusal = world.refused(started, code)

        change(world, lambda conn: service.on_refused(conn, world.ctx, TENANT, refusal, world.now))

        after = world.session(started.water_session_id)
        assert (after.state, after.refusal) == (State.REFUSED, code.value)
        assert world.wallet().available_minor == START_MINOR

    @pytest.mark.parametrize("code", [RefusalCode.BAD_SIGNATURE, RefusalCode.EXPIRED, RefusalCode.STALE_SEQUENCE])
    def test_believes_no_refusal_that_a_copy_can_cause(self, world: World, code: RefusalCode) -> None:
        started = world.start()
        refusal = world.refused(started, code)

        change(world, lambda conn: service.on_refused(conn, world.ctx, TENANT, refusal, world.now))

        assert world.session(started.water_session_id).state is State.AUTHORIZED
        assert world.wallet().held_minor == started.hold_minor

    def test_does_not_void_when_a_close_is_refused_before_the_opening_is_heard_of(self, world: World) -> None:
        started = world.start()
        change(
            world,
            lambda conn: water_sessions.stop_in(
                conn, world.ctx, water_sessions.locked(conn, TENANT, started.water_session_id), "remote", world.now
            ),
        )
        close = world.commands()[-1]
        refusal = world.refused(started, RefusalCode.DEVICE_SILENT, cmd_id=close.cmd_id)

        change(world, lambda conn: service.on_refused(conn, world.ctx, TENANT, refusal, world.now))
        end(world, started)

        assert world.session(started.water_session_id).captured_minor == 66

    def test_ignores_the_refusal_of_a_close(self, world: World) -> None:
        started = world.start()
        open_valve(world, started)
        refusal = world.refused(started, RefusalCode.DEVICE_SILENT, cmd_id="cmd_close")

        change(world, lambda conn: service.on_refused(conn, world.ctx, TENANT, refusal, world.now))

        assert world.session(started.water_session_id).state is State.FLOWING


class TestOnMeterRead:
    def test_shows_water_that_no_session_explains(self, world: World) -> None:
        started = world.start()
        end(world, started)
        event = MeterRead(
            event_id="ev_leak",
            at_ms=int(world.now.timestamp() * 1000) + 600_000,
            device=OUTLET,
            register_pulses=10_450,
            k_factor_pulses_per_m3=K_FACTOR,
            device_boot_id=1,
            cause="unbilled_flow",
        )

        for _ in range(2):
            change(world, lambda conn: service.on_meter_read(conn, TENANT, event))

        with world.db.read() as conn:
            (gap,) = metering.gaps(conn, TENANT)
        assert gap.usage.pulses == 450


class TestReceipt:
    def test_says_what_the_bill_rests_on(self, world: World) -> None:
        started = world.start()
        open_valve(world, started)
        end(world, started)

        with world.db.read() as conn:
            receipt = service.receipt(conn, TENANT, started.water_session_id)

        assert receipt.session.stop_reason == StopReason.USER
        assert (receipt.session.opening_pulses, receipt.session.closing_pulses) == (1_000, 10_000)
        assert (receipt.tariff.tariff_id, receipt.tariff.version) == ("tf_water", 1)
        assert [place.place_id for place in receipt.places] == ["pl_campus", "pl_room", "pl_outlet1"]
        assert receipt.money.back_minor == started.hold_minor - 66


class TestDeposit:
    def started(self, world: World) -> WaterSession:
        """Start with a method that cannot hold."""
        request = world.request(method="wechat")
        return water_sessions.request_start(world.ctx, request, payer_code="134524350966727175")

    def test_the_unused_part_is_given_back_and_the_receipt_says_so(self, world: World) -> None:
        started = self.started(world)
        end(world, started)

        with world.db.read() as conn:
            receipt = service.receipt(conn, TENANT, started.water_session_id)
            assert balance_of(conn, "water_revenue") == receipt.session.captured_minor == 66
        assert receipt.is_deposit
        assert receipt.money.back_minor == started.hold_minor - 66 > 0
        assert receipt.parts == (payments.Part("wechat", started.hold_minor, 66),)
        payments.resolve_due(world.db, world.ctx.providers, clock=world.ctx.clock, limit=9)
        assert [verb for verb, _ in world.wechat.calls] == ["charge", "refund"]
        world.check_books()

    def test_no_water_gives_all_of_it_back(self, world: World) -> None:
        started = self.started(world)
        end(world, started, used=0)

        payments.resolve_due(world.db, world.ctx.providers, clock=world.ctx.clock, limit=9)
        assert [verb for verb, _ in world.wechat.calls] == ["charge", "void"]
        with world.db.read() as conn:
            assert service.receipt(conn, TENANT, started.water_session_id).money.back_minor == started.hold_minor
        world.check_books()


class TestLiveCharge:
    def test_is_what_the_bill_says(self, world: World) -> None:
        started = world.start()
        end(world, started, used=12_345)
        with world.db.read() as conn:
            tariff = tariffs.version(conn, TENANT, "tf_water", 1)

        shown = service.live_charge(tariff, pulses=12_345, k_factor_pulses_per_m3=K_FACTOR)

        after = world.session(started.water_session_id)
        assert (shown.amount_minor, shown.volume_ml) == (after.charge_minor, after.volume_ml)


def test_hold_covers_every_volume_up_to_the_limit_and_overshoot(tmp_path: Path) -> None:
    from backend.tariffs.rules import OVERSHOOT_ML, plan
    from tests.unit.backend.water_sessions.world import tariff

    for available, price in itertools.product((60, 100, 1_000), (1_000, 3_300, 9_999)):
        hold = plan(tariff(price_minor_per_m3=price), available_minor=available)
        assert hold is not None
        bill = rules.bill(
            tariff(price_minor_per_m3=price),
            opening_pulses=0,
            closing_pulses=hold.volume_limit_ml + OVERSHOOT_ML,
            k_factor_pulses_per_m3=1_000_000,
            held_minor=hold.hold_minor,
        )
        assert bill.overrun_minor == 0
