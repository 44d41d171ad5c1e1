"""Pulses become millilitres, rounded down, never through a float."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.units import InvalidKFactor, volume_ml

_K = st.integers(min_value=1, max_value=10_000_000)


class TestVolumeMl:
    def test_counts_a_litre_at_450_pulses_a_litre(self) -> None:
        assert volume_ml(pulses=450, k_factor_pulses_per_m3=450_000) == 1_000

    def test_rounds_down(self) -> None:
        assert volume_ml(pulses=1, k_factor_pulses_per_m3=450_000) == 2  # 2.22 mL

    @given(pulses=st.integers(min_value=0, max_value=2**64), k=_K)
    def test_never_gives_more_than_was_counted(self, pulses: int, k: int) -> None:
        found = volume_ml(pulses=pulses, k_factor_pulses_per_m3=k)

        assert found * k <= pulses * 1_000_000 < (found + 1) * k

    @pytest.mark.parametrize("k", [0, -1])
    def test_refuses_a_k_factor_that_is_not_positive(self, k: int) -> None:
        with pytest.raises(InvalidKFactor):
            volume_ml(pulses=1, k_factor_pulses_per_m3=k)
