from pathlib import Path

import pytest

from hardware.firmware_ref.build import BuildFailed, build


class TestBuild:
    def test_makes_both_forms_in_the_folder(self, tmp_path: Path) -> None:
        built = build(tmp_path / "new", quick=True)

        assert built.library.is_file()
        assert built.program.stat().st_mode & 0o111
        assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["hwo1_ref", "libhwo1_ref.so"]

    def test_fails_with_what_the_compiler_said(self, tmp_path: Path) -> None:
        with pytest.raises(BuildFailed, match=r"device\.h.*error"):
            build(tmp_path, defines=["LOG_CAPACITY=3"], target="library", quick=True)

    def test_says_when_there_is_no_make(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))

        with pytest.raises(BuildFailed, match="make is not installed"):
            build(tmp_path)
