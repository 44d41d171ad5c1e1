"""Charts do not lie: gaps stay gaps, the foot of a scale is zero, a day stands where it belongs."""

from datetime import UTC, datetime, timedelta

import pytest

from backend.web.charts.bars import heat_step, spark
from backend.web.charts.line import line, nice_ceiling
from backend.web.charts.timeline import Period, timeline
from tests.factories import NOW


class TestLine:
    def test_breaks_where_nothing_is_known(self) -> None:
        drawn = line([1.0, 2.0, None, 3.0])

        assert drawn.stroke.count("M") == 2

    def test_is_empty_without_values(self) -> None:
        drawn = line([None, None])

        assert drawn.is_empty
        assert drawn.stroke == ""

    def test_scales_from_zero(self) -> None:
        assert [tick.text for tick in line([0.0, 7.8]).ticks] == ["0", "5", "10", "15", "20"]


class TestNiceCeiling:
    @pytest.mark.parametrize(("value", "ceiling"), [(0, 4), (4, 4), (4.1, 8), (15.6, 20), (64.7, 80), (350, 400)])
    def test_is_round_and_not_below(self, value: float, ceiling: int) -> None:
        assert nice_ceiling(value) == ceiling


class TestSpark:
    def test_draws_zero_as_a_hairline(self) -> None:
        bars = spark([0, 10])

        assert [bar.height for bar in bars] == [1.0, 24.0]


class TestHeatStep:
    @pytest.mark.parametrize(("value", "step"), [(0, 0), (1, 1), (250, 4), (1_000, 9)])
    def test_tells_small_values_apart(self, value: int, step: int) -> None:
        assert heat_step(value, 1_000) == step


class TestTimeline:
    def test_places_periods_to_the_day_and_shows_today(self) -> None:
        half = Period("a", "lane", NOW - timedelta(days=10), NOW + timedelta(days=10), "active", "Active")

        drawn = timeline([half], now=NOW)

        bar = drawn.bars[0]
        assert bar.x + bar.width / 2 == pytest.approx(drawn.today_x, abs=0.2)

    def test_stands_without_periods(self) -> None:
        assert timeline([], now=NOW).bars == ()

    def test_stands_at_the_ends_of_the_calendar_with_today_on_it(self) -> None:
        ever = Period(
            "a", "lane", datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), "active", "Active"
        )
        long_gone = Period("b", "lane", NOW - timedelta(days=9_000), NOW - timedelta(days=8_000), "expired", "Over")

        drawn = timeline([ever, long_gone], now=NOW)

        assert drawn.bars[0].x < drawn.today_x < drawn.bars[0].x + drawn.bars[0].width
        assert len(drawn.months) <= 12
