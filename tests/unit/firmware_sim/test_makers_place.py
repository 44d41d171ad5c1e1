"""Devices of other makers at their places in a site: each map that ships can stand in a plan, with water behind it."""

from pathlib import Path
from typing import Any

import pytest

from firmware_sim.control import handle
from firmware_sim.map_device import MapDevice
from firmware_sim.nvm import MemoryNvm
from firmware_sim.world import ControlRefused, World
from hardware.points import load
from tests.unit.firmware_sim.rig import UNIX_MS

MAPS = sorted(path.stem for path in (Path(__file__).parents[3] / "hardware" / "register_maps").glob("*.toml"))
METERS = ("diehl.sharky775", "sontex.supercal531", "suto.s401", "tuf.tuf2000f", "wirenboard.wbmcm8")


def world(*devices: dict[str, Any]) -> World:
    rows = [{"line_id": "a", "unit": number, **raw} for number, raw in enumerate(devices, start=1)]
    plan = {"seed": 1, "devices": rows}
    return World(plan, open_nvm=lambda device_id: MemoryNvm(), now_ms=0, unix_offset_ms=UNIX_MS)


def run(site: World, ms: int) -> None:
    for _ in range(ms // 50):
        site.advance(site.now_ms + 50)


def state(site: World, device_id: str) -> dict[str, Any]:
    (found,) = handle(site, {"do": "state", "device": device_id})["devices"]
    assert isinstance(found, dict)
    return found


def board(site: World, device_id: str) -> MapDevice:
    found = site.station(device_id).device
    assert isinstance(found, MapDevice)
    return found


class TestPlace:
    def test_takes_every_map_that_ships(self) -> None:
        site = world(*({"device_id": f"dev_{number}", "map_id": map_id} for number, map_id in enumerate(MAPS)))
        run(site, 1_000)

        told = {each["map"]: each for each in site.state()}

        assert sorted(told) == MAPS
        assert all(each["powered"] for each in told.values())

    @pytest.mark.parametrize("map_id", METERS)
    def test_lets_a_meter_count_what_a_hand_lets_run(self, map_id: str) -> None:
        site = world({"device_id": "dev_m", "map_id": map_id})
        name = "register_pulses" if map_id == "wirenboard.wbmcm8" else "register_ml"

        run(site, 2_000)
        shut = state(site, "dev_m")[name]
        handle(site, {"do": "tap_flow", "device": "dev_m", "open": True})
        run(site, 5_000)
        handle(site, {"do": "tap_flow", "device": "dev_m", "open": False})
        run(site, 1_000)
        ran = state(site, "dev_m")[name]
        run(site, 2_000)

        assert shut == 0
        assert ran > 200
        assert state(site, "dev_m")[name] == ran

    def test_lets_a_meter_count_what_the_valve_of_another_lets_run(self) -> None:
        site = world(
            {"device_id": "dev_v", "map_id": "waveshare.relay8"},
            {"device_id": "dev_m", "map_id": "wirenboard.wbmcm8", "behind": ["dev_v"]},
        )

        board(site, "dev_v").write_delay(load("waveshare.relay8").points["pulse_1"].address, 30)
        run(site, 5_000)

        assert not state(site, "dev_v")["valve_open"]
        delivered = float(site.plant.delivered_l[0])
        assert delivered > 0.2
        assert state(site, "dev_m")["register_pulses"] == pytest.approx(delivered * 450, rel=0.05)

    def test_tells_when_a_valve_opens_and_when_its_one_shot_is_over(self) -> None:
        steps: list[tuple[str, str]] = []
        site = world({"device_id": "dev_v", "map_id": "waveshare.relay8"})
        site.on_step = lambda step, where, facts: steps.append((step, where))

        board(site, "dev_v").write_delay(load("waveshare.relay8").points["pulse_1"].address, 10)
        run(site, 2_000)

        assert steps == [("valve_open", "dev_v"), ("valve_shut", "dev_v")]

    def test_lets_go_of_a_valve_and_keeps_a_total_when_the_power_goes(self) -> None:
        site = world(
            {"device_id": "dev_v", "map_id": "wirenboard.wbmr6"}, {"device_id": "dev_m", "map_id": "suto.s401"}
        )
        handle(site, {"do": "tap_flow", "device": "dev_m", "open": True})
        board(site, "dev_v").write("coil", load("wirenboard.wbmr6").points["relay_1"].address, [1])
        run(site, 3_000)
        before = state(site, "dev_m")["register_ml"]

        handle(site, {"do": "power_cut", "device": None, "seconds": 2})
        dark = [each["powered"] for each in site.state()]
        run(site, 2_000)
        handle(site, {"do": "tap_flow", "device": "dev_m", "open": False})
        run(site, 1_000)

        assert dark == [False, False]
        assert not state(site, "dev_v")["valve_open"]
        assert before > 0
        assert before <= state(site, "dev_m")["register_ml"] < before + 500

    def test_shows_a_card_to_a_reader_for_a_moment(self) -> None:
        site = world({"device_id": "dev_r", "map_id": "technotrade.vrd485"})
        point = load("technotrade.vrd485").points["card"]

        handle(site, {"do": "tap", "device": "dev_r", "uid": "04AABBCC"})
        seen = board(site, "dev_r").read("holding", point.address, point.words)
        run(site, 3_000)

        assert any(seen)
        assert not any(board(site, "dev_r").read("holding", point.address, point.words))

    @pytest.mark.parametrize(
        "request_",
        [
            {"do": "button", "device": "dev_v"},
            {"do": "tap", "device": "dev_v", "uid": "04AABBCC"},
            {"do": "fault", "device": "dev_v", "fault": "lid_open", "on": True},
            {"do": "pass", "device": "dev_v", "direction": "in"},
        ],
        ids=lambda given: given["do"],
    )
    def test_says_what_a_device_does_not_have(self, request_: dict[str, Any]) -> None:
        site = world({"device_id": "dev_v", "map_id": "waveshare.relay8"})

        with pytest.raises(ControlRefused):
            handle(site, request_)

    def test_breaks_the_pipes_of_a_makers_valve(self) -> None:
        site = world({"device_id": "dev_v", "map_id": "waveshare.relay8"})

        handle(site, {"do": "fault", "device": "dev_v", "fault": "stuck_open", "on": True})
        run(site, 2_000)

        assert float(site.plant.delivered_l[0]) > 0
