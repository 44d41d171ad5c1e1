"""Migrations lead to the tables the code declares."""

from pathlib import Path

import pytest
from sqlalchemy import make_url

from backend.db import open_database
from backend.migrations import runner


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the address of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    url = make_url(request.getfixturevalue("postgres_database_url"))
    database = open_database(url.render_as_string(hide_password=False))
    with database.write() as conn:
        conn.exec_driver_sql("DROP SCHEMA public CASCADE")
        conn.exec_driver_sql("CREATE SCHEMA public")
    database.engine.dispose()
    return url.render_as_string(hide_password=False)


class TestUpgrade:
    def test_leads_to_the_declared_tables_and_may_be_repeated(self, empty_url: str) -> None:
        database = open_database(empty_url)
        before = runner.is_current(database.engine)

        runner.upgrade(empty_url)
        runner.upgrade(empty_url)

        assert not before
        assert runner.is_current(database.engine)
        assert runner.differences(database.engine) == []
        database.engine.dispose()
