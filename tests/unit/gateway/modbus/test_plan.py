from pathlib import Path

import pytest

from gateway.modbus.plan import closure, spans
from hardware.points import load
from tests.unit.gateway.devices.map_rig import CREDIT, map_in


class TestClosure:
    def test_takes_along_what_a_total_is_made_of(self) -> None:
        found = closure(load("tuf.tuf2000f"), ["forward_total"])
        assert found == {"forward_total", "forward_whole", "forward_part", "total_unit", "total_exponent"}


class TestSpans:
    def test_reads_neighbors_in_one_request(self) -> None:
        found = spans(load("tuf.tuf2000f"), ["flow", "forward_total", "error_bits"])
        assert [(span.address, span.count) for span in found] == [(0, 2), (8, 4), (71, 1), (1437, 2)]

    def test_reads_over_holes_only_where_the_device_allows_it(self) -> None:
        heat = load("diehl.sharky775")
        assert [(span.address, span.count) for span in spans(heat, ["volume", "volume_float"])] == [(10, 10)]
        apart = spans(heat, ["volume", "volume_float"], over_holes=False)
        assert [(span.address, span.count, span.has_hole) for span in apart] == [(10, 2, False), (18, 2, False)]

    def test_never_asks_for_more_than_the_device_answers_at_once(self) -> None:
        names = [f"count_{number}" for number in range(1, 9)]
        counter = load("wirenboard.wbmcm8")
        assert [(span.address, span.count) for span in spans(counter, names)] == [(60, 16)]

    @pytest.mark.parametrize(
        ("limit", "expected"), [(20, [(10, 10)]), (5, [(10, 5), (15, 5)]), (4, [(10, 4), (14, 2), (18, 2)])]
    )
    def test_never_splits_a_point(self, tmp_path: Path, limit: int, expected: list[tuple[int, int]]) -> None:
        text = CREDIT.replace("max_read = 20", f"max_read = {limit}")
        found = spans(map_in(tmp_path, text), ["total", "flow", "alarms"])
        assert [(span.address, span.count) for span in found] == expected

    def test_reads_a_synchronized_block_whole(self) -> None:
        (span,) = spans(load("chw.hwo1"), ["flow"])
        assert (span.address, span.count) == (100, 28)

    def test_leaves_out_what_can_only_be_written(self, tmp_path: Path) -> None:
        (span,) = spans(map_in(tmp_path, CREDIT), ["state"])
        assert [point.name for point in span.points] == ["state"]
