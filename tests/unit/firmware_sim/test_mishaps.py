"""What breaks in pipes and wires reaches the devices, each by its own way."""

from typing import Any

import pytest

from firmware_sim.mishaps import PIPE_FAULTS, break_pipe
from firmware_sim.world import ControlRefused
from tests.unit.firmware_sim.test_world import PLAN, Site


@pytest.fixture
def site() -> Site:
    return Site()


class TestBreakPipe:
    @pytest.mark.parametrize("name", sorted(PIPE_FAULTS))
    def test_is_mended_without_a_trace(self, site: Site, name: str) -> None:
        plant = site.world.plant

        def traces() -> list[Any]:
            broken = plant.broken
            arrays = [getattr(broken, part) for part in broken.__slots__ if part != "count"]
            return [*(array.tolist() for array in arrays), plant.ambient_degc.tolist()]

        before = traces()
        break_pipe(plant, 0, name, True)
        during = traces()
        break_pipe(plant, 0, name, False)

        assert traces() == before
        assert (during != before) == (name != "temp_sensor")


class TestSensorUnplugged:
    def test_stops_the_water_and_cannot_be_opened_again(self, site: Site) -> None:
        site.open()
        site.run(3_000)
        counted = site.state("dev_1")["total_pulses"]

        site.ask("fault", device="dev_1", fault="sensor_unplugged", on=True)
        site.run(2_000)

        state = site.state("dev_1")
        assert state["valve_open"] is False
        assert state["sensor_plugged"] is False
        assert "flow_sensor" in state["faults"]
        assert state["total_pulses"] == counted
        site.open(session=8)
        site.run(1_000)
        assert site.state("dev_1")["valve_open"] is False

    def test_is_still_unplugged_after_a_power_cut_and_heals_when_plugged_in(self, site: Site) -> None:
        site.ask("fault", device="dev_1", fault="sensor_unplugged", on=True)
        site.ask("power_cut", device="dev_1", seconds=1)
        site.run(3_000)
        assert site.state("dev_1")["faults"] == ["flow_sensor"]

        site.ask("fault", device="dev_1", fault="sensor_unplugged", on=False)
        site.run(1_000)

        assert site.state("dev_1")["faults"] == []

    def test_cut_wire_is_noticed_by_the_missing_flow(self, site: Site) -> None:
        site.open(idle=5)
        site.run(3_000)

        site.ask("fault", device="dev_1", fault="sensor_cut", on=True)
        site.run(8_000)

        assert site.state("dev_1")["close_reason"] == "no_flow"


class TestForcedFault:
    def test_is_still_there_after_a_reset_and_goes_when_it_is_mended(self, site: Site) -> None:
        site.ask("fault", device="dev_1", fault="stuck_closed", on=True)
        site.ask("power_cut", device="dev_1", seconds=0.1)
        site.run(3_000)
        assert site.state("dev_1")["faults"] == ["stuck_closed"]

        site.ask("fault", device="dev_1", fault="stuck_closed", on=False)
        site.ask("power_cut", device="dev_1", seconds=0.1)
        site.run(3_000)

        assert site.state("dev_1")["faults"] == []

    @pytest.mark.parametrize("name", ["stuck_closed", "leak_closed", "sensor_unplugged"])
    def test_is_mended_while_the_device_has_no_power(self, site: Site, name: str) -> None:
        site.ask("fault", device="dev_1", fault=name, on=True)
        site.ask("power_cut", device="dev_1", seconds=1)

        site.ask("fault", device="dev_1", fault=name, on=False)
        site.run(5_000)

        broken = site.world.plant.broken
        assert site.state("dev_1")["faults"] == []
        assert (broken.stuck_closed[0], broken.leak_lpm[0], broken.meter_dead[0]) == (False, 0.0, False)

    def test_breaks_while_the_device_has_no_power(self, site: Site) -> None:
        site.ask("power_cut", device="dev_1", seconds=1)

        site.ask("fault", device="dev_1", fault="stuck_closed", on=True)
        site.run(5_000)

        assert site.state("dev_1")["faults"] == ["stuck_closed"]


