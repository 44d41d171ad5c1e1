"""What a site may say of the parts of an outlet, and what it must."""

from dataclasses import replace

import pytest

from gateway.config import Part
from gateway.devices.parts import PartRefused, channel_of, composed_of
from gateway.modbus.bus import Bus
from hardware.model import RegisterMap
from hardware.points import load
from tests.unit.gateway.devices.composed_rig import ONE_SHOT, WATCHDOG, outlet_of
from tests.unit.gateway.devices.map_rig import Hand

VALVE = Part(role="valve", line_id="l1", unit=5, map_id=ONE_SHOT)
METER = Part(role="meter", line_id="l1", unit=6, map_id="wirenboard.wbmcm8", k_factor="450")


def counter() -> RegisterMap:
    """Return the counter's map with what a richer one has: a volume and a flow of another input."""
    found = load(METER.map_id)
    other = replace(found.points["count_2"], role=None)
    more = {"volume_2": replace(other, name="volume_2", unit="L"), "flow_2": replace(other, name="flow_2", unit="L/h")}
    return replace(found, points={**found.points, **more})


class TestChannelOf:
    def test_moves_roles_and_leaves_the_map_as_it_is(self) -> None:
        board = load(ONE_SHOT)
        own = {"valve_cmd": "relay_2", "valve_pulse": "pulse_2"}

        seen = channel_of(board, replace(VALVE, points=own))

        assert [seen.by_role(role).name for role in own] == ["relay_2", "pulse_2"]  # type: ignore[union-attr]
        assert seen.points["relay_1"].role is None
        assert board.points["relay_1"].role == "valve_cmd"

    def test_takes_the_factor_of_the_meter_on_the_input(self) -> None:
        seen = channel_of(load(METER.map_id), replace(METER, k_factor="1/10", points={"pulses_total": "count_8"}))
        assert seen.k_factor_pulses_per_m3 == 100
        assert seen.by_role("pulses_total").name == "count_8"  # type: ignore[union-attr]

    def test_counts_what_was_chosen_and_no_other_input(self) -> None:
        seen = channel_of(counter(), replace(METER, k_factor="", points={"volume_total": "volume_2"}))
        pulses, volume = seen.by_role("pulses_total"), seen.by_role("volume_total")
        assert pulses is None
        assert volume is not None
        assert volume.name == "volume_2"

    @pytest.mark.parametrize(
        ("part", "complaint"),
        [
            (replace(VALVE, points={"valve_cmd": "relay_2"}), "points: also write valve_pulse"),
            (replace(VALVE, points={"valve_cmd": "relay_9"}), "valve_cmd: waveshare.relay8 has no point 'relay_9'"),
            (
                replace(VALVE, points={"pulses_total": "relay_2"}),
                "a valve has valve_cmd, valve_pulse, valve_state, not",
            ),
            (replace(VALVE, points={"valve_pulse": "bus_address"}), "bus_address is in no unit, not in min, ms, s"),
            (replace(VALVE, points={"valve_state": "all_relays"}), "valve_state: all_relays cannot be read"),
            (replace(VALVE, map_id=METER.map_id), "wirenboard.wbmcm8 has no valve"),
            (replace(VALVE, map_id="chw.hwo1"), "a chw.hwo1 is an outlet by itself"),
            (replace(METER, map_id=ONE_SHOT, k_factor=""), "waveshare.relay8 has no meter"),
            (replace(METER, k_factor=""), "k_factor: write the pulses per liter"),
            (replace(METER, map_id="suto.s401"), "only a meter that counts pulses has one"),
            (replace(METER, points={"volume_total": "count_2"}), "count_2 is in pulse, not in L, m3, mL"),
            (replace(METER, points={"flow": "serial"}), "serial is in no unit, not in"),
            (replace(METER, points={"flow": "flow_2"}), "points: also write pulses_total or volume_total: the map's"),
            (replace(METER, role="temperature", k_factor=""), "has no temperature"),
        ],
        ids=lambda value: value[:28] if isinstance(value, str) else "",
    )
    def test_refuses_what_cannot_be(self, part: Part, complaint: str) -> None:
        with pytest.raises(PartRefused, match=complaint.replace(".", r"\.")):
            channel_of(counter() if part.map_id == METER.map_id else load(part.map_id), part)

    def test_refuses_to_switch_what_is_only_read(self) -> None:
        part = replace(VALVE, map_id=WATCHDOG, points={"valve_cmd": "input_2"})
        with pytest.raises(PartRefused, match="input_2 cannot be written"):
            channel_of(load(WATCHDOG), part)


class TestComposedOf:
    def test_names_the_part_that_is_refused(self) -> None:
        device = outlet_of(k_factor="")
        maps = {part.map_id: load(part.map_id) for part in device.parts}
        with pytest.raises(PartRefused, match=r"^part meter: k_factor: write"):
            composed_of(device, maps, {"l1": Bus.__new__(Bus)}, clock=Hand())
