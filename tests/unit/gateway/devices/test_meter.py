from pathlib import Path

import pytest

from gateway.devices.meter import Meter
from gateway.modbus.codec import CodecError
from hardware.points import load
from tests.unit.gateway.devices.map_rig import PLAIN, WATCHDOG, map_in


class TestAdvance:
    @pytest.mark.parametrize(
        ("before", "now", "moved"),
        [(5, 9, 4), (5, 5, 0), (9_990, 5, 15), (5_000, 10, 0), (9_000, 8_990, 0)],
    )
    def test_counts_over_the_end_and_never_what_nobody_saw(
        self, tmp_path: Path, before: int, now: int, moved: int
    ) -> None:
        assert Meter(map_in(tmp_path, WATCHDOG)).advance(before, now) == moved

    def test_a_register_of_litres_starts_over_at_its_own_size(self, tmp_path: Path) -> None:
        assert Meter(map_in(tmp_path, PLAIN)).advance((2**32 - 1) * 1_000, 2_000) == 3_000

    def test_a_total_with_a_unit_code_starts_over_nowhere(self) -> None:
        assert Meter(load("tuf.tuf2000f")).advance(10**12, 0) == 0


class TestTotal:
    @pytest.mark.parametrize("value", [None, -1, "text"])
    def test_refuses_what_no_meter_can_show(self, tmp_path: Path, value: object) -> None:
        with pytest.raises(CodecError):
            Meter(map_in(tmp_path, PLAIN)).total({"litres": value})  # type: ignore[dict-item]


class TestKFactor:
    def test_of_a_counter_nobody_described_is_unknown(self) -> None:
        assert Meter(load("wirenboard.wbmcm8")).k_factor_pulses_per_m3(None) == 0
        assert Meter(load("waveshare.relay8")).k_factor_pulses_per_m3(None) == 0
