"""`campustap statement import` and `list`, as an operator types them."""

import json
from pathlib import Path

import pytest

from backend import cli
from backend.db import open_database
from backend.tenants import service as tenants
from tests.unit.backend.statements.samples import PACKED, WECHAT
from tests.unit.backend.statements.writing import WECHAT_MERCHANT, wechat


@pytest.fixture(autouse=True)
def _school(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path / 'one.db'}"
    monkeypatch.setenv("CAMPUSTAP_DATABASE_URL", url)
    monkeypatch.setenv("CAMPUSTAP_SECRETS_DIR", str(tmp_path / "secrets"))
    assert cli.main(["migrate"]) == 0
    db = open_database(url)
    with db.write() as conn:
        tenants.create(conn, tenants.Tenant("gxu", "桂湖大学", "Guihu University"))
    db.engine.dispose()
    capsys.readouterr()


def _import(path: Path, *more: str, tenant: str = "gxu", day: str = "2026-11-21") -> int:
    return cli.main(["statement", "import", "wechat", str(path), "--tenant", tenant, "--day", day, *more])


class TestImport:
    def test_prints_what_was_stored_and_may_be_repeated(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "bill.csv.gz"
        path.write_bytes(PACKED["wechat"](WECHAT))

        assert _import(path, "--merchant", WECHAT_MERCHANT) == 0
        first = json.loads(capsys.readouterr().out)
        assert _import(path) == 0
        second = json.loads(capsys.readouterr().out)

        assert (first["line_count"], first["is_new"], first["day"]) == (3, True, "2026-11-21")
        assert [kind["amount_minor"] for kind in first["kinds"]] == [350, -250]
        assert second == first | {"is_new": False}

    def test_says_where_a_file_is_wrong(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "bill.csv"
        path.write_bytes(wechat(WECHAT).replace(b"`3,`3.50", b"`3,`3.49"))

        assert _import(path) == 2

        said = capsys.readouterr().err
        assert "bill.csv, line 6, 应结订单总金额: it says 349, the rows add up to 350" in said

    @pytest.mark.parametrize(
        ("tenant", "name", "word"), [("gxu", "nowhere.csv", "nowhere.csv"), ("nobody", "bill.csv", "nobody")]
    )
    def test_names_what_it_cannot_find(
        self, tmp_path: Path, tenant: str, name: str, word: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "bill.csv").write_bytes(wechat(WECHAT))

        assert _import(tmp_path / name, tenant=tenant) == 2
        assert word in capsys.readouterr().err

    def test_refuses_what_is_no_day(self, tmp_path: Path) -> None:
        with pytest.raises(SystemExit):
            _import(tmp_path / "bill.csv", day="yesterday")


class TestList:
    @pytest.mark.parametrize("more", [[], ["--tenant", "gxu"]])
    def test_prints_the_files(self, tmp_path: Path, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "bill.csv"
        path.write_bytes(wechat(WECHAT))
        _import(path)
        capsys.readouterr()

        assert cli.main(["statement", "list", *more]) == 0

        (file,) = json.loads(capsys.readouterr().out)
        assert (file["tenant_id"], file["method"], file["name"], file["line_count"]) == ("gxu", "wechat", "bill.csv", 3)

    def test_prints_an_empty_list(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["statement", "list"]) == 0

        assert json.loads(capsys.readouterr().out) == []
