"""Ids sort by time, money reads as people write it, times survive to the millisecond."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.kit.clock import epoch_ms, from_epoch_ms
from backend.kit.ids import new_id
from backend.kit.money import format_minor

_MILLIS = st.integers(min_value=0, max_value=4_102_444_800_000)


class TestNewId:
    @given(earlier=_MILLIS, gap=st.integers(min_value=1, max_value=10**9), noise=st.integers(0, 2**80 - 1))
    def test_sorts_by_the_time_it_was_made(self, earlier: int, gap: int, noise: int) -> None:
        first = new_id("ws", time_ms=earlier, entropy=2**80 - 1)
        second = new_id("ws", time_ms=earlier + gap, entropy=noise)

        assert first < second
        assert len(first) == len(second) == len("ws_") + 26

    def test_never_repeats(self) -> None:
        assert len({new_id("ws", time_ms=1) for _ in range(10_000)}) == 10_000

    def test_can_stand_in_a_topic_and_an_address(self) -> None:
        made = new_id("cmd")

        assert made == made.lower()
        assert all(char.isalnum() or char == "_" for char in made)


class TestFormatMinor:
    @pytest.mark.parametrize(
        ("amount_minor", "text"),
        [(0, "¥0.00"), (5, "¥0.05"), (-5, "-¥0.05"), (3_620, "¥36.20"), (-123_456_789, "-¥1,234,567.89")],
    )
    def test_reads_as_people_write_it(self, amount_minor: int, text: str) -> None:
        assert format_minor(amount_minor) == text


class TestEpochMs:
    @given(millis=_MILLIS)
    def test_survives_there_and_back(self, millis: int) -> None:
        assert epoch_ms(from_epoch_ms(millis)) == millis

    def test_rounds_down_and_knows_zones(self) -> None:
        moment = datetime(2026, 11, 22, 20, 0, 0, 1_999, tzinfo=timezone(timedelta(hours=8)))

        assert from_epoch_ms(epoch_ms(moment)) == datetime(2026, 11, 22, 12, 0, 0, 1_000, tzinfo=UTC)

    def test_refuses_a_time_without_a_zone(self) -> None:
        with pytest.raises(AssertionError):
            epoch_ms(datetime(2026, 1, 1))  # noqa: DTZ001
