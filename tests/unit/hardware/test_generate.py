from pathlib import Path

import pytest

from hardware.generate import REGISTERS, contents, main, stale


class TestContents:
    def test_is_what_the_files_hold(self) -> None:
        assert [path.name for path in stale(contents())] == [], "write it anew: python -m hardware.generate"


class TestStale:
    def test_names_what_differs_what_is_missing_and_what_belongs_to_no_map(self, tmp_path: Path) -> None:
        for name, text in (("right", "1"), ("changed", "2"), ("stray", "3")):
            (tmp_path / name).write_text(text, encoding="utf-8")

        found = stale({tmp_path / "right": "1", tmp_path / "changed": "new", tmp_path / "missing": "4"})

        assert [path.name for path in found] == ["changed", "missing", "stray"]


class TestMain:
    def test_writes_what_is_stale_and_takes_away_what_belongs_to_no_map(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("hardware.generate.REGISTERS", tmp_path / "registers")
        monkeypatch.setattr("hardware.drivers.PAGE", tmp_path / "drivers.md")

        assert main(["--check"]) == 1
        assert "hwo1_regs.h: stale" in capsys.readouterr().err
        assert main([]) == 0
        (tmp_path / "registers" / "gone.md").write_text("of a map that is no more", encoding="utf-8")
        (tmp_path / "drivers.md").write_text("old", encoding="utf-8")
        capsys.readouterr()

        assert main([]) == 0

        assert capsys.readouterr().out.split() == ["drivers.md", "gone.md"]
        assert main(["--check"]) == 0
        assert (tmp_path / "registers" / "hwo1_regs.h").read_bytes() == (REGISTERS / "hwo1_regs.h").read_bytes()

    def test_checks_without_writing(self) -> None:
        before = {path: path.read_bytes() for path in REGISTERS.iterdir()}

        assert main(["--check"]) == 0

        assert before == {path: path.read_bytes() for path in REGISTERS.iterdir()}

    def test_refuses_what_it_does_not_know(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--chek"]) == 2
        assert "usage" in capsys.readouterr().err
