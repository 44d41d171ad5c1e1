"""The rules accept our board and refuse every mistake that was put into it."""

import pytest

from hardware.schematics.hwo1 import BOARD
from hardware.schematics.rules import complaints, hold_up_complaints, hold_up_ms
from hardware.schematics.variants import BY_ERC, VARIANTS


class TestComplaints:
    def test_find_nothing_wrong_with_the_board(self) -> None:
        assert complaints(BOARD) == []

    @pytest.mark.parametrize(
        ("variant", "word"),
        [
            ("no-gate-pull-down", "VALVE_GATE has no pull-down"),
            ("flyback-reversed", "no diode leads from VALVE_K"),
            ("valve-on-hold-up", "hold-up capacitor"),
            ("no-bypass", "+3V3: 4 capacitors"),
            ("bus-crossed", "J1.3 and J2.3"),
            ("termination-for-good", "terminated for good"),
            ("transmit-on-receive", "transmits on"),
        ],
    )
    def test_name_the_mistake(self, variant: str, word: str) -> None:
        assert any(word in said for said in complaints(VARIANTS[variant]()))

    def test_or_the_electrical_rule_check_knows_every_variant(self) -> None:
        for name in sorted(VARIANTS.keys() - {"hwo1"} - set(BY_ERC)):
            assert complaints(VARIANTS[name]()), name


class TestHoldUpMs:
    def test_is_energy_over_power(self) -> None:
        assert hold_up_ms(farad=0.01, supply_v=20, stop_v=10, load_w=1.5) == pytest.approx(1000)

    def test_is_long_enough_and_not_with_a_smaller_capacitor(self) -> None:
        assert hold_up_complaints() == []
        assert "C2" in hold_up_complaints(47e-6)[0]
