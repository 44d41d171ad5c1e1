"""
A dormitory's relay board and its pulse counter are one outlet of a whole gateway, and each of the two fails in turn.

The water runs behind the board's relay and through the counter; what was billed and what was explained is what ran.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from firmware_sim.map_device import MapDevice
from gateway.contract.commands import CloseValve, OpenValve
from gateway.contract.events import (
    CommandRefused,
    FaultCleared,
    FaultRaised,
    MeterRead,
    RefusalCode,
    StopReason,
    ValveOpened,
    WaterSessionEnded,
)
from gateway.contract.faults import FaultCode
from gateway.kit import now_ms
from hardware.points import load
from tests.fakes.gateway_backend import FakeBackend
from tests.fakes.gateway_site import GatewaySite, wait_until
from tests.integration.test_real_device_maps import served
from tests.unit.gateway.devices.composed_rig import COUNTER_UNIT, ONE_SHOT, RELAY_UNIT, WATCHDOG, Pipe

DEVICE = "dev_c1"
K_FACTOR = 450_000
#: a liter a second: showers of a test are short
PULSES_PER_S = Fraction(450)


def toml_of(valve_map: str) -> str:
    return f"""
[[devices]]
device_id = "{DEVICE}"
kind = "outlet"
[[devices.parts]]
role = "valve"
line_id = "l1"
unit = {RELAY_UNIT}
map_id = "{valve_map}"
[[devices.parts]]
role = "meter"
line_id = "l1"
unit = {COUNTER_UNIT}
map_id = "wirenboard.wbmcm8"
k_factor = "450"
"""


class Dormitory:
    """A broker, a gateway, a backend, and two units on a line that can be cut off."""

    def __init__(self, folder: Path, valve_map: str) -> None:
        self.site = GatewaySite(folder, devices=[], more_devices=toml_of(valve_map))
        self.pipe = Pipe(load(valve_map), now_ms=now_ms(), pulses_per_s=PULSES_PER_S)
        self.units: dict[int, MapDevice] = {RELAY_UNIT: self.pipe.board, COUNTER_UNIT: self.pipe.counter}
        self.backend: FakeBackend

    def open_for(self, session: str, **limits: int) -> None:
        """Open, and let more than half a liter run."""
        before = self.pipe.pulses
        given = {"volume_limit_ml": 50_000, "duration_limit_s": 300, **limits}
        self.backend.command(DEVICE, OpenValve(water_session_id=session, **given))
        self.backend.wait_for_event(ValveOpened, water_session_id=session)
        wait_until(lambda: self.pipe.pulses - before > 300, why="for water")

    def ended(self, session: str) -> WaterSessionEnded:
        """Return how a session ended."""
        end: WaterSessionEnded = self.backend.wait_for_event(WaterSessionEnded, water_session_id=session)
        assert (end.evidence, end.k_factor_pulses_per_m3) == ("register_continuity", K_FACTOR)
        return end

    def refused(self, session: str) -> CommandRefused:
        """Return why a session was refused."""
        body = OpenValve(water_session_id=session, volume_limit_ml=5_000, duration_limit_s=60)
        self.backend.command(DEVICE, body)
        refused: CommandRefused = self.backend.wait_for_event(CommandRefused, subject_id=session)
        return refused

    def told(self, fault: FaultCode) -> str:
        """Return what a fault was raised with."""
        raised: FaultRaised = self.backend.wait_for_event(FaultRaised, device=DEVICE, fault=fault)
        return raised.detail


@pytest.fixture
def dormitory(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Dormitory]:
    dormitory = Dormitory(tmp_path, getattr(request, "param", ONE_SHOT))
    dormitory.site.start_broker()
    dormitory.backend = dormitory.site.backend()
    try:
        with served(dormitory.site.line_port, dormitory.units):
            dormitory.site.start_gateway()
            dormitory.backend.wait_for_event(MeterRead, device=DEVICE)
            yield dormitory
    finally:
        dormitory.backend.stop()
        dormitory.site.stop()


@pytest.mark.parametrize("dormitory", [ONE_SHOT, WATCHDOG], ids=["one_shot", "poll_watchdog"], indirect=True)
class TestAShower:
    def test_ends_at_its_limit_at_a_word_and_with_the_gateway(self, dormitory: Dormitory) -> None:
        pipe = dormitory.pipe
        dormitory.open_for("ws_full", volume_limit_ml=1_000)
        end = dormitory.ended("ws_full")
        assert end.stop_reason is StopReason.VOLUME_LIMIT
        assert (end.opening_pulses, end.closing_pulses) == (0, pipe.pulses)

        dormitory.open_for("ws_closed")
        dormitory.backend.command(DEVICE, CloseValve(water_session_id="ws_closed", stop_reason="card"))
        second = dormitory.ended("ws_closed")
        assert second.stop_reason is StopReason.CARD
        assert (second.opening_pulses, second.closing_pulses) == (end.closing_pulses, pipe.pulses)

        dormitory.open_for("ws_killed")
        dormitory.site.kill("gateway")
        dormitory.site.start_gateway()
        third = dormitory.ended("ws_killed")
        assert third.stop_reason is StopReason.GATEWAY_RESTART
        assert not pipe.board.is_on(1)
        assert (third.opening_pulses, third.closing_pulses) == (second.closing_pulses, pipe.pulses)


class TestAPowerCut:
    def test_ends_with_what_was_counted_and_the_counter_that_forgot_is_not_believed_at_once(
        self, dormitory: Dormitory
    ) -> None:
        pipe, backend = dormitory.pipe, dormitory.backend
        dormitory.open_for("ws_cut")
        both = dict(dormitory.units)
        dormitory.units.clear()
        ran = pipe.pulses
        assert "meter: unit 6" in dormitory.told(FaultCode.DEVICE_SILENT)
        pipe.board._switch(1, False)
        pipe.counter._counts[0] = Fraction(3)  # what it comes back with
        dormitory.units.update(both)

        end = dormitory.ended("ws_cut")
        assert end.opening_pulses == 0
        assert 0 < end.closing_pulses <= ran
        assert "the register fell from" in dormitory.told(FaultCode.REGISTER_GAP)
        refused = dormitory.refused("ws_early")
        assert refused.code in (RefusalCode.DEVICE_FAULT, RefusalCode.DEVICE_SILENT)
        backend.wait_for_event(FaultCleared, device=DEVICE, fault=FaultCode.REGISTER_GAP)
        dormitory.open_for("ws_after")
        assert backend.wait_for_event(ValveOpened, water_session_id="ws_after").opening_pulses == 3


class TestADeadMeter:
    def test_closes_the_valve_and_opens_for_nobody_until_it_is_back(self, dormitory: Dormitory) -> None:
        pipe, backend = dormitory.pipe, dormitory.backend
        dormitory.open_for("ws_blind")
        counter = dormitory.units.pop(COUNTER_UNIT)
        seen = pipe.pulses
        assert "meter: unit 6: no answer" in dormitory.told(FaultCode.DEVICE_SILENT)

        end = dormitory.ended("ws_blind")
        assert not pipe.board.is_on(1)
        assert end.stop_reason is StopReason.FAULT
        assert end.opening_pulses < end.closing_pulses <= seen + PULSES_PER_S / 5
        refused = dormitory.refused("ws_no_meter")
        assert (refused.code, refused.detail[:14]) == (RefusalCode.DEVICE_SILENT, "meter: unit 6:")
        backend.wait(lambda: backend.health and backend.health[-1].devices[0].state == "silent")

        dormitory.units[COUNTER_UNIT] = counter
        backend.wait_for_event(FaultCleared, device=DEVICE, fault=FaultCode.DEVICE_SILENT)
        # what ran unseen is the counter's word, and nobody's bill
        backend.wait(lambda: backend.events(MeterRead)[-1].register_pulses == pipe.pulses)
        assert pipe.pulses > end.closing_pulses
        assert [each.fault for each in backend.events(FaultRaised)] == [FaultCode.DEVICE_SILENT]
        dormitory.open_for("ws_again")


class TestADeadValve:
    def test_is_a_fault_with_evidence_a_bill_of_what_was_ordered_and_a_leak(self, dormitory: Dormitory) -> None:
        pipe, backend = dormitory.pipe, dormitory.backend
        dormitory.open_for("ws_stuck")
        pipe.is_stuck = True
        board = dormitory.units.pop(RELAY_UNIT)
        seen = pipe.pulses
        assert "valve: unit 5: no answer" in dormitory.told(FaultCode.DEVICE_SILENT)

        end = dormitory.ended("ws_stuck")
        assert end.stop_reason is StopReason.FAULT
        assert end.closing_pulses >= seen
        assert "L behind a valve that does not answer" in dormitory.told(FaultCode.STUCK_OPEN)
        leaks = backend.wait(lambda: [each for each in backend.events(MeterRead) if each.cause == "unbilled_flow"])
        assert leaks[0].register_pulses - end.closing_pulses > 225  # half a litre
        refused = dormitory.refused("ws_no_valve")
        assert (refused.code, refused.detail[:14]) == (RefusalCode.DEVICE_SILENT, "valve: unit 5:")

        pipe.is_stuck = False
        dormitory.units[RELAY_UNIT] = board
        backend.wait_for_event(FaultCleared, device=DEVICE, fault=FaultCode.DEVICE_SILENT)
        wait_until(lambda: not board.is_on(1), why="for the valve to be closed")
        wait_until(lambda: pipe.counter._rates[0] == 0, why="for the water to stop")
