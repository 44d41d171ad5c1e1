"""Outlets of several units: every limit, with each part in turn gone, wrong or stuck; over real frames."""

import asyncio
from collections.abc import Awaitable, Callable
from fractions import Fraction

import pytest

from firmware_sim.makers import Meter, device_of
from firmware_sim.map_device import MapDevice
from gateway.config import ConfiguredDevice
from gateway.devices.composed import ComposedOutlet
from gateway.devices.instrument import Seen
from gateway.devices.keeper import BLIND_MS, DEAF_MS
from gateway.devices.ports import DeviceMismatch, Identity
from gateway.devices.stillness import STEADY_MS
from gateway.modbus.bus import BusError, NoAnswer, Priority
from hardware.points import load
from tests.unit.gateway.devices.composed_rig import (
    COUNTER_UNIT,
    ONE_SHOT,
    PULSES_PER_S,
    RELAY_UNIT,
    THERMOMETER_UNIT,
    WATCHDOG,
    Rig,
    outlet_of,
    rig,
)
from tests.unit.gateway.devices.map_rig import Hand, opening

TEMPERATURE_MAP = "diehl.sharky775"
Patch = pytest.MonkeyPatch


def run(
    work: Callable[[Rig], Awaitable[None]],
    device: ConfiguredDevice | None = None,
    more: Callable[[Hand], dict[int, MapDevice]] = lambda clock: {},
) -> None:
    async def inside() -> None:
        async with rig(device, more=more) as site:
            await work(site)

    asyncio.run(inside())


async def another() -> Identity:
    """Stand in for a part that says it is something else."""
    raise DeviceMismatch("is another", unknown=True)


def thermometer(clock: Hand) -> dict[int, MapDevice]:
    meter = device_of(load(TEMPERATURE_MAP), now_ms=clock.ms)
    assert isinstance(meter, Meter)
    meter.temp_hot_degc = 38.0
    meter.show()
    return {THERMOMETER_UNIT: meter}


@pytest.mark.parametrize("valve_map", [ONE_SHOT, WATCHDOG])
class TestLimits:
    """Of the valve the dead-man class, of the meter everything that is counted."""

    def test_takes_its_class_from_the_valve_and_its_factor_from_the_meter(self, valve_map: str) -> None:
        async def work(site: Rig) -> None:
            identity = await site.outlet.identify()
            assert site.outlet.deadman == load(valve_map).deadman
            assert identity.k_factor_pulses_per_m3 == 450_000
            assert identity.serial == "4200001"
            assert " + Pulse counter" in identity.model

        run(work, outlet_of(valve_map=valve_map))

    def test_closes_at_the_volume_that_the_meter_counts(self, valve_map: str) -> None:
        async def work(site: Rig) -> None:
            assert (await site.outlet.open(opening(volume_limit_ml=1_500))).accepted
            await site.after(12_000)
            assert not site.pipe.board.is_on(1)
            (_, end) = await site.records()
            assert end[:2] == ("END", "VOLUME_LIMIT")
            assert 675 <= end[2] <= 675 + 15  # one look more
            assert end[3] == site.pipe.pulses

        run(work, outlet_of(valve_map=valve_map))

    def test_closes_when_nothing_flows(self, valve_map: str) -> None:
        async def work(site: Rig) -> None:
            await site.outlet.open(opening(idle_limit_s=5))
            site.pipe.flow(Fraction(0), site.clock.ms)
            await site.after(6_000)
            assert (await site.records())[-1] == ("END", "NO_FLOW", 0, 0)

        run(work, outlet_of(valve_map=valve_map))

    def test_its_dead_man_closes_it_when_nobody_looks(self, valve_map: str) -> None:
        async def work(site: Rig) -> None:
            await site.outlet.open(opening(lease_s=20))
            await site.after(2_000)
            site.clock.ms += 40_000
            site.pipe.board.tick(site.clock.ms)
            assert not site.pipe.board.is_on(1)
            await site.outlet.flags()
            label = {"one_shot": "LEASE", "poll_watchdog": "COMM_WATCHDOG"}[site.outlet.deadman]
            assert (await site.records())[-1][:2] == ("END", label)

        run(work, outlet_of(valve_map=valve_map))

    def test_another_relay_and_another_input_are_the_outlets_own(self, valve_map: str) -> None:
        relay = {"valve_cmd": "relay_2"} | ({"valve_pulse": "pulse_2"} if valve_map == ONE_SHOT else {})

        async def work(site: Rig) -> None:
            site.pipe.relay, site.pipe.input = 2, 3
            await site.outlet.open(opening())
            await site.after(2_000)
            assert [site.pipe.board.is_on(number) for number in (1, 2)] == [False, True]
            assert (await site.outlet.status(Priority.HOT)).session_pulses == pytest.approx(135, abs=2)

        run(work, outlet_of(valve_map=valve_map, valve=relay, meter={"pulses_total": "count_3"}))


