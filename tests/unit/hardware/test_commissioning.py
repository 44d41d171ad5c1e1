"""The guide names what the map has, and each outlet gets a page with its code."""

from dataclasses import replace
from pathlib import Path

import pypdfium2
import pytest
import zxingcpp

from hardware.commissioning import GUIDE, STEPS, ListMalformed, Outlet, complaints, draw, main, outlets
from hardware.points import MAPS_DIR, load_file

MAP = load_file(MAPS_DIR / "chw.hwo1.toml")
OUTLETS = [
    Outlet(
        f"dev_{number}", "三号学生公寓 4 层", f"{number} 号淋浴", f"Shower {number}", f"https://tap.example/w/a{number}"
    )
    for number in (1, 2)
]


class TestComplaints:
    def test_find_nothing_wrong_with_ours(self) -> None:
        guide = GUIDE.read_text(encoding="utf-8")

        assert complaints(MAP, guide) == []
        assert guide.count("`") > 40

    @pytest.mark.parametrize(
        ("guide", "points", "word"),
        [
            ("read `temp_inn`", (), "temp_inn: the map has no such point"),
            ("`state` is `SLEEPING`", (), "SLEEPING: the map knows no such word"),
            ("", ("valve",), "valve: the map has no such point"),
        ],
    )
    def test_name_what_the_map_does_not_know(self, guide: str, points: tuple[str, ...], word: str) -> None:
        assert complaints(MAP, guide, [replace(STEPS[0], points=points)]) == [word]

    def test_follow_the_guide_step_by_step(self) -> None:
        assert f"\n{len(STEPS)}. **" in GUIDE.read_text(encoding="utf-8")
        assert f"\n{len(STEPS) + 1}. **" not in GUIDE.read_text(encoding="utf-8")


class TestDraw:
    def test_gives_each_outlet_one_page_with_its_code_and_both_languages(self) -> None:
        pdf = pypdfium2.PdfDocument(draw(OUTLETS))

        assert len(pdf) == len(OUTLETS)
        for page, outlet in zip(pdf, OUTLETS, strict=True):
            picture = page.render(scale=150 / 72).to_pil().convert("L")
            assert [each.text for each in zxingcpp.read_barcodes(picture)] == [outlet.link]
            text = page.get_textpage().get_text_bounded()
            assert all(words in text for words in (outlet.device_id, outlet.name, *(step.en for step in STEPS)))
            assert all(step.zh.split("，")[0].split(" ")[0] in text for step in STEPS)

    def test_gives_the_same_bytes_again(self) -> None:
        assert draw(OUTLETS) == draw(OUTLETS)


class TestOutlets:
    @pytest.mark.parametrize(
        ("text", "word"),
        [
            ("device_id,place,name,name_en\n", "column link is missing"),
            ("device_id,place,name,name_en,link\n", "0 outlets"),
            ("device_id,place,name,name_en,link\ndev_1,,,,\n", ":2: device_id and link"),
        ],
    )
    def test_names_what_is_wrong(self, text: str, word: str, tmp_path: Path) -> None:
        path = tmp_path / "list.csv"
        path.write_text(text, encoding="utf-8")

        with pytest.raises(ListMalformed, match=word):
            outlets(path)


class TestMain:
    def test_checks_and_prints(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "list.csv"
        path.write_text("device_id,place,name,name_en,link\ndev_1,楼,一,One,https://x.example\n", encoding="utf-8")

        assert main(["--check"]) == 0
        assert main([str(path), "--out", str(tmp_path / "list.pdf")]) == 0
        assert main([str(tmp_path / "none.csv"), "--out", str(tmp_path / "list.pdf")]) == 2
        assert main([]) == 2
        assert "1 checklists" in capsys.readouterr().out
