"""`campustap books prove`: prints how far the books add up; its status says whether they do."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from backend.cli import main
from backend.config import load
from backend.db import Database, open_database
from backend.ledger.models import accounts
from backend.payments import service as payments
from backend.tenants import service as tenants
from tests.factories import NOW


@pytest.fixture
def db(migrated_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """Yield a database with a school that has a movement."""
    monkeypatch.setenv("CAMPUSTAP_DATABASE_URL", f"sqlite:///{tmp_path}/campustap.db")
    monkeypatch.setenv("CAMPUSTAP_SECRETS_DIR", str(tmp_path / "secrets"))
    shutil.copyfile(migrated_template, tmp_path / "campustap.db")
    opened = open_database(load().database_url)
    with opened.write() as conn:
        tenants.create(conn, tenants.Tenant("gxu", "广西大学", "Guangxi University"))
        payments.credit_wallet(
            conn, tenant_id="gxu", cardholder_id="ch_1", amount_minor=1_000, transfer_id="tr_1", now=NOW
        )
    yield opened
    opened.engine.dispose()


def _tamper(db: Database) -> None:
    with db.write() as conn:
        conn.execute(
            update(accounts).where(accounts.c.account_id == "cardholder_wallet/ch_1").values(credits_posted=1_007)
        )


class TestProve:
    def test_says_how_far_the_books_add_up(self, db: Database, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["books", "prove", "gxu"]) == 0

        said = json.loads(capsys.readouterr().out)
        assert (said["proof"]["proven_number"], said["proof"]["discrepancies"]) == (1, 0)
        assert (said["accounts"], said["clearing"]) == ([], [])

    @pytest.mark.parametrize("more", [[], ["--all"]])
    def test_ends_with_one_when_they_do_not(
        self, db: Database, capsys: pytest.CaptureFixture[str], more: list[str]
    ) -> None:
        _tamper(db)

        assert main(["books", "prove", "gxu", *more]) == 1

        said = json.loads(capsys.readouterr().out)
        assert [each["account_id"] for each in said["accounts"]] == ["cardholder_wallet/ch_1"]
        assert (said["proof"] is None) == bool(more)

    def test_counts_everything_and_changes_nothing(self, db: Database, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["books", "prove", "gxu", "--all"]) == 0

        assert json.loads(capsys.readouterr().out) == {"proof": None, "accounts": [], "clearing": []}

    def test_names_a_school_that_is_not_there(self, db: Database, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["books", "prove", "nowhere"]) == 2
        assert capsys.readouterr().err
