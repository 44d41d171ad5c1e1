"""Water sessions through a whole gateway on devices that only a dropped file describes."""

from pathlib import Path

import pytest

from firmware_sim.map_device import MapDevice
from gateway.contract.commands import CloseValve, OpenValve
from gateway.contract.events import MeterRead, StopReason, ValveOpened, WaterSessionEnded
from gateway.kit import now_ms
from tests.fakes.gateway_site import GatewaySite, wait_until
from tests.integration.test_real_device_maps import UNIT, served
from tests.unit.gateway.devices.map_rig import CREDIT, ONE_SHOT, WATCHDOG, map_in


@pytest.mark.parametrize("text", [CREDIT, ONE_SHOT, WATCHDOG], ids=["device_credit", "one_shot", "poll_watchdog"])
class TestAWholeGateway:
    def test_opens_ends_and_survives_a_kill(self, tmp_path: Path, text: str) -> None:
        map_id = next(line for line in text.splitlines() if line.startswith("id = ")).split('"')[1]
        site = GatewaySite(tmp_path, devices=[("dev_m1", UNIT, "outlet", map_id)])
        folder = tmp_path / "gateway" / "register_maps"
        folder.mkdir(parents=True, exist_ok=True)
        device = MapDevice(map_in(folder, text), now_ms=now_ms(), k_factor_pulses_per_m3=450_000)
        device.flow_ml_per_s = 500
        site.start_broker()
        backend = site.backend()

        def open_for(session: str, volume_ml: int) -> None:
            body = OpenValve(water_session_id=session, volume_limit_ml=volume_ml, duration_limit_s=60)
            backend.command("dev_m1", body)
            backend.wait_for_event(ValveOpened, water_session_id=session)

        def ended(session: str) -> WaterSessionEnded:
            end: WaterSessionEnded = backend.wait_for_event(WaterSessionEnded, water_session_id=session)
            assert not device.is_open
            assert (end.evidence, end.device_log_sequence) == ("register_continuity", None)
            return end

        def used_ml(end: WaterSessionEnded) -> int:
            return (end.closing_pulses - end.opening_pulses) * 1_000_000 // end.k_factor_pulses_per_m3

        try:
            with served(site.line_port, {UNIT: device}):
                site.start_gateway()
                backend.wait_for_event(MeterRead, device="dev_m1")

                open_for("ws_full", 400)
                end = ended("ws_full")
                assert end.stop_reason is StopReason.VOLUME_LIMIT
                assert abs(used_ml(end) - device.volume_ml) <= 3

                before = device.volume_ml
                open_for("ws_closed", 50_000)
                wait_until(lambda: device.volume_ml - before > 200, why="for water")
                backend.command("dev_m1", CloseValve(water_session_id="ws_closed", stop_reason="card"))
                end = ended("ws_closed")
                assert end.stop_reason is StopReason.CARD
                assert abs(used_ml(end) - (device.volume_ml - before)) <= 3

                if text is not CREDIT:  # the dead man does not differ; one kill is enough
                    return
                before = device.volume_ml
                open_for("ws_killed", 50_000)
                wait_until(lambda: device.volume_ml - before > 200, why="for water")
                site.kill("gateway")
                site.start_gateway()
                end = ended("ws_killed")
                assert end.stop_reason is StopReason.GATEWAY_RESTART
                assert abs(used_ml(end) - (device.volume_ml - before)) <= 3
                assert len(backend.events(WaterSessionEnded)) == 3
        finally:
            backend.stop()
            site.stop()
