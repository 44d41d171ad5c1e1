"""Commands say what is wrong in one line and end with status 2."""

import json
from pathlib import Path

import pytest

from backend import cli


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMPUSTAP_DATABASE_URL", f"sqlite:///{tmp_path / 'one.db'}")
    monkeypatch.setenv("CAMPUSTAP_SECRETS_DIR", str(tmp_path / "secrets"))


class TestMain:
    @pytest.mark.parametrize("command", ["worker", "serve"])
    def test_starts_no_process_on_an_old_schema(self, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main([command]) == 2

        assert "campustap migrate" in capsys.readouterr().err

    def test_says_that_tables_are_missing(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["tenant", "list"]) == 2

        assert "migrated" in capsys.readouterr().err

    def test_migrates_and_lists(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["migrate"]) == 0
        assert cli.main(["tenant", "list"]) == 0

        assert json.loads(capsys.readouterr().out) == []

    @pytest.mark.parametrize(
        ("arguments", "word"),
        [
            (["reconcile", "nowhere"], "nowhere"),
            (["gateway", "list", "nowhere"], "nowhere"),
            (["tenant", "seed", "/nonexistent/plan.json", "--out", "/nonexistent/out"], "plan.json"),
        ],
    )
    def test_names_what_it_cannot_find(
        self, arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cli.main(["migrate"])

        assert cli.main(arguments) == 2
        assert word in capsys.readouterr().err

    def test_names_a_malformed_setting(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("CAMPUSTAP_BROKER_PORT", "many")

        assert cli.main(["worker"]) == 2
        assert "CAMPUSTAP_BROKER_PORT" in capsys.readouterr().err
