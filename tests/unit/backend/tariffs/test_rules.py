"""Rating and hold planning, against worked figures and as properties."""

from dataclasses import replace
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.tariffs.rules import OVERSHOOT_ML, TariffVersion, deepest, overlaps, plan, rate, worst_case_minor
from tests.factories import NOW

TARIFF = TariffVersion(
    tenant_id="gxu",
    tariff_id="tar_water",
    version=1,
    place_id="campus",
    scenario="hot_water",
    name="热水",
    name_en="Hot water",
    active_from=NOW,
    active_to=None,
    price_minor_per_m3=3300,
    fixed_minor=0,
    minimum_minor=0,
    free_below_ml=100,
    volume_limit_ml=60_000,
    duration_limit_s=1200,
    idle_limit_s=120,
    minimum_hold_minor=50,
)

tariffs = st.builds(
    replace,
    st.just(TARIFF),
    price_minor_per_m3=st.integers(0, 20_000),
    fixed_minor=st.integers(0, 100),
    minimum_minor=st.integers(0, 200),
    free_below_ml=st.integers(0, 2_000),
    volume_limit_ml=st.integers(1, 200_000),
    minimum_hold_minor=st.integers(0, 300),
)


class TestRate:
    @pytest.mark.parametrize(
        ("volume_ml", "changes", "amount_minor"),
        [
            (45_000, {}, 149),  # ¥1.485, half up
            (0, {"fixed_minor": 10, "minimum_minor": 10, "free_below_ml": 0}, 0),
            (99, {}, 0),
            (100, {}, 0),  # a third of a fen
            (152, {}, 1),  # 0.5016 fen
            (1_000_000, {}, 3300),
            (1_000_000, {"fixed_minor": 7}, 3307),
            (200, {"minimum_minor": 10}, 10),
            (1_000_000, {"minimum_minor": 10}, 3300),
            (50_000, {"price_minor_per_m3": 10}, 1),  # exactly half
            (49_999, {"price_minor_per_m3": 10}, 0),
        ],
    )
    def test_gives_the_worked_figure(self, volume_ml: int, changes: dict[str, int], amount_minor: int) -> None:
        assert rate(replace(TARIFF, **changes), volume_ml=volume_ml).amount_minor == amount_minor

    def test_keeps_the_exact_figure(self) -> None:
        assert rate(TARIFF, volume_ml=45_000).exact == Fraction(297, 2)

    @given(tariffs, st.integers(0, 500_000))
    def test_rounds_as_decimal_arithmetic_does(self, tariff: TariffVersion, volume_ml: int) -> None:
        price = Decimal(tariff.price_minor_per_m3) * volume_ml / 1_000_000 + tariff.fixed_minor
        free = volume_ml == 0 or volume_ml < tariff.free_below_ml
        expected = Decimal(0) if free else max(price, Decimal(tariff.minimum_minor))

        assert rate(tariff, volume_ml=volume_ml).amount_minor == int(expected.quantize(Decimal(1), ROUND_HALF_UP))

    @given(tariffs, st.integers(0, 300_000), st.integers(0, 300_000))
    def test_never_falls_with_more_water(self, tariff: TariffVersion, one: int, other: int) -> None:
        less, more = sorted((one, other))

        assert rate(tariff, volume_ml=less).amount_minor <= rate(tariff, volume_ml=more).amount_minor

    def test_refuses_water_given_back(self) -> None:
        with pytest.raises(AssertionError):
            rate(TARIFF, volume_ml=-1)


class TestPlan:
    @given(tariffs, st.integers(-100, 5_000))
    def test_the_hold_covers_the_limit_and_the_overshoot(self, tariff: TariffVersion, available_minor: int) -> None:
        found = plan(tariff, available_minor=available_minor)

        if found is not None:
            charge = rate(tariff, volume_ml=found.volume_limit_ml + OVERSHOOT_ML)
            assert charge.amount_minor <= found.hold_minor <= max(available_minor, 0)
            assert 1 <= found.volume_limit_ml <= tariff.volume_limit_ml

    @given(tariffs, st.integers(0, 5_000))
    def test_one_milliliter_more_would_not_fit(self, tariff: TariffVersion, available_minor: int) -> None:
        found = plan(tariff, available_minor=available_minor)

        if found is not None and found.volume_limit_ml < tariff.volume_limit_ml:
            more = rate(tariff, volume_ml=found.volume_limit_ml + 1 + OVERSHOOT_ML)
            assert more.amount_minor > available_minor

    @given(tariffs)
    def test_a_rich_payer_gets_the_whole_limit(self, tariff: TariffVersion) -> None:
        worst = worst_case_minor(tariff)
        found = plan(tariff, available_minor=worst)

        assert found is not None
        assert (found.hold_minor, found.volume_limit_ml) == (worst, tariff.volume_limit_ml)

    @pytest.mark.parametrize(("available_minor", "served"), [(49, False), (50, True), (0, False), (-5, False)])
    def test_below_the_minimum_hold_is_too_little(self, available_minor: int, served: bool) -> None:
        assert (plan(TARIFF, available_minor=available_minor) is not None) is served

    def test_free_water_needs_no_money(self) -> None:
        found = plan(replace(TARIFF, price_minor_per_m3=0), available_minor=0)

        assert found is not None
        assert found.hold_minor == 0


class TestDeepest:
    def test_the_deepest_place_wins(self) -> None:
        room = replace(TARIFF, tariff_id="tar_room", place_id="room")

        assert deepest([TARIFF, room], place_ids=["campus", "building", "room"], at=NOW) == room
        assert deepest([TARIFF, room], place_ids=["campus", "building"], at=NOW) == TARIFF
        assert deepest([TARIFF, room], place_ids=["elsewhere"], at=NOW) is None

    def test_the_period_is_half_open(self) -> None:
        version = replace(TARIFF, active_to=NOW + timedelta(hours=1))
        moments = [NOW - timedelta(milliseconds=1), NOW, NOW + timedelta(minutes=59), NOW + timedelta(hours=1)]

        assert [deepest([version], place_ids=["campus"], at=at) is not None for at in moments] == [
            False,
            True,
            True,
            False,
        ]


class TestOverlaps:
    @given(st.integers(0, 20), st.integers(1, 10) | st.none(), st.integers(0, 20), st.integers(1, 10) | st.none())
    def test_says_whether_a_moment_is_in_both(self, a: int, a_for: int | None, b: int, b_for: int | None) -> None:
        def at(hour: int) -> TariffVersion:
            return replace(TARIFF, active_from=NOW + timedelta(hours=hour), active_to=None)

        one, other = at(a), at(b)
        if a_for is not None:
            one = replace(one, active_to=NOW + timedelta(hours=a + a_for))
        if b_for is not None:
            other = replace(other, active_to=NOW + timedelta(hours=b + b_for))
        common = any(
            one.is_active(moment) and other.is_active(moment)
            for moment in (NOW + timedelta(hours=hour) for hour in range(45))
        )

        assert overlaps(one, other) is common is overlaps(other, one)
