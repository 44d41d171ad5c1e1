"""What a gateway says of itself, and what it obeys after an interruption: real processes, a real broker, a real bus."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.contract.commands import CloseValve, OpenValve
from gateway.contract.events import CommandRefused, FaultCleared, FaultRaised, MeterRead, ValveOpened, WaterSessionEnded
from gateway.contract.faults import FaultCode
from gateway.kit import now_ms
from tests.fakes.gateway_backend import FakeBackend
from tests.fakes.gateway_link import Link
from tests.fakes.gateway_site import GatewaySite, wait_until

OUTLETS = [("dev_o1", 1, "outlet", "chw.hwo1"), ("dev_o2", 2, "outlet", "chw.hwo1")]
STRANGER = ("dev_x", 3, "door", "chw.acr1")


def opening(session: str) -> OpenValve:
    return OpenValve(water_session_id=session, volume_limit_ml=50_000, duration_limit_s=300)


def up(site: GatewaySite) -> FakeBackend:
    """Start everything and wait until the gateway knows its devices."""
    site.start_broker()
    site.start_simulator()
    backend = site.backend()
    site.start_gateway()
    backend.wait(lambda: len(backend.events(MeterRead)) >= 2)
    return backend


class TestStrangers:
    def test_are_reported_once_and_cleared_when_they_are_gone(self, tmp_path: Path) -> None:
        site = GatewaySite(tmp_path, devices=OUTLETS, simulated=[*OUTLETS, STRANGER], look_period_s=1)
        try:
            backend = up(site)

            raised = backend.wait_for_event(FaultRaised, device="", fault=FaultCode.DEVICE_UNKNOWN)
            assert "line l1 unit 3" in raised.detail
            assert "ACR-1" in raised.detail
            backend.command("dev_o1", opening("ws_1"))
            backend.wait_for_event(ValveOpened, water_session_id="ws_1")
            backend.command("dev_o1", CloseValve(water_session_id="ws_1"))
            backend.wait_for_event(WaterSessionEnded, water_session_id="ws_1")

            site.do(do="silent", device="dev_x", on=True)
            backend.wait_for_event(FaultCleared, 40, device="", fault=FaultCode.DEVICE_UNKNOWN)

            faults = [event for event in backend.events(FaultRaised) if event.device in ("", "dev_x")]
            assert [event.fault for event in faults] == [FaultCode.DEVICE_UNKNOWN]
            assert {device.state for device in backend.health[-1].devices} == {"online"}
            assert backend.health[-1].bus_errors == 0
            backend.stop()
        finally:
            site.stop()

    def test_nobody_is_asked_while_water_runs(self, tmp_path: Path) -> None:
        site = GatewaySite(tmp_path, devices=OUTLETS, simulated=[*OUTLETS, STRANGER], look_period_s=1)
        try:
            backend = up(site)
            backend.command("dev_o1", opening("ws_1"))
            opened = backend.wait_for_event(ValveOpened, water_session_id="ws_1")
            told = len(backend.events(FaultRaised))
            wait_until(lambda: now_ms() - opened.at_ms > 3_000, why="for three looks that must not happen")
            assert len(backend.events(FaultRaised)) == told
            backend.command("dev_o1", CloseValve(water_session_id="ws_1"))
            backend.wait_for_event(FaultRaised, device="", fault=FaultCode.DEVICE_UNKNOWN)
            backend.stop()
        finally:
            site.stop()


class TestRoomAndClock:
    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[GatewaySite]:
        site = GatewaySite(tmp_path, devices=OUTLETS, journal_rows_max=20, resend_s=1)
        yield site
        site.stop()

    def test_a_journal_without_room_is_raised_refused_upon_and_cleared(self, site: GatewaySite) -> None:
        backend = up(site)
        backend.acks = False
        for number in range(18):
            backend.command("dev_none", opening(f"ws_{number}"))  # refusals, each a record

        backend.wait_for_event(FaultRaised, device="", fault=FaultCode.JOURNAL_FULL)
        backend.command("dev_o1", opening("ws_full"))
        assert backend.wait_for_event(CommandRefused, subject_id="ws_full").code == "journal_full"
        backend.acks = True

        backend.wait_for_event(FaultCleared, device="", fault=FaultCode.JOURNAL_FULL)
        backend.command("dev_o1", opening("ws_room"))
        backend.wait_for_event(ValveOpened, water_session_id="ws_room")
        backend.stop()

    def test_a_command_from_the_future_raises_clock_skew_and_one_in_time_clears_it(self, site: GatewaySite) -> None:
        backend = up(site)

        backend.command("dev_o1", opening("ws_1"), issued_at_ms=now_ms() + 8_000, not_after_ms=now_ms() + 20_000)
        raised = backend.wait_for_event(FaultRaised, device="", fault=FaultCode.CLOCK_SKEW)
        assert "future" in raised.detail
        backend.command("dev_o1", opening("ws_2"))

        backend.wait_for_event(FaultCleared, device="", fault=FaultCode.CLOCK_SKEW)
        backend.wait_for_event(ValveOpened, water_session_id="ws_2")
        assert backend.wait_for_event(CommandRefused, subject_id="ws_1").code == "clock_skew"
        backend.stop()


class TestInterruptions:
    @pytest.fixture
    def link(self) -> Iterator[Link]:
        link = Link()
        yield link
        link.stop()

    @pytest.fixture
    def site(self, tmp_path: Path, link: Link) -> Iterator[GatewaySite]:
        found = shutil.which("mosquitto") or Path("/usr/sbin/mosquitto").exists()
        broker = "mosquitto" if found else "iotcore"
        site = GatewaySite(tmp_path, broker=broker, devices=OUTLETS, gateway_broker_port=link.port)
        link.target_port = site.broker_port
        yield site
        site.stop()

    def test_a_connection_that_comes_back_brings_what_waited(self, site: GatewaySite, link: Link) -> None:
        backend = up(site)
        link.cut()
        backend.wait(lambda: backend.gone)
        backend.command("dev_o1", opening("ws_1"))
        assert not site.state("dev_o1")["valve_open"]

        link.mend()

        if site.broker_kind == "iotcore":  # keeps no session, so nothing waited
            backend.wait(lambda: len(backend.hellos) >= 2)
            backend.command("dev_o1", opening("ws_2"))
            backend.wait_for_event(ValveOpened, water_session_id="ws_2")
        else:
            backend.wait_for_event(ValveOpened, water_session_id="ws_1")
        backend.stop()

    def test_a_connection_that_comes_back_too_late_opens_nothing(self, site: GatewaySite, link: Link) -> None:
        backend = up(site)
        link.cut()
        backend.wait(lambda: backend.gone)
        too_late_ms = now_ms() + 100
        backend.command("dev_o1", opening("ws_1"), not_after_ms=too_late_ms)
        wait_until(lambda: now_ms() > too_late_ms, why="for the command to expire")

        link.mend()

        backend.wait(lambda: len(backend.hellos) >= 2)
        if site.broker_kind != "iotcore":  # there it is not even kept
            assert backend.wait_for_event(CommandRefused, subject_id="ws_1").code == "expired"
        assert not site.state("dev_o1")["valve_open"]
        backend.stop()

    def test_a_gateway_that_starts_obeys_nothing_said_while_it_was_away(self, site: GatewaySite, link: Link) -> None:
        backend = up(site)
        site.kill("gateway")
        backend.command("dev_o1", opening("ws_away"))
        backend.command("dev_o2", opening("ws_kept"), retain=True)
        readings = len(backend.events(MeterRead))

        site.start_gateway()
        backend.wait(lambda: len(backend.events(MeterRead)) >= readings + 2)
        backend.command("dev_o1", opening("ws_now"))  # the outlet would be busy had it opened for the other

        backend.wait_for_event(ValveOpened, water_session_id="ws_now")
        assert backend.wait_for_event(CommandRefused, subject_id="ws_kept").code == "retained"
        assert [event.water_session_id for event in backend.events(ValveOpened)] == ["ws_now"]
        backend.stop()
