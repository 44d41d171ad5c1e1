"""Our parts lists hold, and each kind of mistake is named."""

from dataclasses import replace
from pathlib import Path

import pytest

from hardware.bom.check import (
    COLUMNS,
    FILES,
    FOLDER,
    BomMalformed,
    Line,
    against_budget,
    against_schematic,
    coded_value,
    complaints,
    main,
    needs_against_schematic,
    read,
    values_against_schematic,
)
from hardware.schematics.hwo1 import BOARD


def board_line(ref: str) -> Line:
    """Return the line of our board's list that has a part."""
    return next(line for line in read(FOLDER / "outlet_board.csv") if ref in line.refs)


def listed(name: str, ref: str) -> Line:
    """Return the line of one of our lists that has a part."""
    return next(line for line in read(FOLDER / f"{name}.csv") if ref in line.refs)


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
            ("U3", {}, {"checked": "datasheet"}, "a source belongs to a part that was checked"),
            ("U3", {}, {"source": "somewhere"}, "a source belongs to a part that was checked"),
            ("U1", {}, {"source": " "}, "a source belongs to a part that was checked"),
            ("F1", {"current_max_a": 0.33}, {}, "current 0.29 A is over 70% of 0.33 A"),
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

    def test_ask_less_warmth_of_what_stands_in_a_dry_room(self) -> None:
        computer = listed("gateway_box", "GW1")
        cooler = replace(computer, figures=computer.figures | {"temp_max_c": 50.0})

        assert complaints("gateway_box", [computer]) == []
        assert "stands 55 °C, 70 °C are needed" in complaints("outlet", [computer])[0]
        assert "stands 50 °C, 55 °C are needed" in complaints("gateway_box", [cooler])[0]

    def test_judge_mains_by_the_makers_range(self) -> None:
        supply = listed("gateway_box", "PS1")
        narrow = replace(supply, figures=supply.figures | {"supply_max_v": 240.0})
        elsewhere = replace(supply, figures=supply.figures | {"supply_v": 208.0})

        assert complaints("x", [supply]) == []
        assert "230 V ± 10 % is not within its supply range 90.0 to 240.0 V" in complaints("x", [narrow])[0]
        assert "208 V: mains is 230 V" in complaints("x", [elsewhere])[0]

    @pytest.mark.parametrize(
        ("ref", "gone", "word"),
        [
            ("Q1", ("voltage_max_v", "voltage_need_v"), "Q1 must have its voltage figures"),
            ("F1", ("current_max_a", "current_need_a"), "F1 must have its current figures"),
            ("U3", ("supply_v",), "supply: supply_min_v, supply_max_v, supply_v belong together"),
            ("U3", ("supply_min_v", "supply_max_v", "supply_v"), "U3 must have its voltage or its supply"),
            ("U1", ("voltage_max_v", "voltage_need_v"), "U1 must have its voltage or its supply"),
            ("D8", ("current_max_a", "current_need_a"), "D8 must have a voltage, a current or a supply"),
        ],
    )
    def test_miss_blank_figures(self, ref: str, gone: tuple[str, ...], word: str) -> None:
        line = board_line(ref)
        bad = replace(line, figures={key: each for key, each in line.figures.items() if key not in gone})

        assert any(word in said for said in complaints("x", [bad]))


class TestValuesAgainstSchematic:
    def test_see_another_value_and_a_number_twice(self) -> None:
        lines = read(FOLDER / "outlet_board.csv")
        small = replace(board_line("C2"), text=board_line("C2").text | {"description": "capacitor 22 µF 63 V"})

        assert values_against_schematic(lines) == []
        assert values_against_schematic([small]) == ["C2 is 220u in the schematic, here: capacitor 22 µF 63 V"]
        twice = replace(lines[1], text=lines[1].text | {"mpn": lines[0].text["mpn"]})
        assert values_against_schematic([lines[0], twice]) == ["R-78HB5.0-0.5 is on line 2 and on line 3"]

    @pytest.mark.parametrize(("ref", "mpn"), [("R1", "RC0805FR-0747KL"), ("C2", "EEU-FR1J101")])
    def test_see_a_number_of_another_value(self, ref: str, mpn: str) -> None:
        good = board_line(ref)
        bad = replace(good, text=good.text | {"mpn": mpn})

        assert values_against_schematic([good]) == []
        assert f"{mpn} is another value" in values_against_schematic([bad])[0]


class TestCodedValue:
    @pytest.mark.parametrize(
        ("mpn", "wanted"),
        [
            ("RC0805FR-07100KL", 100e3),
            ("RC0805FR-076K8L", 6.8e3),
            ("RC0805FR-07120RL", 120.0),
            ("CC0805KRX7R9BB104", 100e-9),
            ("CC0805JRNPO9BN470", 47e-12),
            ("GRM21BC72A105KE01L", 1e-6),
            ("EEU-FR1J221", 220e-6),
            ("FC0H473ZFTBR24", 47e-3),
            ("RT0805BRD072K2L", None),
        ],
    )
    def test_reads_the_series_we_use(self, mpn: str, wanted: float | None) -> None:
        assert coded_value(mpn) == (wanted if wanted is None else pytest.approx(wanted))

    def test_knows_nearly_every_resistor_and_capacitor_of_the_board(self) -> None:
        numbers = [line.text["mpn"] for line in read(FOLDER / "outlet_board.csv") if line.refs[0][0] in "RC"]

        assert [mpn for mpn in numbers if coded_value(mpn) is None] == ["RT0805BRD072K2L"]


