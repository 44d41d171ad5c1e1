import re

import pytest

from hardware.points import load, map_ids
from hardware.register_pages import page, span, table


class TestPage:
    @pytest.mark.parametrize("map_id", map_ids())
    def test_has_every_point_code_bit_vector_and_source(self, map_id: str) -> None:
        register_map = load(map_id)
        text = page(register_map)

        for name, point in register_map.points.items():
            row = re.findall(rf"^\| [\d-]+ \| `{name}` \| .*$", text, re.MULTILINE)[0]
            assert f" {point.type}" in row
            assert f"| {point.access}" in row
            assert point.unit in row
        for labels in register_map.enums.values():
            assert all(f"| {code} | {label} |" in text for code, label in labels.items())
        for bits in register_map.bits.values():
            assert all(f"| {bit} | 0x{1 << bit:08X} | {label} |" in text for bit, label in enumerate(bits))
        assert all(vector.raw.hex(" ").upper() in text for vector in register_map.vectors)
        assert all(str(source["title"]) in text for source in register_map.source)

    def test_shows_scale_range_meaning_and_what_is_kept(self) -> None:
        text = page(load("chw.hwo1"))

        assert (
            "| 10 | `cfg_temp_cutoff` | u16 | degC | 1/10 | rw | 300 to 600 |  | default 480; kept without power |"
            in text
        )
        assert "role state |" in text
        assert "0 BOOT, 1 IDLE, 2 ARMED" in text
        assert "## `cmd`: holding registers 256-274, FC03\n\nAccepted only as one write of all of it.\n" in text
        assert "| 6 | `quality` | u16 |  |  | 0 UNSET, 1 FREE_RUN, 2 SYNCED | mask 0xF000, shifted by 12 |" in text

    def test_names_another_word_order_at_the_point(self) -> None:
        assert "f32, little word" not in page(load("tuf.tuf2000f")), "the whole map is low word first: said once"


class TestSpan:
    @pytest.mark.parametrize(("first", "words", "said"), [(7, 1, "7"), (8, 2, "8-9"), (0, 45, "0-44")])
    def test_names_first_and_last(self, first: int, words: int, said: str) -> None:
        assert span(first, words) == said


class TestTable:
    def test_escapes_a_bar(self) -> None:
        assert table(("a",), [("x|y",)]) == "| a |\n| --- |\n| x\\|y |\n"
