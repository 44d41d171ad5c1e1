"""A comparison that finds nothing proves nothing: firmware with a typical mistake in it must be found out."""

from pathlib import Path

import pytest

from hardware.firmware_ref.build import build
from hardware.firmware_ref.host import load
from tests.contract.firmware.chance import Chance
from tests.contract.firmware.scenarios import SCENARIOS
from tests.contract.firmware.twins import difference

#: the mistake, and a written scenario that brings it to light
MISTAKES = {
    "CRC_ORDER": "identify",
    "VOLUME_LIMIT": "volume",
    "RELATIVE_EXTEND": "extend",
    "TOKEN_FORGOTTEN": "repeated_token",
    "ACK_BACKWARD": "full_ring",
    "SLOT_RULE": "slot_by_volume_and_time",
}


class TestSeededFaults:
    @pytest.mark.parametrize("mistake", sorted(MISTAKES))
    def test_are_found_out(self, mistake: str, tmp_path: Path) -> None:
        built = build(tmp_path, defines=[f"SEEDED_FAULT_{mistake}"], target="library", quick=True)
        library = load(built.library)
        scenario = next(each for each in SCENARIOS if each.name == MISTAKES[mistake])

        found = difference(library, scenario.steps, battery=scenario.battery)

        assert found is not None, f"{mistake} went unnoticed in {scenario.name}"

    def test_are_found_out_by_chance_too(self, tmp_path: Path) -> None:
        library = load(build(tmp_path, defines=["SEEDED_FAULT_TOKEN_FORGOTTEN"], target="library", quick=True).library)

        assert any(difference(library, Chance(seed).steps(220), battery=seed % 3 != 0) for seed in range(16))