class TestNeedsAgainstSchematic:
    @pytest.mark.parametrize(
        ("ref", "need_v", "word"),
        [
            ("C2", 5.0, "C2 is on +24V_H and needs 42.1 V, here: 5 V"),
            ("Q1", 24.0, "Q1 is on VALVE_K and needs 42.1 V"),
            ("U2", 3.3, "U2 is on +5V and needs 5 V"),
        ],
    )
    def test_sees_a_need_below_its_net(self, ref: str, need_v: float, word: str) -> None:
        good = board_line(ref)
        bad = replace(good, figures=good.figures | {"voltage_need_v": need_v})

        assert needs_against_schematic(read(FOLDER / "outlet_board.csv")) == []
        assert any(word in said for said in needs_against_schematic([bad]))


class TestAgainstBudget:
    @pytest.mark.parametrize(
        ("name", "ref", "figures", "word"),
        [
            ("gateway_box", "PS1", {"current_need_a": 5.47}, "5.47 A is less than the 6.67 A of a full feed"),
            ("gateway_box", "F3", {"current_need_a": 0.9}, "0.9 A is less than the 1.20 A"),
            ("gateway_box", "F3", {"current_max_a": 8.0}, "the budget reckons with 2 A"),
            ("gateway_box", "W7", {"current_need_a": 0.9}, "0.9 A is less than the 1.20 A"),
            ("reader", "W2", {"current_need_a": 0.15}, "0.15 A is less than the 1.20 A"),
            ("reader", "XT1", {"current_need_a": 0.15}, "0.15 A is less than the 1.20 A"),
            ("gateway_box", "F2", {"current_need_a": 4.64}, "4.64 A is less than the 5.47 A"),
            ("gateway_box", "PS1", {"current_max_a": 3.83}, "the budget reckons with 10 A"),
            ("gateway_box", "F2", {"current_max_a": 4.0}, "the budget reckons with 8 A"),
            ("outlet", "W1", {"current_need_a": 2.64}, "2.64 A is less than the 4.64 A"),
            ("outlet_board", "Q1", {"current_need_a": 0.05}, "0.05 A is less than the 0.25 A"),
            ("outlet_board", "F1", {"current_need_a": 0.25}, "0.25 A is less than the 0.29 A"),
            ("outlet_board", "J1", {"current_need_a": 2.64}, "2.64 A is less than the 4.64 A"),
        ],
    )
    def test_refuses_parts_for_less_than_a_full_feed(
        self, name: str, ref: str, figures: dict[str, float], word: str
    ) -> None:
        lines = read(FOLDER / f"{name}.csv")
        bad = [replace(line, figures=line.figures | figures) if ref in line.refs else line for line in lines]

        assert against_budget(name, lines) == []
        assert any(ref in said and word in said for said in against_budget(name, bad))


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
        path.write_text(",".join(COLUMNS) + "\nU1,1,a,b,c,yes,many,,,,,,,85,no,\n", encoding="utf-8")

        with pytest.raises(BomMalformed, match=r"x.csv:2: voltage_max_v 'many' is no number"):
            read(path)

    def test_refuses_other_columns(self, tmp_path: Path) -> None:
        path = tmp_path / "x.csv"
        path.write_text("refs,mpn\n", encoding="utf-8")

        with pytest.raises(BomMalformed, match="columns"):
            read(path)

    @pytest.mark.parametrize(
        ("row", "word"),
        [
            ("U1,1,a,b,c,yes,nan,,,,,,,85,no,", "x.csv:2: voltage_max_v 'nan' is no finite number"),
            ("U1,1,a,b,c,yes,inf,5,,,,,,85,no,", "x.csv:2: voltage_max_v 'inf' is no finite number"),
            ("U1,1,a,b,c,yes,5,-5,,,,,,85,no,", "x.csv:2: voltage_need_v '-5' must be positive"),
            ("U1,1", "x.csv:2: must have 16 cells"),
            ("U1,1,a,b,c,yes,5,4,,,,,,85,no,,more", "x.csv:2: must have 16 cells"),
            ("", "x.csv: has no parts"),
        ],
    )
    def test_refuses_what_is_no_part(self, tmp_path: Path, row: str, word: str) -> None:
        path = tmp_path / "x.csv"
        path.write_text(f"{','.join(COLUMNS)}\n{row}\n", encoding="utf-8")

        with pytest.raises(BomMalformed) as caught:
            read(path)
        assert word in str(caught.value)

    def test_refuses_other_encodings_and_no_file(self, tmp_path: Path) -> None:
        path = tmp_path / "x.csv"
        path.write_bytes(b"refs\xff")

        for each in (path, tmp_path / "none.csv"):
            with pytest.raises(BomMalformed, match="cannot be read"):
                read(each)
