import os
from pathlib import Path

import pytest

from gateway.care.serial_path import trouble


class TestTrouble:
    def test_finds_none_with_a_terminal(self) -> None:
        ours, theirs = os.openpty()
        try:
            assert trouble(os.ttyname(theirs)) == ""
        finally:
            os.close(ours)
            os.close(theirs)

    def test_tells_a_missing_one_a_folder_a_file_and_no_terminal_apart(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert "there is no such file" in trouble(str(tmp_path / "none"))
        assert "is a folder" in trouble(str(tmp_path))
        assert "is no terminal" in trouble(str(tmp_path / "file"))
        assert "is no terminal" in trouble("/dev/null")

    def test_tells_of_a_missing_permission(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("gateway.care.serial_path.os.open", refuse)
        assert "dialout" in trouble("/dev/ttyUSB0")
