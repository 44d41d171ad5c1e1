"""Stickers are printed from the fleet with the link the product answers to."""

from pathlib import Path

import pytest

from backend import cli
from backend.db import open_database
from backend.fleet import service as fleet
from hardware.commissioning import outlets
from tests.unit.backend.fleet.helpers import TENANT, add_campus
from tests.unit.backend.fleet.test_sticker_sheet import decoded

URL = "https://tap.campus.example"


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMPUSTAP_DATABASE_URL", f"sqlite:///{tmp_path / 'one.db'}")
    monkeypatch.setenv("CAMPUSTAP_SECRETS_DIR", str(tmp_path / "secrets"))
    monkeypatch.setenv("CAMPUSTAP_PUBLIC_URL", URL)


class TestCommand:
    def test_prints_codes_that_find_their_outlet(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["migrate"]) == 0
        database = open_database(f"sqlite:///{tmp_path / 'one.db'}")
        with database.write() as conn:
            added = add_campus(conn)

        sheet, listing = tmp_path / "new" / "sheet.pdf", tmp_path / "list.csv"
        assert cli.main(["stickers", TENANT, "--out", str(sheet), "--list", str(listing)]) == 0

        (links,) = decoded(sheet.read_bytes())
        assert links == [f"{URL}/w/{added.sticker_token}"]
        with database.read() as conn:
            assert fleet.device_by_sticker(conn, links[0].rsplit("/", 1)[1]) == added
        (listed,) = outlets(listing)
        assert (listed.device_id, listed.link) == ("dev_1", links[0])
        assert "1 stickers on 1 pages" in capsys.readouterr().out

    def test_warns_of_codes_that_lead_nowhere(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CAMPUSTAP_PUBLIC_URL", "http://127.0.0.1:8000")
        cli.main(["migrate"])
        with open_database(f"sqlite:///{tmp_path / 'one.db'}").write() as conn:
            add_campus(conn)

        assert cli.main(["stickers", TENANT, "--out", str(tmp_path / "sheet.pdf")]) == 0
        assert "CAMPUSTAP_PUBLIC_URL" in capsys.readouterr().err

    def test_names_what_it_cannot_find(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        cli.main(["migrate"])

        assert cli.main(["stickers", "nowhere", "--out", str(tmp_path / "sheet.pdf")]) == 2
        assert "nowhere" in capsys.readouterr().err