class TestADeadMeter:
    def test_closes_the_valve_and_ends_with_what_was_last_seen(self) -> None:
        async def work(site: Rig) -> None:
            await site.outlet.open(opening())
            await site.after(4_000)
            seen = (await site.outlet.status(Priority.HOT)).session_pulses
            site.lose(COUNTER_UNIT)
            await site.after(BLIND_MS + 1_000)
            assert not site.pipe.board.is_on(1)
            status = await site.outlet.status(Priority.HOT)
            assert (status.faults, status.state) == ({"DEVICE_SILENT"}, "IDLE")
            assert status.evidence.startswith(f"meter: unit {COUNTER_UNIT}: no answer")
            assert status.refusal == status.evidence
            assert (await site.records())[-1] == ("END", "FAULT", seen, seen)

        run(work)

    def test_that_is_back_tells_what_ran_unseen_and_that_is_no_leak(self) -> None:
        async def work(site: Rig) -> None:
            await site.outlet.open(opening())
            await site.after(1_000)
            counter = site.lose(COUNTER_UNIT)
            await site.after(BLIND_MS + 1_000)
            site.pipe.counter.close_contact(1, 500, site.clock.ms)
            site.units[COUNTER_UNIT] = counter
            site.rested(COUNTER_UNIT)
            status = await site.outlet.status(Priority.HOT)
            assert (status.faults, status.refusal) == (frozenset(), "")
            assert (await site.records())[-1] == ("UNBILLED_FLOW", "0", 0, site.pipe.pulses)

        run(work)

    def test_closes_the_valve_though_the_clock_is_set_back_meanwhile(self) -> None:
        async def work(site: Rig) -> None:
            await site.outlet.open(opening())
            await site.after(1_000)
            site.lose(COUNTER_UNIT)
            await site.outlet.flags()
            site.clock.ms -= 3_600_000
            await site.outlet.flags()
            await site.outlet.flags()
            assert not site.pipe.board.is_on(1)
            assert (await site.records())[-1][:2] == ("END", "FAULT")

        run(work)

    def test_keeps_the_fault_it_told_while_only_the_valve_is_asked(self, monkeypatch: Patch) -> None:
        async def tampered(priority: Priority, *, with_meter: bool) -> Seen:
            return Seen(total=0, faults=frozenset({"TAMPER"}))

        async def work(site: Rig) -> None:
            monkeypatch.setattr(site.part("meter"), "look", tampered)
            assert (await site.outlet.status(Priority.HOT)).faults == {"TAMPER"}
            assert "any_fault" in await site.outlet.flags()

        run(work)

    def test_may_be_away_for_a_moment(self) -> None:
        async def work(site: Rig) -> None:
            await site.outlet.open(opening())
            await site.after(2_000)
            counter = site.lose(COUNTER_UNIT)
            await site.after(1_000)
            site.units[COUNTER_UNIT] = counter
            site.rested(COUNTER_UNIT)
            await site.after(2_000)
            status = await site.outlet.status(Priority.HOT)
            assert (status.is_open, status.faults, status.refusal) == (True, frozenset(), "")
            assert status.session_pulses == site.pipe.pulses

        run(work)

    def test_that_never_answered_is_no_register(self) -> None:
        async def work(site: Rig) -> None:
            site.lose(COUNTER_UNIT)
            with pytest.raises(NoAnswer, match="meter: unit 6"):
                await site.outlet.status(Priority.OPEN)
            with pytest.raises(BusError, match="meter: unit 6"):
                await site.outlet.identify()

        run(work)


