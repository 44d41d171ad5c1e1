"""What is read past the server, from either database."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from backend.db import Database
from backend.fleet.models import places
from backend.ledger.models import accounts, transfers
from firmware_sim.audit.rows import CannotRead, Rows, scripts_left

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SUMS = {"debits_pending": 0, "debits_posted": 0, "credits_pending": 0, "credits_posted": 0}


def fill(database: Database) -> None:
    with database.write() as conn:
        conn.execute(
            insert(accounts),
            [{"tenant_id": "gxu", "account_id": name, "kind": name, "owner_id": "", "normal_side": "credit",
              "may_go_negative": True, "credit_limit_minor": 0, "version": 1, **SUMS} for name in ("a", "b")],
        )  # fmt: skip
        conn.execute(
            insert(transfers),
            [{"tenant_id": "gxu", "transfer_id": f"tr_{number}", "number": number, "kind": "single",
              "debit_account_id": "a", "credit_account_id": "b", "amount_minor": 5, "event_at": NOW,
              "recorded_at": NOW, "reference": "", "memo": ""} for number in (1, 2, 3)],
        )  # fmt: skip
        conn.execute(
            insert(places),
            [{"tenant_id": tenant, "place_id": f"pl_{tenant}", "parent_id": None, "kind": "campus", "name": name,
              "name_en": ""} for tenant, name in (("gxu", "near dev_next"), ("nhu", "far"))],
        )  # fmt: skip


def rows(database: Database) -> Rows:
    return Rows(database.engine.url.render_as_string(hide_password=False))


class TestPage:
    def test_gives_new_transfers_and_what_they_move(self, database: Database) -> None:
        fill(database)

        page = rows(database).page({"gxu": 1, "nhu": 0})

        assert [row["transfer_id"] for row in page.transfers["gxu"]] == ["tr_2", "tr_3"]
        assert sorted(page.accounts["gxu"]) == ["a", "b"]
        assert page.transfers["nhu"] == page.sessions == page.cursors == []

    def test_says_that_nothing_answers(self) -> None:
        with pytest.raises(CannotRead):
            Rows("sqlite:////nowhere/campustap.db").page({"gxu": 0})


class TestStrays:
    def test_finds_a_word_of_another_school(self, database: Database) -> None:
        fill(database)
        marks = {"gxu": frozenset({"dev_1"}), "nhu": frozenset({"dev_next"})}

        assert rows(database).strays(marks) == ["tenants_apart: a row of fleet_places of gxu holds dev_next"]


class TestScriptsLeft:
    def test_counts_what_no_request_has_met(self, tmp_path: Path) -> None:
        with sqlite3.connect(tmp_path / "provider.db") as db:
            db.execute("CREATE TABLE scripts (number INTEGER PRIMARY KEY, verb TEXT, script TEXT)")
            rows = [("capture", '{"behaviour": "duplicate"}')] * 2 + [("", '{"behaviour": "notify_none"}')]
            db.executemany("INSERT INTO scripts (verb, script) VALUES (?, ?)", rows)

        assert scripts_left(tmp_path / "provider.db") == {("capture", "duplicate"): 2, ("", "notify_none"): 1}

    def test_says_that_the_books_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(CannotRead):
            scripts_left(tmp_path / "nowhere.db")
