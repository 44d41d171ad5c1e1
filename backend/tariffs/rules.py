"""
Rating, exactly, rounded once; and how large a hold a balance can carry. Pure.

A charge is the fixed part plus the price per cubic meter, at least the minimum; water below the free volume, and no
water, costs nothing. The exact figure is a fraction of a minor unit and is rounded half up, once, at the end: rounding
each liter of 45 L at ¥0.033 would bill ¥1.35 for ¥1.49.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

#: What may still run after the controller decided to close: its pulse weight, valve travel and the pipe behind it.
OVERSHOOT_ML = 1_000
_ML_PER_M3 = 1_000_000


@dataclass(frozen=True, slots=True)
class TariffVersion:
    """A price for one scenario below one place, from `active_from` up to, not including, `active_to`."""

    tenant_id: str
    tariff_id: str
    version: int
    #: Root of the subtree it is for.
    place_id: str
    scenario: str
    name: str
    name_en: str
    active_from: datetime
    active_to: datetime | None
    price_minor_per_m3: int
    fixed_minor: int
    minimum_minor: int
    free_below_ml: int
    volume_limit_ml: int
    duration_limit_s: int
    idle_limit_s: int
    minimum_hold_minor: int

    def is_active(self, at: datetime) -> bool:
        """Return whether the period contains a moment."""
        return self.active_from <= at and (self.active_to is None or at < self.active_to)


@dataclass(frozen=True, slots=True)
class Charge:
    """What a volume costs: the amount to take, and the exact figure it was rounded from."""

    amount_minor: int
    exact: Fraction
    volume_ml: int


@dataclass(frozen=True, slots=True)
class HoldPlan:
    """How much to hold, and the volume that hold is certain to cover, overshoot included."""

    hold_minor: int
    volume_limit_ml: int


def rate(tariff: TariffVersion, *, volume_ml: int) -> Charge:
    """Return the charge for a volume; it never falls when the volume grows."""
    assert volume_ml >= 0, "meters do not give water back"
    if volume_ml == 0 or volume_ml < tariff.free_below_ml:
        return Charge(0, Fraction(0), volume_ml)
    metered = tariff.fixed_minor + Fraction(tariff.price_minor_per_m3 * volume_ml, _ML_PER_M3)
    exact = max(metered, Fraction(tariff.minimum_minor))
    return Charge(_half_up(exact), exact, volume_ml)


def _half_up(exact: Fraction) -> int:
    return (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)


def worst_case_minor(tariff: TariffVersion) -> int:
    """Return the most one water session can cost: its volume limit and the overshoot."""
    return rate(tariff, volume_ml=tariff.volume_limit_ml + OVERSHOOT_ML).amount_minor


def plan(tariff: TariffVersion, *, available_minor: int) -> HoldPlan | None:
    """
    Return the hold and volume limit for what a payer has available, or None when it is too little.

    A smaller balance gets a smaller volume limit. Too little is less than the tariff's minimum hold, or less than one
    milliliter and the overshoot cost. The charge for the limit plus the overshoot never exceeds the hold.
    """
    worst = worst_case_minor(tariff)
    if available_minor < min(tariff.minimum_hold_minor, worst):
        return None
    if available_minor >= worst:
        return HoldPlan(worst, tariff.volume_limit_ml)
    fits, too_much = 0, tariff.volume_limit_ml
    while too_much - fits > 1:
        middle = (fits + too_much) // 2
        if rate(tariff, volume_ml=middle + OVERSHOOT_ML).amount_minor <= available_minor:
            fits = middle
        else:
            too_much = middle
    if fits == 0:
        return None
    return HoldPlan(rate(tariff, volume_ml=fits + OVERSHOOT_ML).amount_minor, fits)


def deepest(versions: Sequence[TariffVersion], *, place_ids: Sequence[str], at: datetime) -> TariffVersion | None:
    """Return the version active at a moment whose place is deepest on the path (root first), or None."""
    depth = {place_id: index for index, place_id in enumerate(place_ids)}
    active = [version for version in versions if version.place_id in depth and version.is_active(at)]
    return max(active, key=lambda version: depth[version.place_id], default=None)


def overlaps(one: TariffVersion, other: TariffVersion) -> bool:
    """Return whether two versions for the same place and scenario claim a common moment."""
    return (
        one.place_id == other.place_id
        and one.scenario == other.scenario
        and (one.active_to is None or other.active_from < one.active_to)
        and (other.active_to is None or one.active_from < other.active_to)
    )
