"""The board is drawn from the symbol library, passes the electrical rule check, gives the net table that is kept."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hardware.schematics.draw import TABLE, SymbolsMissing, excerpt, library
from hardware.schematics.hwo1 import BOARD
from hardware.schematics.variants import BY_ERC


class TestMain:
    def test_passes_ours_and_fails_what_the_rule_check_must_find(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "hardware.schematics.draw", "hwo1", *BY_ERC, "--fresh", "--out", str(tmp_path)]

        done = subprocess.run(command, capture_output=True, text=True, timeout=160)

        said = dict(re.findall(r"^(\S+): \d+ parts, \d+ nets, (\d+ ERC errors, \d+ ERC warnings)", done.stdout, re.M))
        assert done.returncode == 1, done.stderr[-2000:]
        assert said.pop("hwo1") == "0 ERC errors, 0 ERC warnings"
        assert sorted(said) == sorted(BY_ERC)
        assert all(count != "0 ERC errors, 0 ERC warnings" for count in said.values())
        assert (tmp_path / "hwo1.csv").read_bytes() == TABLE.read_bytes()


class TestLibrary:
    def test_says_how_to_get_the_symbols(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("hardware.schematics.draw.SYMBOLS", tmp_path / "none")

        with pytest.raises(SymbolsMissing, match="make hardware-tools"):
            library(storage=tmp_path)


class TestExcerpt:
    def test_keeps_what_is_asked_for_and_what_that_extends(self) -> None:
        text = '(lib\n  (symbol "A" (x)\n  )\n  (symbol "B" (extends "A")\n  )\n  (symbol "C" (y)\n  )\n)\n'

        assert excerpt(text, {"B"}) == '(lib\n  (symbol "A" (x)\n  )\n  (symbol "B" (extends "A")\n  )\n)\n'


class TestTheKeptTable:
    def test_has_every_pin_of_the_board_once(self) -> None:
        rows = [line.split(",") for line in TABLE.read_text(encoding="utf-8").splitlines()[1:]]

        assert len({(ref, pin) for _, ref, pin, _ in rows}) == len(rows) == sum(map(len, BOARD.nets.values()))
        assert {row[0] for row in rows} == set(BOARD.nets)
