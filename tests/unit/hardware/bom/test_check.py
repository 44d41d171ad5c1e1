"""Our parts lists hold, and each kind of mistake is named."""

from dataclasses import replace
from pathlib import Path

import pytest

from hardware.bom.check import COLUMNS, FILES, FOLDER, BomMalformed, Line, against_schematic, complaints, main, read
from hardware.schematics.hwo1 import BOARD


def board_line(ref: str) -> Line:
    """Return the line of our board's list that has a part."""
    return next(line for line in read(FOLDER / "outlet_board.csv") if ref in line.refs)


class TestMain:
    def test_finds_nothing_wrong_with_ours(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main() == 0
        assert "outlet_board: 40 lines" in capsys.readouterr().out

    def test_fails_on_a_bad_list(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for name in FILES:
            text = (FOLDER / f"{name}.csv").read_text(encoding="utf-8")
            (tmp_path / f"{name}.csv").write_text(text.replace("AO3422,", ","), encoding="utf-8")

        assert main(tmp_path) == 1
        assert "Q1: mpn is missing" in capsys.readouterr().out


class TestComplaints:
    @pytest.mark.parametrize(
        ("ref", "figures", "text", "word"),
        [
            ("Q1", {"voltage_max_v": 30.0}, {}, "voltage 42.8 V is over 80% of 30 V"),
            ("U5", {"supply_min_v": 4.5, "supply_max_v": 5.5}, {}, "3.3 V is not within its supply range 4.5 to 5.5"),
            ("F1", {"current_max_a": 0.3}, {}, "current 0.29 A is over 70% of 0.3 A"),
            ("C2", {"temp_max_c": 60.0}, {}, "stands 60 °C"),
            ("D1", {"supply_v": 28.0}, {}, "28 V is not within"),
            ("U3", {}, {"rohs": "no"}, "is not RoHS"),
            ("U3", {}, {"quantity": "2"}, "quantity 2"),
            ("U3", {}, {"manufacturer": " "}, "manufacturer is missing"),
            ("U3", {}, {"checked": "maybe"}, "checked must be"),
        ],
    )
    def test_name_the_part_and_the_reason(
        self, ref: str, figures: dict[str, float], text: dict[str, str], word: str
    ) -> None:
        good = board_line(ref)
        bad = replace(good, figures=good.figures | figures, text=good.text | text)

        assert complaints("x", [good]) == []
        assert any(ref in said and word in said for said in complaints("x", [bad]))

    def test_see_a_part_twice_and_half_a_rating(self) -> None:
        line = board_line("Q1")
        half = replace(line, figures={key: value for key, value in line.figures.items() if key != "voltage_need_v"})

        assert any("Q1 is there twice" in said for said in complaints("x", [line, line]))
        assert any("belong together" in said for said in complaints("x", [half]))


class TestAgainstSchematic:
    def test_looks_both_ways(self) -> None:
        lines = read(FOLDER / "outlet_board.csv")
        fewer = replace(BOARD, components=BOARD.components[1:])

        assert against_schematic(lines) == []
        assert against_schematic(lines[1:]) == ["U1 is in the schematic and not in the parts list"]
        assert against_schematic(lines, fewer) == ["U1 is in the parts list and not in the schematic"]


class TestRead:
    def test_names_file_line_and_column(self, tmp_path: Path) -> None:
        path = tmp_path / "x.csv"
        path.write_text(",".join(COLUMNS) + "\nU1,1,a,b,c,yes,many,,,,,,,85,no\n", encoding="utf-8")

        with pytest.raises(BomMalformed, match=r"x.csv:2: voltage_max_v 'many' is no number"):
            read(path)

    def test_refuses_other_columns(self, tmp_path: Path) -> None:
        path = tmp_path / "x.csv"
        path.write_text("refs,mpn\n", encoding="utf-8")

        with pytest.raises(BomMalformed, match="columns"):
            read(path)
