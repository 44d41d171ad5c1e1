"""Our boxes are solid and fit; boxes with other figures are refused for what is wrong with them."""

from pathlib import Path

import pytest
import trimesh

from hardware.enclosure.check import (
    SOLIDS,
    OpenScadMissing,
    box_complaints,
    bracket_complaints,
    build,
    figures,
    lid_complaints,
    main,
    rail_complaints,
    solid_complaints,
)

COARSE = {"$fn": "12"}


class TestBuild:
    @pytest.mark.parametrize(("name", "part", "room_mm"), SOLIDS)
    def test_makes_solids_that_hold(
        self, name: str, part: str, room_mm: tuple[float, float, float], tmp_path: Path
    ) -> None:
        assert solid_complaints(build(name, part, COARSE, tmp_path), room_mm) == []

    def test_shows_standoffs_that_stand_beside_the_box(self, tmp_path: Path) -> None:
        stl = build("outlet_box", "body", {**COARSE, "pcb_holes": "[200, 62]"}, tmp_path)

        assert "is in 5 pieces" in solid_complaints(stl, (300.0, 300.0, 300.0))

    def test_says_how_to_get_the_program(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))

        with pytest.raises(OpenScadMissing, match="make hardware-tools"):
            build("outlet_box", "lid", {}, tmp_path)


class TestSolidComplaints:
    def test_name_holes_pieces_and_size(self, tmp_path: Path) -> None:
        box = trimesh.creation.box((10, 10, 10))
        apart = trimesh.util.concatenate([box, trimesh.creation.box((1, 1, 1)).apply_translation((20, 0, 0))])
        apart.update_faces([index > 0 for index in range(len(apart.faces))])
        apart.export(tmp_path / "bad.stl")

        said = solid_complaints(tmp_path / "bad.stl", (15.0, 15.0, 15.0))

        assert said[0] == "is not watertight"
        assert "is in 2 pieces" in said
        assert "there is room for" in said[-1]


class TestLidComplaints:
    def test_close_the_lid(self, tmp_path: Path) -> None:
        assert lid_complaints(COARSE, tmp_path) == []
        assert lid_complaints({**COARSE, "lid_post": "9"}, tmp_path) == ["the lid does not close"]


class TestBoxComplaints:
    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({"glands_m12": "5"}, "5 holes M12, 6 glands"),
            ({"hole_m16": "15.9"}, "does not fit a gland M16"),
            ({"pitch_m12": "15"}, "touch at a pitch of 15"),
            ({"inner": "[100, 90, 52]"}, "a row of 6 glands M12 is wider than the box"),
            ({"inner": "[120, 72, 52]"}, "the board (100.0, 70.0) does not fit"),
            ({"inner": "[120, 90, 45]"}, "the rows of glands touch"),
            ({"lip": "6"}, "the upper nuts meet the lid's rim"),
            ({"pitch_m16": "55"}, "a row of 2 glands M16 is wider than the box"),
            ({"standoff": "[40, 7, 2.5]"}, "on standoffs of 40 mm there are not 20 mm left"),
            ({"standoff": "[8, 2, 2.5]"}, "leaves nothing of a standoff of 2 mm"),
            ({"pcb": "[100, 70, 30]"}, "there are not 20 mm left"),
            ({"pcb_holes": "[90, 62]"}, "do not match the board's holes"),
        ],
    )
    def test_name_what_does_not_fit(self, changes: dict[str, str], word: str) -> None:
        assert box_complaints(figures("outlet_box", {})) == []
        assert any(word in said for said in box_complaints(figures("outlet_box", changes)))


class TestBracketComplaints:
    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({"rail": "38"}, "a rail of 38 mm, ours is 35 mm"),
            ({"rail_thick": "0.8"}, "a flange of 0.8 mm, ours is 1 mm"),
            ({"rail_thick": "3"}, "a flange of 3 mm"),
            ({"width": "59"}, "is 59 mm wide, IF1 has 45 mm"),
        ],
    )
    def test_name_what_does_not_fit_the_rail(self, changes: dict[str, str], word: str) -> None:
        assert bracket_complaints(figures("gateway_bracket", {})) == []
        assert any(word in said for said in bracket_complaints(figures("gateway_bracket", changes)))


class TestRailComplaints:
    def test_sum_the_widths(self) -> None:
        assert rail_complaints() == []
        assert "do not fit on a rail of 200 mm" in rail_complaints(200)[0]
        assert "PS1 has no width" in rail_complaints(250, {})


class TestMain:
    def test_names_a_figure_that_is_none(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--out", str(tmp_path), "--set", "colour=1"]) == 2
        assert "outlet_box has no figure 'colour'; it has drip" in capsys.readouterr().err
