"""Rules of settlement: what a register pair costs, and how it is split between the hold and the operator. Pure."""

from dataclasses import dataclass

from backend.metering.rules import usage_pulses
from backend.tariffs.rules import OVERSHOOT_ML, Charge, TariffVersion, rate
from gateway.contract.events import RefusalCode
from gateway.contract.units import volume_ml

#: Refusals by the outlet itself: the command was the right one and no water will run. The others may speak of a forged,
#: copied or late duplicate of a command that was carried out, so they prove nothing; the sweeper decides those.
FINAL_REFUSALS: frozenset[RefusalCode] = frozenset(
    {
        RefusalCode.BUSY,
        RefusalCode.CLOCK_SKEW,
        RefusalCode.DEVICE_FAULT,
        RefusalCode.DEVICE_REFUSED,
        RefusalCode.DEVICE_SILENT,
        RefusalCode.JOURNAL_FULL,
        RefusalCode.UNKNOWN_DEVICE,
        RefusalCode.UNSAFE_DEVICE,
    }
)


#: Evidence of an ending that nobody reported: the latest register known, cut at the session's limit if it is absurd.
LATEST_READING = "latest_reading"
CUT_READING = "latest_reading_cut"


def is_provisional(evidence: str) -> bool:
    """Return whether a bill rests on a reading that stood in for an ending, so that the true ending replaces it."""
    return evidence in (LATEST_READING, CUT_READING)


def believable_pulses(usage: int, *, volume_limit_ml: int, k_factor_pulses_per_m3: int) -> tuple[int, str]:
    """
    Return how many pulses of a mere reading may be billed, never more than the limit, and the evidence they are.

    More than the limit and the overshoot cannot have run in the session: something else moved the register.
    """
    limit = volume_limit_ml * k_factor_pulses_per_m3 // 1_000_000
    absurd = (volume_limit_ml + OVERSHOOT_ML) * k_factor_pulses_per_m3 // 1_000_000
    return min(usage, limit), CUT_READING if usage > absurd else LATEST_READING


@dataclass(frozen=True, slots=True)
class Bill:
    """What a register pair comes to, and who pays it: `captured_minor` the payer, `overrun_minor` the operator."""

    pulses: int
    note: str
    volume_ml: int
    charge_minor: int
    captured_minor: int
    overrun_minor: int


def live_charge(tariff: TariffVersion, *, pulses: int, k_factor_pulses_per_m3: int) -> Charge:
    """Return what so many pulses cost; the figure shown while water runs and the bill both come from here."""
    return rate(tariff, volume_ml=volume_ml(pulses=pulses, k_factor_pulses_per_m3=k_factor_pulses_per_m3))


def bill(
    tariff: TariffVersion, *, opening_pulses: int, closing_pulses: int, k_factor_pulses_per_m3: int, held_minor: int
) -> Bill:
    """Return the bill for a register pair; never more is captured than is held."""
    usage = usage_pulses(opening_pulses, closing_pulses)
    charge = live_charge(tariff, pulses=usage.pulses, k_factor_pulses_per_m3=k_factor_pulses_per_m3)
    captured = min(charge.amount_minor, held_minor)
    return Bill(
        pulses=usage.pulses,
        note=usage.note,
        volume_ml=charge.volume_ml,
        charge_minor=charge.amount_minor,
        captured_minor=captured,
        overrun_minor=charge.amount_minor - captured,
    )
