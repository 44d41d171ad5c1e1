"""Who answers at which address of a line."""

import pytest

from firmware_sim.nvm import MemoryNvm
from firmware_sim.station import SiteLine, Station
from tests.unit.firmware_sim.rig import LABEL, Bench


def station(unit_id: int, bench: Bench) -> Station:
    return Station(
        device_id=f"dev_{unit_id}", line_id="l", unit_id=unit_id, map_id="chw.hwo1", identity=LABEL, nvm=MemoryNvm(),
        fixture=0, device=bench.outlet,
    )  # fmt: skip


class TestSiteLine:
    def test_answers_where_it_is_wired_unless_silent_or_without_power(self) -> None:
        line, here = SiteLine(), station(5, Bench())
        line.add(here)

        assert line.unit(5) is here.device
        assert line.unit(1) is None
        here.silent = True
        assert line.unit(5) is None
        here.silent, here.device = False, None
        assert line.unit(5) is None
        assert line.units() == []

    def test_moves_to_a_configured_address_with_the_next_boot(self) -> None:
        line, bench = SiteLine(), Bench().ready()
        line.add(station(5, bench))
        line.add(station(6, Bench()))
        bench.write("cfg_unlock", 0x55AA)
        bench.write("cfg_unit", 77)
        assert line.unit(5) is bench.outlet

        bench.command("REBOOT")
        bench.run(500)

        assert line.unit(5) is None
        assert line.unit(77) is bench.outlet
        assert line.unit(6) is not bench.outlet

    @pytest.mark.parametrize("unit_id", [0, 5, 248])
    def test_refuses_a_place_that_is_taken_or_none(self, unit_id: int) -> None:
        line = SiteLine()
        line.add(station(5, Bench()))

        with pytest.raises(ValueError, match="is taken or not within 1 to 247"):
            line.add(station(unit_id, Bench()))
