"""The numbers of the model are those of their sources, and fit each other."""

import math

import pytest

from firmware_sim.physics import constants as of

#: what somebody measured or a standard says: our number, the source's bounds
MEASURED = {
    "SHOWERS_PER_PERSON_DAY": (0.63, 7.75 / 7),
    "DURATION_MEAN_S": (9.1 * 60, 10.4 * 60),
    "DEMAND_LPM_MEDIAN": (7.4, 9.2),
    "MIXED_DEGC": (35.5, 40.4),
    "HOT_DEGC": (50.0, 60.0),
    "SOLENOID_TRAVEL_S": (0.3, 0.3),
    "BALL_TRAVEL_S": (5.0, 5.0),
    "HEAD_KPA_PER_M": (9.78, 9.81),
    "WATER_KJ_PER_L_K": (4.17, 4.19),
    "MPE_LOW": (0.05, 0.05),
    "MPE_HIGH": (0.03, 0.03),
    "MPE_IN_SERVICE_FACTOR": (2.0, 2.0),
    "K_FACTOR_PULSES_PER_M3": (450_000, 450_000),
    "K_FACTOR_SPREAD": (0.01, 0.01),
    "RISER_EXPONENT": (1.852, 1.852),
}
#: what we chose; a change is a decision, not a slip
CHOSEN = {
    "SERVICE_HOURS": (6.0, 24.0), "BEFORE_WEEKEND_FACTOR": 1.1, "BEFORE_WEEKEND_DAYS": (3, 4), "AUGUST_FACTOR": 0.1,
    "DURATION_SIGMA": 0.5, "DURATION_MIN_S": 20.0, "DURATION_MAX_S": 3_600.0, "PAUSE_SHARE": 0.35, "PAUSES_MAX": 2,
    "PAUSE_MEDIAN_S": 60.0, "PAUSE_SIGMA": 0.5, "DEMAND_SIGMA": 0.25, "DEMAND_LPM_MIN": 3.0, "DEMAND_LPM_MAX": 15.0,
    "RESTRICTOR_LPM": 15.0, "PRESSURE_KPA": 300.0, "PRESSURE_KPA_MIN": 40.0, "PRESSURE_RELAXATION": 0.5,
    "FLOOR_HEIGHT_M": 3.0, "FLUSH_DIP": 0.35, "FLUSH_RECOVERY_S": 5.0, "COLD_DEGC_MEAN": 15.0, "COLD_DEGC_SWING": 10.0,
    "COLDEST_DAY": 30, "AMBIENT_DEGC": 20.0, "DEAD_LEG_L": (0.5, 4.0), "WARM_UP_S": 4.0, "COOL_DOWN_S": 900.0,
    "STALE_K": 5.0, "TANK_BEDS_MIN": 100.0, "COP_AT": 3.8, "COP_PER_AMBIENT_K": 0.06, "COP_PER_TANK_K": 0.05,
    "COP_MIN": 1.6, "COP_MAX": 5.5, "TANK_ON_DEGC": 52.0, "TANK_OFF_DEGC": 58.0, "TANK_LOSS_KW_PER_K": 0.01,
    "ERROR_LOW_MEAN": -0.01, "ERROR_LOW_SIGMA": 0.015, "ERROR_HIGH_SIGMA": 0.007, "DRIFT_PER_YEAR": 0.002,
    "BOUNCE_SHARE": 1e-6, "MISS_SHARE": 1e-6, "AIR_NOISE": 0.3, "LEAK_SHARE": 0.01, "LEAK_LPM_MEDIAN": 0.05,
    "LEAK_SIGMA": 1.0, "BURSTS_PER_DAY": 1e-5, "BURST_LPM": 40.0, "STUCK_OPEN_PER_CYCLE": 1e-5,
    "STUCK_CLOSED_PER_CYCLE": 3e-5, "HALF_OPEN": 0.5, "TOO_HOT_DEGC": 55.0, "FREEZING_DEGC": 0.0,
    "CUTS_PER_MONTH": 0.2, "CUT_S": (1.0, 600.0), "CLOCK_DRIFT_PPM_SIGMA": 20.0,
    "DAY_PEAKS": ((0.18, 7.2, 0.7), (0.10, 12.7, 0.8), (0.62, 21.4, 1.3)),
}  # fmt: skip
#: checked below, from each other
DERIVED = {"Q1_LPM", "Q2_LPM", "Q3_LPM", "Q4_LPM", "RISER_LOSS_KPA", "TANK_M3_PER_BED", "HEAT_PUMP_KW_PER_BED"}


class TestNumbers:
    def test_are_all_looked_at(self) -> None:
        assert {name for name in vars(of) if name.isupper()} == {*MEASURED, *CHOSEN, *DERIVED}

    @pytest.mark.parametrize("name", sorted(MEASURED))
    def test_lie_where_their_source_says(self, name: str) -> None:
        low, high = MEASURED[name]

        assert low <= getattr(of, name) <= high

    @pytest.mark.parametrize("name", sorted(CHOSEN))
    def test_are_what_was_chosen(self, name: str) -> None:
        assert getattr(of, name) == CHOSEN[name]

    def test_of_the_meter_follow_from_q3_and_r80(self) -> None:
        assert pytest.approx(2_500 / 60, abs=0.005) == of.Q3_LPM
        assert pytest.approx(of.Q3_LPM / 80, abs=0.005) == of.Q1_LPM
        assert pytest.approx(1.6 * of.Q3_LPM / 80, abs=0.005) == of.Q2_LPM
        assert pytest.approx(1.25 * of.Q3_LPM, abs=0.01) == of.Q4_LPM

    def test_of_a_riser_are_hazen_and_williams_for_thirty_meters_of_dn_50(self) -> None:
        flow_m3_per_s = 340 / 60_000
        lost_m = 10.67 * 30 * flow_m3_per_s**1.852 / (130**1.852 * 0.05**4.87)

        assert pytest.approx(lost_m * 9.8, rel=0.03) == of.RISER_LOSS_KPA * 340**of.RISER_EXPONENT

    def test_of_a_plant_are_for_four_hundred_beds(self) -> None:
        assert pytest.approx(4.0) == 400 * of.TANK_M3_PER_BED
        assert pytest.approx(45.0) == 400 * of.HEAT_PUMP_KW_PER_BED

    def test_of_durations_have_the_measured_tail(self) -> None:
        """Mean 9.3 min; the 95th percentile of the measured distribution is 17.3 min, of ours 18.7."""
        mu = math.log(of.DURATION_MEAN_S) - of.DURATION_SIGMA**2 / 2

        assert math.exp(mu + 1.645 * of.DURATION_SIGMA) / 60 == pytest.approx(18.7, abs=0.1)
