"""Bytes take their time: the figures of a serial line at common rates."""

import pytest

from firmware_sim.timing import Timing


class TestExchange:
    @pytest.mark.parametrize(
        ("baud", "request_bytes", "response_bytes", "ms"),
        [
            (9_600, 8, 8, 31.4),
            (19_200, 8, 8, 18.2),
            (115_200, 8, 8, 10.0),
            (9_600, 8, 7, 30.2),
            (9_600, 8, 61, 92.1),
            (19_200, 8, 61, 48.5),
            (115_200, 8, 61, 15.1),
            (9_600, 51, 21, 95.5),
            (19_200, 51, 21, 50.3),
            (19_200, 8, 239, 150.5),
            (9_600, 17, 255, 324.7),
            (115_200, 17, 255, 34.5),
        ],
    )
    def test_takes_what_the_bus_budget_says(
        self, baud: int, request_bytes: int, response_bytes: int, ms: float
    ) -> None:
        assert Timing(baud=baud).exchange_s(request_bytes, response_bytes) * 1000 == pytest.approx(ms, abs=0.06)


class TestTiming:
    def test_counts_ten_bits_without_parity(self) -> None:
        assert Timing(baud=9_600, framing="8N1").wire_s(96) == pytest.approx(0.1)

    @pytest.mark.parametrize(("baud", "t35_ms"), [(9_600, 4.01), (19_200, 2.01), (38_400, 1.75), (115_200, 1.75)])
    def test_knows_the_silence_between_frames(self, baud: int, t35_ms: float) -> None:
        assert Timing(baud=baud).t35_s * 1000 == pytest.approx(t35_ms, abs=0.01)

    @pytest.mark.parametrize("wrong", [{"baud": 0}, {"framing": "7E1"}, {"turnaround_ms": -1}])
    def test_refuses_what_is_no_line(self, wrong: dict[str, int]) -> None:
        with pytest.raises(ValueError, match="is no serial line"):
            Timing(**wrong)  # type: ignore[arg-type]
