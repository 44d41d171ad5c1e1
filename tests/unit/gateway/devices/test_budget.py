from pathlib import Path

import pytest

from gateway.config import Line
from gateway.devices.budget import BUDGET, Asked, Periods, asked_of, budget_of, device_load, todo
from gateway.modbus.load import read_bytes
from hardware.points import MAPS_DIR, load

#: the plan of the bus budget: idle units show their flags, open ones their status; the meter block once a minute
_PLAN = Periods(hot_s=2.0, flags_s=1.0, idle_s=60.0, shower_s=None, has_flags_while_open=False)
_METER_BLOCK = (read_bytes("input", 25),)


def outlet() -> Asked:
    return asked_of(load("chw.hwo1"))


def polling(devices: int, share_open: float, baud: int, periods: Periods = _PLAN) -> float:
    """Return the load of so many outlets, each with its meter block once a minute as the plan has it."""
    asked = outlet()
    idle = Asked(flags=asked.flags, status=_METER_BLOCK)
    meter = device_load(Asked(flags=(), status=_METER_BLOCK), 0, Periods(idle_s=60.0), baud=baud)
    return devices * (
        share_open * (device_load(asked, 1, periods, baud=baud) + meter)
        + (1 - share_open) * device_load(idle, 0, periods, baud=baud)
    )


class TestAskedOf:
    def test_knows_the_frames_of_our_own_profile(self) -> None:
        asked = outlet()

        assert (asked.flags, asked.status, asked.renewal) == (((8, 7),), ((8, 61),), ((51, 21),))
        assert asked.shower == ((8, 239), (51, 21), (17, 255))

    @pytest.mark.parametrize("map_id", sorted(path.stem for path in MAPS_DIR.glob("*.toml")))
    def test_every_map_says_what_its_device_is_asked(self, map_id: str) -> None:
        asked = asked_of(load(map_id))

        assert asked.status or asked.flags
        assert all(out >= 8 and back > 5 for out, back in asked.flags + asked.status)


class TestDeviceLoad:
    @pytest.mark.parametrize(
        ("baud", "half_open", "all_open"), [(9_600, 144, 174), (19_200, 84, 95), (38_400, 57, 59), (115_200, 40, 35)]
    )
    def test_of_32_outlets_is_that_of_the_bus_budget(self, baud: int, half_open: int, all_open: int) -> None:
        found = [round(100 * polling(32, share, baud)) for share in (0.5, 1)]

        assert found == pytest.approx([half_open, all_open], abs=1)

    @pytest.mark.parametrize(
        ("baud", "quarter", "full"), [(9_600, 14, 10), (19_200, 24, 19), (38_400, 33, 32), (115_200, 44, 54)]
    )
    def test_fits_as_many_outlets_as_the_bus_budget(self, baud: int, quarter: int, full: int) -> None:
        plan = Periods(hot_s=2.0, flags_s=1.0, idle_s=60.0, has_flags_while_open=False)

        fitting = [int(BUDGET / polling(1, share, baud, plan)) for share in (0.25, 1)]

        assert fitting == [quarter, full]

    def test_grows_with_the_share_that_is_open_and_shrinks_with_speed(self) -> None:
        asked, periods = outlet(), Periods()

        assert device_load(asked, 1, periods, baud=9_600) > device_load(asked, 0.25, periods, baud=9_600)
        assert device_load(asked, 1, periods, baud=9_600) > device_load(asked, 1, periods, baud=115_200)


class TestBudgetOf:
    def test_warns_before_a_line_is_overcommitted(self) -> None:
        line = Line(line_id="l1", transport="serial", baud=9_600, flags_period_ms=1_000, hot_period_ms=2_000)

        few, many = (budget_of(line, [load("chw.hwo1")] * count) for count in (8, 32))

        assert few is not None
        assert many is not None
        assert few.warning == ""
        assert 0 < few.quarter < 1
        assert 0 < few.full < 1
        assert "line l1 is overcommitted" in many.warning
        assert f"{many.full:.0%}" in many.warning

    def test_says_nothing_of_a_line_whose_speed_nobody_knows(self) -> None:
        assert budget_of(Line(line_id="l1", transport="tcp", baud=0), [load("chw.hwo1")]) is None

    def test_counts_a_meter_of_somebody_elses(self) -> None:
        line = Line(line_id="l1", transport="serial", baud=9_600, flags_period_ms=1_000, hot_period_ms=2_000)

        found = budget_of(line, [load("tuf.tuf2000f")])

        assert found is not None
        assert 0 < found.quarter < 1

    def test_has_room_for_32_outlets_at_38400_baud_as_lines_are_configured_by_default(self) -> None:
        line = Line(
            line_id="l1",
            transport="serial",
            baud=38_400,
            flags_period_ms=1_000,
            hot_period_ms=2_000,
            idle_period_ms=60_000,
        )

        found = budget_of(line, [load("chw.hwo1")] * 32)

        assert found is not None
        assert (found.warning, found.quarter < BUDGET) == ("", True)


class TestTodo:
    def test_names_what_to_change(self, tmp_path: Path) -> None:
        text = todo(Line(line_id="l1", transport="serial", baud=9_600))

        assert "9600 baud" in text
        assert "flags_period_ms" in text
