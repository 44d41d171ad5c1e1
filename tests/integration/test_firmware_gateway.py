"""The whole gateway over a serial line to the outlet's firmware: what runs on a board is what it was tried on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.contract.commands import CloseValve, OpenValve
from gateway.contract.events import MeterRead, StopReason, ValveOpened, WaterSessionEnded
from hardware.firmware_ref.build import build
from tests.fakes.firmware_outlet import FirmwareOutlet
from tests.fakes.gateway_site import GatewaySite, wait_until


@pytest.fixture
def outlet(tmp_path: Path) -> Iterator[FirmwareOutlet]:
    """Return a powered unit."""
    made = FirmwareOutlet(build(tmp_path / "firmware", target="program").program, tmp_path)
    made.start()
    yield made
    made.stop()


def on_a_serial_line(site: GatewaySite, outlet: FirmwareOutlet) -> None:
    """Make the gateway's only line the terminal of the outlet."""
    path = site.folder / "gateway.toml"
    text = path.read_text(encoding="utf-8")
    tcp = f'transport = "tcp"\nhost = "127.0.0.1"\nport = {site.line_port}\ntimeout_ms = 200\n'
    assert tcp in text
    serial = f'transport = "serial"\npath = "{outlet.terminal}"\nbaud = 38400\nparity = "N"\ntimeout_ms = 1000\n'
    path.write_text(text.replace(tcp, serial), encoding="utf-8")


class TestAGatewayOnTheFirmware:
    def test_opens_meters_closes_and_bills_a_power_cut_once(self, tmp_path: Path, outlet: FirmwareOutlet) -> None:
        site = GatewaySite(tmp_path, devices=[("dev_o1", 1, "outlet", "chw.hwo1")])
        on_a_serial_line(site, outlet)
        site.start_broker()
        backend = site.backend()

        def opened(session: str, volume_ml: int) -> None:
            body = OpenValve(water_session_id=session, volume_limit_ml=volume_ml, duration_limit_s=600)
            backend.command("dev_o1", body)
            backend.wait_for_event(ValveOpened, water_session_id=session)

        def ended(session: str) -> WaterSessionEnded:
            end: WaterSessionEnded = backend.wait_for_event(WaterSessionEnded, water_session_id=session)
            return end

        def volume_ml(end: WaterSessionEnded) -> int:
            return (end.closing_pulses - end.opening_pulses) * 1_000_000 // end.k_factor_pulses_per_m3

        def water_seen(session: str) -> bool:
            return any(sample.water_session_id == session and sample.pulses for sample in list(backend.samples))

        try:
            site.start_gateway()
            backend.wait_for_event(MeterRead, device="dev_o1")

            opened("ws_full", 400)
            end = ended("ws_full")
            assert end.stop_reason is StopReason.VOLUME_LIMIT
            assert 400 <= volume_ml(end) <= 420
            register = end.closing_pulses

            opened("ws_closed", 50_000)
            wait_until(lambda: water_seen("ws_closed"), why="for water")
            backend.command("dev_o1", CloseValve(water_session_id="ws_closed", stop_reason="card"))
            end = ended("ws_closed")
            assert end.stop_reason is StopReason.CARD
            assert end.opening_pulses == register < end.closing_pulses

            opened("ws_cut", 50_000)
            wait_until(lambda: water_seen("ws_cut"), why="for water")
            outlet.cut()
            outlet.start()
            cut = ended("ws_cut")
            assert cut.stop_reason is StopReason.POWER_LOSS
            assert cut.opening_pulses == end.closing_pulses

            opened("ws_after", 300)
            assert ended("ws_after").opening_pulses == cut.closing_pulses
            assert len(backend.events(WaterSessionEnded)) == 4

            outlet.say("card 04A1B2C3D4E5F6")
            backend.wait(lambda: backend.presented)
            assert "04a1b2c3d4e5f6" in str(backend.presented[0]).lower()
        finally:
            backend.stop()
            site.stop()