@pytest.mark.parametrize("valve_map", [ONE_SHOT, WATCHDOG])
class TestAValveLeftOpen:
    """A gateway that was killed knows of no session; its valve may be asked who it is before the meter answers."""

    @staticmethod
    async def left_open(site: Rig) -> ComposedOutlet:
        """Return the outlet as a gateway that has just started has it, with the valve as the one before left it."""
        await site.outlet.open(opening(lease_s=60))
        await site.after(1_000)
        assert site.pipe.board.is_on(1)
        parts = {role: site.part(role) for role in ("meter", "valve")}  # in the order a site may write them
        return ComposedOutlet(parts, clock=site.clock)

    def test_is_closed_though_the_meter_does_not_say_who_it_is(self, valve_map: str) -> None:
        async def work(site: Rig) -> None:
            outlet = await self.left_open(site)
            site.lose(COUNTER_UNIT)
            with pytest.raises(NoAnswer, match="meter: unit 6"):
                await outlet.identify()
            assert not site.pipe.board.is_on(1)

        run(work, outlet_of(valve_map=valve_map))

    def test_is_closed_though_the_meter_is_another_device(self, valve_map: str, monkeypatch: Patch) -> None:
        async def work(site: Rig) -> None:
            outlet = await self.left_open(site)
            monkeypatch.setattr(site.part("meter"), "identify", another)
            with pytest.raises(DeviceMismatch, match="meter: is another"):
                await outlet.identify()
            assert not site.pipe.board.is_on(1)

        run(work, outlet_of(valve_map=valve_map))

    def test_is_closed_though_the_meter_never_showed_a_register(self, valve_map: str) -> None:
        async def work(site: Rig) -> None:
            outlet = await self.left_open(site)
            site.lose(COUNTER_UNIT)
            with pytest.raises(NoAnswer, match="meter: unit 6"):
                await outlet.status(Priority.HOT)
            assert not site.pipe.board.is_on(1)

        run(work, outlet_of(valve_map=valve_map))

    def test_is_left_alone_where_something_else_answers_for_it(self, valve_map: str, monkeypatch: Patch) -> None:
        async def work(site: Rig) -> None:
            outlet = await self.left_open(site)
            monkeypatch.setattr(site.part("valve"), "identify", another)
            with pytest.raises(DeviceMismatch, match="valve: is another"):
                await outlet.identify()
            assert site.pipe.board.is_on(1)

        run(work, outlet_of(valve_map=valve_map))

    def test_keeps_its_limits_while_a_part_is_asked_in_vain_who_it_is(self, valve_map: str) -> None:
        async def work(site: Rig) -> None:
            await site.outlet.open(opening(lease_s=60))
            await site.after(1_000)
            seen = site.pipe.pulses
            site.lose(COUNTER_UNIT)
            for _ in range((BLIND_MS + 1_000) // 500):
                site.clock.ms += 500
                site.pipe.board.tick(site.clock.ms)
                with pytest.raises(BusError, match="meter: unit 6"):
                    await site.outlet.identify()
            assert not site.pipe.board.is_on(1)
            assert (await site.records())[-1] == ("END", "FAULT", seen, seen)

        run(work, outlet_of(valve_map=valve_map))


class TestADeadValve:
    def test_ends_with_what_had_run_when_it_was_told_to_close_and_the_rest_is_a_leak(self) -> None:
        async def work(site: Rig) -> None:
            await site.outlet.open(opening(lease_s=30))
            await site.after(4_000)
            site.lose(RELAY_UNIT)  # its relay stays on until its pulse ends; that it cannot be told
            seen = site.pipe.pulses
            site.pipe.is_stuck = True  # and the valve hangs
            await site.after(BLIND_MS + DEAF_MS + 1_000)
            assert (await site.outlet.renew(opening())).code in ("BAD_STATE", "NO_ANSWER")
            assert not (await site.outlet.close(0xDEADBEEF, "REMOTE")).accepted
            _, end, leak = await site.records()
            assert end[:2] == ("END", "FAULT")
            assert seen <= end[2] <= seen + PULSES_PER_S * (BLIND_MS + 1_000) / 1_000
            assert leak[0] == "UNBILLED_FLOW"
            assert leak[3] > end[3]
            status = await site.outlet.status(Priority.HOT)
            assert status.faults == {"DEVICE_SILENT", "STUCK_OPEN"}
            assert "valve: unit 5: no answer" in status.evidence
            assert "L behind a valve that does not answer" in status.evidence
            assert not status.is_open  # of a valve that does not answer nobody says that it is open
            assert status.valve == "UNKNOWN"

        run(work)

    def test_that_comes_back_open_is_told_to_close(self) -> None:
        async def work(site: Rig) -> None:
            await site.outlet.open(opening())
            await site.after(1_000)
            board = site.lose(RELAY_UNIT)
            await site.after(BLIND_MS + 1_000)
            site.units[RELAY_UNIT] = board
            site.rested(RELAY_UNIT)
            await site.after(3_000)
            assert not site.pipe.board.is_on(1)
            end = (await site.records())[-1]
            assert (end[0], end[1], end[3]) == ("END", "FAULT", site.pipe.pulses)

        run(work)


class TestALeak:
    def test_through_a_closed_valve_is_a_record_and_a_fault_that_passes(self) -> None:
        async def work(site: Rig) -> None:
            await site.outlet.status(Priority.HOT)
            site.pipe.flow(PULSES_PER_S, site.clock.ms)
            for _ in range(2):
                site.clock.ms += 5_000
                status = await site.outlet.status(Priority.HOT)
            assert status.faults == {"LEAK_CLOSED"}
            assert status.evidence == "the meter counted 1.5 L with the valve closed"
            assert [record[0] for record in await site.records()] == ["UNBILLED_FLOW"] * 2
            site.pipe.flow(Fraction(0), site.clock.ms)
            site.clock.ms += 150_000
            assert (await site.outlet.status(Priority.HOT)).faults == frozenset()

        run(work)

    def test_a_drop_is_none(self) -> None:
        async def work(site: Rig) -> None:
            await site.outlet.status(Priority.HOT)
            site.pipe.counter.close_contact(1, 100, site.clock.ms)
            assert (await site.outlet.status(Priority.HOT)).faults == frozenset()
            assert await site.records() == []

        run(work)


class TestContinuity:
    def test_a_register_that_fell_is_believed_once_it_has_gone_on(self) -> None:
        async def work(site: Rig) -> None:
            site.pipe.counter.close_contact(1, 1_000, site.clock.ms)
            await site.outlet.status(Priority.HOT)
            site.pipe.counter._counts[0] = Fraction(3)
            site.pipe.counter.tick(site.clock.ms + 1)
            assert (await site.outlet.status(Priority.OPEN)).faults == frozenset()  # perhaps an old answer
            status = await site.outlet.status(Priority.OPEN)
            assert status.faults == {"REGISTER_GAP"}
            assert status.refusal == "the register fell from 1000 to 3: it is believed when it has counted on"
            site.clock.ms += STEADY_MS
            status = await site.outlet.status(Priority.OPEN)
            assert (status.faults, status.refusal) == (frozenset(), "")

        run(work)

    def test_in_a_session_nothing_is_counted_that_nobody_saw(self) -> None:
        async def work(site: Rig) -> None:
            await site.outlet.open(opening())
            await site.after(2_000)
            before = (await site.outlet.status(Priority.HOT)).session_pulses
            site.pipe.counter._counts[0] = Fraction(0)
            await site.after(1_000)
            status = await site.outlet.status(Priority.HOT)
            assert before <= status.session_pulses <= before + PULSES_PER_S
            assert status.faults == {"REGISTER_GAP"}

        run(work)

    def test_another_meter_is_not_taken_for_the_first(self) -> None:
        async def work(site: Rig) -> None:
            await site.outlet.status(Priority.HOT)
            site.pipe.counter.put("serial", 4_200_002)
            await site.outlet.identify()
            status = await site.outlet.status(Priority.OPEN)
            assert "the meter is another one: '4200001' before, now '4200002'" in status.refusal

        run(work)


class TestTemperature:
    def test_comes_from_the_part_that_has_it_and_ends_what_is_too_hot(self) -> None:
        async def work(site: Rig) -> None:
            await site.outlet.open(opening(temperature_limit_decidegc=400))
            await site.after(1_000)
            assert (await site.outlet.status(Priority.HOT)).temperature_decidegc == 380
            meter = site.units[THERMOMETER_UNIT]
            assert isinstance(meter, Meter)
            meter.temp_hot_degc = 55.0
            meter.show()
            await site.after(400)
            assert (await site.records())[-1][:2] == ("END", "SCALD")

        run(work, outlet_of(temperature_map=TEMPERATURE_MAP), thermometer)

    def test_that_is_gone_closes_the_valve_and_opens_nothing(self) -> None:
        async def work(site: Rig) -> None:
            await site.outlet.open(opening())
            await site.after(1_000)
            site.lose(THERMOMETER_UNIT)
            await site.after(BLIND_MS + 1_000)
            assert (await site.records())[-1][:2] == ("END", "FAULT")
            assert (await site.outlet.status(Priority.OPEN)).refusal.startswith("temperature: unit 8: no answer")

        run(work, outlet_of(temperature_map=TEMPERATURE_MAP), thermometer)


class TestIdentify:
    def test_says_which_part_is_another_device(self) -> None:
        async def other() -> None:
            raise DeviceMismatch("identity is 0000", unknown=True)

        async def work(site: Rig) -> None:
            site.part("meter")._check_match = other  # type: ignore[method-assign]
            with pytest.raises(DeviceMismatch, match="meter: identity is 0000") as caught:
                await site.outlet.identify()
            assert caught.value.unknown

        run(work)
