"""Usage is never negative, and splitting it loses no pulse."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.metering.rules import (
    WRAP,
    InvalidRegister,
    Movement,
    Reading,
    Usage,
    hour_of,
    in_order,
    movements,
    split_by_hour,
    usage_pulses,
    volumes_by_hour,
)
from gateway.contract.units import volume_ml
from tests.factories import NOW

HOUR = timedelta(hours=1)
registers = st.integers(0, WRAP - 1)


def reading(minutes: float, pulses: int, cause: str = "scheduled", reference: str = "") -> Reading:
    """Return a reading so many minutes after NOW."""
    return Reading("gxu", "dev_1", NOW + timedelta(minutes=minutes), pulses, 450_000, cause, reference)


class TestUsagePulses:
    @pytest.mark.parametrize(
        ("opening", "closing", "wrap", "usage"),
        [
            (0, 0, WRAP, Usage(0)),
            (100, 150, WRAP, Usage(50)),
            (WRAP - 5, 3, WRAP, Usage(8, "rollover")),
            (2**32 - 1, 0, 2**32, Usage(1, "rollover")),
            (1_000, 10, WRAP, Usage(10, "reset")),
            (1_000, 0, WRAP, Usage(0, "reset")),
            (60, 5, 100, Usage(5, "reset")),
            (80, 5, 100, Usage(25, "rollover")),
        ],
    )
    def test_tells_rollover_from_reset(self, opening: int, closing: int, wrap: int, usage: Usage) -> None:
        assert usage_pulses(opening, closing, wrap=wrap) == usage

    @given(registers, registers)
    def test_is_never_negative_and_never_more_than_the_register_allows(self, opening: int, closing: int) -> None:
        usage = usage_pulses(opening, closing)

        assert 0 <= usage.pulses < WRAP
        assert bool(usage.note) is (closing < opening)

    @given(registers, st.integers(0, WRAP // 4))
    def test_finds_what_flowed_also_across_the_wrap(self, opening: int, flowed: int) -> None:
        assert usage_pulses(opening, (opening + flowed) % WRAP).pulses == flowed

    @pytest.mark.parametrize(("opening", "closing"), [(-1, 0), (0, -1), (WRAP, 0), (0, WRAP)])
    def test_refuses_what_no_meter_shows(self, opening: int, closing: int) -> None:
        with pytest.raises(InvalidRegister):
            usage_pulses(opening, closing)


class TestSplitByHour:
    def test_shares_by_time(self) -> None:
        parts = split_by_hour(90, NOW + timedelta(minutes=30), NOW + timedelta(minutes=120))

        assert parts == [(NOW, 30), (NOW + HOUR, 60)]

    def test_puts_everything_into_the_hour_of_an_instant(self) -> None:
        assert split_by_hour(7, NOW, NOW) == [(NOW, 7)]

    def test_ends_before_an_hour_that_only_begins(self) -> None:
        assert split_by_hour(7, NOW, NOW + HOUR) == [(NOW, 7)]

    @given(st.integers(0, 10**9), st.integers(0, 10**8), st.integers(0, 10**8))
    def test_loses_no_pulse_and_stays_between_the_readings(self, pulses: int, start_ms: int, length_ms: int) -> None:
        earlier = NOW + timedelta(milliseconds=start_ms)
        later = earlier + timedelta(milliseconds=length_ms)

        parts = split_by_hour(pulses, earlier, later)

        assert sum(share for _, share in parts) == pulses
        assert all(share >= 0 for _, share in parts)
        assert [hour for hour, _ in parts] == sorted({hour for hour, _ in parts})
        assert parts[0][0] == hour_of(earlier)
        assert parts[-1][0] <= later

    @given(st.integers(1, 10**6), st.integers(1, 48))
    def test_differs_from_the_exact_share_by_less_than_a_pulse(self, pulses: int, hours: int) -> None:
        for _, share in split_by_hour(pulses, NOW, NOW + hours * HOUR):
            assert abs(share * hours - pulses) < hours


class TestVolumesByHour:
    @given(st.integers(0, 10**7), st.integers(1, 10**7), st.integers(1, 10**6))
    def test_sums_to_the_whole_volume(self, pulses: int, length_s: int, k_factor: int) -> None:
        later = Reading("gxu", "dev_1", NOW + timedelta(seconds=length_s), pulses, k_factor, "scheduled")
        movement = Movement(reading(0, 0), later, usage_pulses(0, pulses))

        parts = volumes_by_hour(movement)

        assert sum(volume for _, volume in parts) == volume_ml(pulses=pulses, k_factor_pulses_per_m3=k_factor)
        assert all(volume >= 0 for _, volume in parts)


class TestMovements:
    def test_knows_which_lie_in_a_session(self) -> None:
        moved = movements(
            [
                reading(0, 0, "boot"),
                reading(1, 5, "opening", "ws_1"),
                reading(2, 10),
                reading(3, 15, "closing", "ws_1"),
                reading(4, 17, "unbilled_flow"),
                reading(5, 17, "opening", "ws_lost"),
                reading(6, 20),
            ]
        )

        assert [(each.usage.pulses, each.water_session_id) for each in moved] == [
            (5, ""),
            (5, "ws_1"),
            (5, "ws_1"),
            (2, ""),
            (0, ""),
            (3, ""),
        ]


class TestInOrder:
    def test_puts_the_closing_before_the_next_opening_at_one_instant(self) -> None:
        closing, opening = reading(3, 15, "closing", "ws_1"), reading(3, 15, "opening", "ws_2")

        assert in_order([opening, closing]) == [closing, opening]

    def test_puts_the_opening_of_an_empty_session_first(self) -> None:
        closing, opening = reading(3, 15, "closing", "ws_1"), reading(3, 15, "opening", "ws_1")

        assert in_order([closing, opening]) == [opening, closing]
