"""The rules accept our board and refuse every mistake that was put into it."""

from dataclasses import replace

import pytest

from hardware.schematics.hwo1 import BOARD
from hardware.schematics.places import PLACES
from hardware.schematics.rules import complaints, hold_up_complaints, hold_up_ms
from hardware.schematics.values import value
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
            ("hold-up-too-small", "C2: 7 ms"),
            ("gate-pull-down-too-weak", "R3 is 1e+07, not 10000"),
            ("gate-series-too-large", "R4 is 1e+06, not 100"),
            ("divider-wrong", "R2 is 68000, not 6800"),
            ("drain-and-source-swapped", "Q1.S is on VALVE_K, it must be on GND"),
            ("supply-diode-reversed", "D2.A is on +24V_H, it must be on +24V_F"),
            ("buzzer-diode-reversed", "D5.A is on +5V, it must be on BUZZER_K"),
            ("clamp-reversed", "D1.1 is on GND, it must be on +24V_F"),
            ("hold-up-reversed", "C2.1 is on GND, it must be on +24V_H"),
            ("backup-reversed", "C16.2 is on V_BACKUP, it must be on GND"),
            ("clock-and-data-swapped", "U5.SCL is on I2C_SDA, it must be on I2C_SCL"),
            ("no-bus-pull-ups", "R10.2 is on nothing, it must be on I2C_SCL"),
            ("no-bus-pull-ups", "R11.1 is on nothing, it must be on +3V3"),
            ("line-crossed", "U4.A is on RS485_B, it must be on RS485_A"),
            ("bias-crossed", "JP2.A is on GND, it must be on +3V3"),
            ("line-unprotected", "D4: the line is not protected"),
            ("b-does-not-go-through", "J1.4 and J2.4 must be one net"),
            ("shield-does-not-go-through", "J1.5 and J2.5 must be one net"),
            ("no-pulse-clamp", "D6.3 is on nothing, it must be on PULSE"),
            ("fuse-bypassed", "D2.A is on +24V, it must be on +24V_F"),
            ("valve-not-driven", "U3.PA8 is on nothing, it must be on VALVE_ON"),
            ("reader-crossed", "R25.1 is on READER_RX, it must be on READER_TX"),
            ("cover-and-key-swapped", "U3.PB0 is on KEY_IN, it must be on TAMPER_IN"),
            ("memory-write-protected", "U5.WP is on +3V3, it must be on GND"),
            ("no-reset-capacitor", "C10.1 is on nothing, it must be on NRST"),
            ("valve-terminal-reversed", "J3.1 is on VALVE_K, it must be on +24V_F"),
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

    def test_reads_the_capacitor_in_the_schematic(self) -> None:
        assert hold_up_complaints(BOARD) == []
        assert "C2: 7 ms" in hold_up_complaints(VARIANTS["hold-up-too-small"]())[0]


class TestValue:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("2k2 0.1%", 2200.0),
            ("100R", 100.0),
            ("220u", 220e-6),
            ("10 µF 16 V", 10e-6),
            ("2.2 k", 2200.0),
            ("1M", 1e6),
        ],
    )
    def test_reads_what_stands_on_a_part(self, text: str, expected: float) -> None:
        assert value(text) == pytest.approx(expected)

    def test_is_none_without_a_figure(self) -> None:
        assert value("green") is None


class TestPlaces:
    @pytest.mark.parametrize("pin", ["R6.2", "R12.1", "R14.1", "R20.1", "R22.1", "R23.1", "J8.1"])
    def test_see_a_pull_up_to_another_supply(self, pin: str) -> None:
        nets = {name: tuple(each for each in pins if each != pin) for name, pins in BOARD.nets.items()}
        wrong = replace(BOARD, nets={**nets, "+5V": (*nets["+5V"], pin)})

        assert any(said.startswith(f"{pin} is on +5V, it must be on +3V3") for said in complaints(wrong))

    def test_name_pins_of_the_board_once(self) -> None:
        pins = [pin for _, _, each in PLACES for pin in each.split()]

        assert len(pins) == len(set(pins))
        assert set(pins) <= {pin for each in BOARD.nets.values() for pin in each}
