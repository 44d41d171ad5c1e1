import pytest

from gateway.contract.events import StopReason
from gateway.sessions.cutoff import TIME_MARGIN_S, VOLUME_MARGIN_ML, cutoff, grant_lives, renewal_due


class TestCutoff:
    @pytest.mark.parametrize(
        ("volume_ml", "elapsed_s", "reason"),
        [
            (0, 0, None),
            (1_000, 60, None),  # at the limits: the device closes, not we
            (1_000 + VOLUME_MARGIN_ML - 1, 60 + TIME_MARGIN_S - 1, None),
            (1_000 + VOLUME_MARGIN_ML, 0, StopReason.VOLUME_LIMIT),
            (0, 60 + TIME_MARGIN_S, StopReason.TIME_LIMIT),
            (9_999, 9_999, StopReason.VOLUME_LIMIT),
        ],
    )
    def test_acts_only_beyond_the_margins(self, volume_ml: int, elapsed_s: int, reason: StopReason | None) -> None:
        found = cutoff(volume_ml=volume_ml, elapsed_s=elapsed_s, volume_limit_ml=1_000, duration_limit_s=60)
        assert found is reason


class TestGrantLives:
    @pytest.mark.parametrize(
        ("elapsed_s", "volume_ml", "lives"), [(0, 0, True), (59, 999, True), (60, 0, False), (0, 1_000, False)]
    )
    def test_needs_litres_and_seconds(self, elapsed_s: int, volume_ml: int, lives: bool) -> None:
        found = grant_lives(elapsed_s=elapsed_s, volume_ml=volume_ml, volume_limit_ml=1_000, duration_limit_s=60)
        assert found is lives


class TestRenewalDue:
    @pytest.mark.parametrize(("since_s", "due"), [(19.9, False), (20.0, True), (500.0, True)])
    def test_after_a_third(self, since_s: float, due: bool) -> None:
        assert renewal_due(since_renewal_s=since_s, lease_s=60) is due
