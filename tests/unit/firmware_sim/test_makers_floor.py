"""A floor of other makers' devices: in the plan, in the gateway's configuration, and as devices on the line."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backend.bootstrap.gateway_file import gateway_toml
from backend.bootstrap.plan import read_plan
from firmware_sim.makers_floor import UNMANAGED, VALVES, WITHOUT_VALVE, composed
from firmware_sim.neighbor import site_of
from firmware_sim.nvm import MemoryNvm
from firmware_sim.plan import PlanSize, build_plan, gateway_ids
from firmware_sim.world import World
from gateway.config import load_config
from hardware.points import load as load_map
from tests.unit.firmware_sim.rig import UNIX_MS

SIZE = PlanSize(buildings=1, floors=1, outlets_per_floor=2, students=4, makers_floor=True)


def plan() -> dict[str, Any]:
    keys = dict.fromkeys(gateway_ids(SIZE), "A" * 43 + "=")
    return build_plan(seed=1, size=SIZE, ports=[5_020, 5_021], public_keys=keys, now=datetime(2026, 11, 22, tzinfo=UTC))


class TestAddTo:
    def test_has_every_map_that_is_not_our_own(self) -> None:
        site = site_of(plan(), None)
        folder = Path(__file__).parents[3] / "hardware" / "register_maps"

        placed = {raw["map_id"] for raw in site["devices"]}

        assert placed == {path.stem for path in folder.glob("*.toml")}
        assert {UNMANAGED, *WITHOUT_VALVE} <= placed

    def test_counts_what_its_valves_let_run_each_on_its_own_channel(self) -> None:
        site = site_of(plan(), None)
        world = World(site, open_nvm=lambda device_id: MemoryNvm(), now_ms=0, unix_offset_ms=UNIX_MS)
        board = world.station("dev_b1_902").device
        assert board is not None

        board.write("coil", load_map("wirenboard.wbmr6").points["relay_1"].address, [1])
        for _ in range(100):
            world.advance(world.now_ms + 50)

        counted = {each["device"]: each.get("total_pulses") for each in world.state()}
        assert counted["dev_b1_901"] == 0
        assert counted["dev_b1_902"] > 100


class TestComposed:
    def test_is_a_configuration_that_the_gateway_takes(self, tmp_path: Path) -> None:
        school = plan()
        read = read_plan(school)
        text = gateway_toml(
            read.gateways[0], read.devices, tenant_id="gxu", state_dir=str(tmp_path), broker_host="127.0.0.1",
            broker_port=1883, command_keys={"k": "A" * 43 + "="},
        )  # fmt: skip
        file = tmp_path / "gateway.toml"
        file.write_text(composed(text, school), encoding="utf-8")

        devices = {each.device_id: each for each in load_config(file).devices}

        made = [each for each in devices.values() if each.parts]
        assert [each.map_id for each in made] == [map_id for map_id, _ in VALVES]
        assert [part.points for each in made for part in each.parts if part.role == "meter"] == [
            {"pulses_total": "count_1"}, {"pulses_total": "count_2"},
        ]  # fmt: skip
        assert len(devices) == 2 + len(VALVES) + len(WITHOUT_VALVE)
