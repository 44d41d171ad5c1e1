"""`campustap statement …`, as operators type it: one brings a file, another imports it."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backend import cli
from backend.cardholders import service as cardholders
from backend.db import open_database
from backend.tenants import service as tenants
from tests.unit.backend.statements.samples import PACKED, WECHAT
from tests.unit.backend.statements.writing import WECHAT_MERCHANT, wechat

PEOPLE = (("fin", {"finance"}), ("boss", {"approver"}), ("desk", {"gate_desk"}))


@pytest.fixture(autouse=True)
def _school(
    migrated_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'one.db'}"
    monkeypatch.setenv("CAMPUSTAP_DATABASE_URL", url)
    monkeypatch.setenv("CAMPUSTAP_SECRETS_DIR", str(tmp_path / "secrets"))
    shutil.copyfile(migrated_template, tmp_path / "one.db")
    db = open_database(url)
    with db.write() as conn:
        for tenant_id in ("gxu", "other"):
            tenants.create(conn, tenants.Tenant(tenant_id, "桂湖大学", "Guihu University"))
            for login, roles in PEOPLE:
                person = cardholders.Cardholder(
                    tenant_id, f"ch_{login}", login, login, login, "staff", "active", frozenset(roles)
                )
                cardholders.add_cardholder(conn, person, "a long password", datetime(2026, 11, 1, tzinfo=UTC))
    db.engine.dispose()
    capsys.readouterr()


def _bring(path: Path, *more: str, tenant: str = "gxu", day: str = "2026-11-21", by: str = "fin") -> int:
    return cli.main(["statement", "import", "wechat", str(path), "--tenant", tenant, "--day", day, "--by", by, *more])


def _decide(how: str, proposal_id: str, *, by: str = "boss", tenant: str = "gxu") -> int:
    return cli.main(["statement", how, proposal_id, "--tenant", tenant, "--by", by])


def _said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def _listed(capsys: pytest.CaptureFixture[str], what: str, *more: str) -> Any:
    capsys.readouterr()
    assert cli.main(["statement", what, *more]) == 0
    return _said(capsys)


@pytest.fixture
def bill(tmp_path: Path) -> Path:
    """Return a packed bill on the disk."""
    path = tmp_path / "bill.csv.gz"
    path.write_bytes(PACKED["wechat"](WECHAT))
    return path


@pytest.fixture
def proposal_id(bill: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the id of a file that waits."""
    assert _bring(bill) == 0
    return str(_said(capsys)["proposal_id"])


class TestImport:
    def test_waits_for_a_second_person_and_may_be_repeated(
        self, bill: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert _bring(bill, "--merchant", WECHAT_MERCHANT) == 0
        first = _said(capsys)
        assert _bring(bill) == 0

        assert _said(capsys)["proposal_id"] == first["proposal_id"]
        assert (first["state"], first["line_count"], first["day"]) == ("waiting", 3, "2026-11-21")
        assert (first["brought_by"], first["merchant_no"]) == ("ch_fin", WECHAT_MERCHANT)
        assert _listed(capsys, "list") == []

    def test_says_where_a_file_is_wrong(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "bill.csv"
        path.write_bytes(wechat(WECHAT).replace(b"`3,`3.50", b"`3,`3.49"))

        assert _bring(path) == 2

        said = capsys.readouterr().err
        assert "bill.csv, line 6, 应结订单总金额: it says 349, the rows add up to 350" in said
        assert _listed(capsys, "waiting") == []

    def test_refuses_another_merchant_s_file(self, bill: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert _bring(bill, "--merchant", "1900000110") == 2

        assert f"merchant {WECHAT_MERCHANT} is not 1900000110" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("tenant", "name", "by", "word"),
        [
            ("gxu", "nowhere.csv", "fin", "nowhere.csv"),
            ("nobody", "bill.csv.gz", "fin", "nobody"),
            ("gxu", "bill.csv.gz", "nobody", "nobody"),
            ("gxu", "bill.csv.gz", "desk", "needs a role"),
            ("gxu", "bill.csv.gz", "boss", "needs a role"),
        ],
    )
    def test_names_what_is_missing(
        self, bill: Path, tenant: str, name: str, by: str, word: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert _bring(bill.with_name(name), tenant=tenant, by=by) == 2
        assert word in capsys.readouterr().err
        assert _listed(capsys, "waiting") == []

    def test_refuses_what_is_no_day(self, bill: Path) -> None:
        with pytest.raises(SystemExit):
            _bring(bill, day="yesterday")

    def test_wants_a_name(self, bill: Path) -> None:
        with pytest.raises(SystemExit):
            cli.main(["statement", "import", "wechat", str(bill), "--tenant", "gxu", "--day", "2026-11-21"])


class TestApprove:
    def test_prints_what_was_stored(self, bill: Path, proposal_id: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert _decide("approve", proposal_id) == 0
        file = _said(capsys)
        assert _bring(bill) == 0
        again = _said(capsys)

        assert (file["state"], file["line_count"], file["is_new"]) == ("imported", 3, True)
        assert [kind["amount_minor"] for kind in file["kinds"]] == [350, -250]
        assert again == file | {"is_new": False}
        assert _listed(capsys, "waiting") == []

    @pytest.mark.parametrize(
        ("by", "tenant", "word"),
        [
            ("fin", "gxu", "does not decide about it"),
            ("desk", "gxu", "needs a role"),
            ("boss", "other", "There is no such file"),
            ("nobody", "gxu", "nobody"),
        ],
    )
    def test_is_for_a_second_person_who_may(
        self, proposal_id: str, by: str, tenant: str, word: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert _decide("approve", proposal_id, by=by, tenant=tenant) == 2

        assert word in capsys.readouterr().err
        assert _listed(capsys, "list") == []
        assert [each["proposal_id"] for each in _listed(capsys, "waiting")] == [proposal_id]

    def test_decides_once(self, proposal_id: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert _decide("approve", proposal_id) == 0
        assert [_decide(how, proposal_id) for how in ("approve", "reject")] == [2, 2]

        assert capsys.readouterr().err.count("Somebody has decided") == 2


class TestReject:
    @pytest.mark.parametrize("by", ["fin", "boss"])
    def test_leaves_nothing_of_it(self, proposal_id: str, by: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert _decide("reject", proposal_id, by=by) == 0

        assert (_said(capsys)["state"], _listed(capsys, "waiting"), _listed(capsys, "list")) == ("rejected", [], [])


class TestWaiting:
    @pytest.mark.parametrize("more", [[], ["--tenant", "gxu"]])
    def test_prints_what_waits(self, proposal_id: str, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        (file,) = _listed(capsys, "waiting", *more)

        assert (file["proposal_id"], file["name"], file["brought_by"]) == (proposal_id, "bill.csv.gz", "ch_fin")
        assert _listed(capsys, "waiting", "--tenant", "other") == []


class TestList:
    @pytest.mark.parametrize("more", [[], ["--tenant", "gxu"]])
    def test_prints_the_files(self, proposal_id: str, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        _decide("approve", proposal_id)

        (file,) = _listed(capsys, "list", *more)

        assert (file["tenant_id"], file["method"], file["name"]) == ("gxu", "wechat", "bill.csv.gz")
        assert (file["line_count"], "is_new" in file) == (3, False)

    def test_prints_an_empty_list(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert _listed(capsys, "list") == []
