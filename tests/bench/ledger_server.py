"""A PostgreSQL of the bench's own that forgets nothing (fsync and synchronous commit on), and pgbench beside it."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PORT = "5432"
_SETTINGS = ("shared_buffers=512MB", "max_wal_size=4GB", "fsync=on", "synchronous_commit=on", "listen_addresses=")
_CLIENTS, _SCALE = 32, 50


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where its programs are, where its socket is, and who it runs as."""

    programs: Path
    folder: Path
    user: str | None

    def run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs against the server and return what it says."""
        command = [str(self.programs / program), *arguments]
        return _run(command, self.user, self.folder)

    def url(self, database: str) -> str:
        """Return a database's address for the backend."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}&port={_PORT}"

    def create(self, database: str) -> str:
        """Create an empty database and return its address."""
        self.run("createdb", *self._where, database)
        return self.url(database)

    def prepare_tpcb(self) -> None:
        """Fill the tables of pgbench."""
        self.create("tpcb")
        self.run("pgbench", *self._where, "-i", "-q", "-s", str(_SCALE), "tpcb")

    def tpcb_per_s(self, seconds: int) -> float:
        """Return TPC-B-like transactions per second with 32 clients."""
        said = self.run(
            "pgbench", *self._where, "-c", str(_CLIENTS), "-j", "2", "-T", str(seconds), "-n", "-M", "prepared", "tpcb"
        )
        found = re.search(r"^tps = ([\d.]+)", said, re.MULTILINE)
        assert found is not None, said
        return float(found[1])

    @property
    def _where(self) -> list[str]:
        return ["-h", str(self.folder), "-p", _PORT, "-U", "postgres"]


def _run(command: list[str], user: str | None, folder: Path) -> str:
    done = subprocess.run(command, user=user, capture_output=True, text=True, cwd=folder, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: {done.stderr}")
    return done.stdout


def _programs() -> Path:
    """Return the folder of the newest PostgreSQL that has pgbench."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench"), key=lambda each: int(each.parents[1].name))
    if found:
        return found[-1].parent
    pgbench = shutil.which("pgbench")
    if pgbench is None:
        raise RuntimeError("this bench needs PostgreSQL's server programs with pgbench: apt-get install postgresql")
    return Path(pgbench).resolve().parent


@contextmanager
def durable_server() -> Iterator[Server]:
    """Yield a fresh server on the disk of the system's temporary files, and remove it afterwards."""
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="campustap-bench-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if user is not None:
            shutil.chown(folder, user)
        server = Server(_programs(), folder, user)
        data = str(folder / "data")
        server.run("initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-locale", "-E", "UTF8")
        options = " ".join([f"-p {_PORT}", f"-k {folder}", *(f"-c {setting}" for setting in _SETTINGS)])
        start = [str(server.programs / "pg_ctl"), "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start"]
        subprocess.run(start, user=user, stdout=subprocess.DEVNULL, cwd=folder, check=True)
        try:
            yield server
        finally:
            server.run("pg_ctl", "-D", data, "-m", "immediate", "stop")
