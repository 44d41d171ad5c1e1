"""The page that explains how a device is added is right, and so is the command it names."""

import re
from pathlib import Path

import pytest

from hardware.check import main
from hardware.points import MAPS_DIR, load_file
from hardware.reading import _BLOCK_KEYS, _POINT_KEYS
from hardware.vocabulary import BUS_KEYS, CAPS_KEYS, DEADMAN

PAGE = (MAPS_DIR.parent / "ADDING_A_DEVICE.md").read_text(encoding="utf-8")


class TestThePage:
    def test_shows_a_map_that_is_right(self, tmp_path: Path) -> None:
        found = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
        assert found
        path = tmp_path / "acme.valve.toml"
        path.write_text(found.group(1), encoding="utf-8")
        assert load_file(path).deadman == "device_credit"

    @pytest.mark.parametrize("key", sorted(_POINT_KEYS | _BLOCK_KEYS | BUS_KEYS | CAPS_KEYS | DEADMAN))
    def test_explains_every_key(self, key: str) -> None:
        assert re.search(rf"`{key}[`\s]", PAGE)


class TestMain:
    def test_says_what_a_map_makes_of_its_device(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([]) == 0
        said = capsys.readouterr().out
        assert "waveshare.relay8 2.0: 12 points, 3 golden vectors; one_shot: runs on at worst what flows in one" in said

    def test_fails_with_the_complaint(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "tuf.tuf2000f.toml"
        text = (MAPS_DIR / path.name).read_text(encoding="utf-8")
        path.write_text(text.replace('word = "little"', 'word = "big"'), encoding="utf-8")
        assert main([str(path)]) == 1
        assert 'with word = "little" and byte = "big" it would be right' in capsys.readouterr().err