class TestReverseFlow:
    def test_is_counted_apart_and_reported(self, site: Site) -> None:
        site.ask("fault", device="dev_1", fault="reverse_flow", on=True)
        site.run(5_000)

        assert "reverse_flow" in site.state("dev_1")["faults"]
        assert site.state("dev_1")["total_pulses"] == 0


class TestPowerCut:
    def test_takes_a_line_and_leaves_the_others(self, site: Site) -> None:
        site.ask("power_cut", device=None, line="a", seconds=2)

        assert [each["powered"] for each in site.ask("state")["devices"]] == [False, False, True]
        site.run(3_000)
        assert all(each["powered"] for each in site.ask("state")["devices"])

    def test_refuses_a_line_there_is_not(self, site: Site) -> None:
        with pytest.raises(ControlRefused, match="no line is called 'z'"):
            site.ask("power_cut", device=None, line="z", seconds=2)


class TestClock:
    def unix_ms(self, site: Site, device: str = "dev_1") -> int:
        found = site.world.station(device).device
        assert found is not None
        return found.unix_ms()

    def test_runs_away_at_its_drift(self, site: Site) -> None:
        site.ask("clock", device="dev_1", drift_ppm=1_000)
        began, other = self.unix_ms(site), self.unix_ms(site, "dev_2")
        site.run(60_000)

        assert self.unix_ms(site) - began == pytest.approx(60_060, abs=2)
        assert self.unix_ms(site, "dev_2") - other == 60_000

    def test_is_lost_at_once_or_with_the_next_power_cut(self, site: Site) -> None:
        site.ask("clock", device="dev_1", lose=True)
        assert self.unix_ms(site) == 0
        assert "clock_unset" in site.state("dev_1")["faults"]

        site.ask("clock", device="dev_2", battery=False)
        assert self.unix_ms(site, "dev_2") > 0
        site.ask("power_cut", device="dev_2", seconds=1)
        site.run(2_000)
        assert self.unix_ms(site, "dev_2") == 0

    @pytest.mark.parametrize("drift", ["fast", True, 1e9])
    def test_refuses_a_drift_no_clock_has(self, site: Site, drift: Any) -> None:
        with pytest.raises(ControlRefused, match="drift_ppm"):
            site.ask("clock", device="dev_1", drift_ppm=drift)


class TestNoise:
    def test_reaches_whoever_serves_the_line(self, site: Site) -> None:
        heard: list[tuple[dict[str, Any], int | None]] = []
        site.world.noise_doors["a"] = lambda settings, unit_id: heard.append((dict(settings), unit_id))

        site.ask("noise", device="dev_2", settings={"lost": 0.1})
        site.ask("noise", line="a")

        assert heard == [({"lost": 0.1}, 2), ({}, None)]

    def test_is_refused_with_a_reason(self, site: Site) -> None:
        def refuse(settings: Any, unit_id: Any) -> None:
            raise ValueError("no noise is called 'lots'; did you mean lost?")

        site.world.noise_doors["a"] = refuse
        with pytest.raises(ControlRefused, match="did you mean lost"):
            site.ask("noise", line="a", settings={"lots": 1})
        with pytest.raises(ControlRefused, match="no line is called 'z'"):
            site.ask("noise", line="z")
        with pytest.raises(ControlRefused, match="settings must be an object"):
            site.ask("noise", line="a", settings=[])


class TestPlanOfTheWorld:
    def test_says_what_the_surroundings_are(self) -> None:
        icy = Site({**PLAN, "physics": {"ambient_degc": -5.0}})
        icy.run(2_000)

        assert icy.world.plant.temperatures_decidegc().tolist() == [-50, -50]
