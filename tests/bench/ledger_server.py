"""A PostgreSQL of the bench's own that forgets nothing (fsync and synchronous commit on), and pgbench beside it."""

import os
import re
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

_PORT = "5432"
_SETTINGS = ("shared_buffers=512MB", "max_wal_size=4GB", "fsync=on", "synchronous_commit=on", "listen_addresses=")
_CLIENTS, _SCALE = 32, 32


class NeedsPrograms(Exception):
    """PostgreSQL's own programs are not installed."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a measurement found: requests per second, and µs of CPU for each on both sides."""

    per_s: float
    server_us: float
    client_us: float
    mean_batch: float = 1.0

    @property
    def cpu_us(self) -> float:
        """Return the CPU of both sides together."""
        return self.server_us + self.client_us


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

    def tpcb(self, seconds: int) -> Run:
        """Return TPC-B-like transactions per second with 32 clients, and their CPU."""
        options = ["-c", str(_CLIENTS), "-j", "2", "-T", str(seconds), "-n", "-M", "prepared"]
        server_began_s, own_began_s = self.cpu_s(), _children_s()
        said = self.run("pgbench", *self._where, *options, "tpcb")
        rate = re.search(r"^tps = ([\d.]+)", said, re.MULTILINE)
        count = re.search(r"transactions actually processed: (\d+)", said)
        assert rate is not None, said
        assert count is not None, said
        served = int(count[1])
        server_s, own_s = self.cpu_s() - server_began_s, _children_s() - own_began_s
        return Run(float(rate[1]), server_s / served * 1e6, own_s / served * 1e6)

    def cpu_s(self) -> float:
        """Return the CPU seconds of all server processes so far, those that ended included."""
        postmaster = psutil.Process(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]))
        while True:
            try:
                running = sum(sum(child.cpu_times()[:2]) for child in postmaster.children())
                return float(running + sum(postmaster.cpu_times()[:4]))
            except psutil.NoSuchProcess:  # one ended meanwhile; the server has its time by now
                continue

    @property
    def _where(self) -> list[str]:
        return ["-h", str(self.folder), "-p", _PORT, "-U", "postgres"]


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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
        raise NeedsPrograms("PostgreSQL's server programs with pgbench are missing: apt-get install postgresql")
    return Path(pgbench).resolve().parent


@contextmanager
def durable_server() -> Iterator[Server]:
    """Yield a fresh server on the disk of the system's temporary files, and remove it afterwards."""
    programs = _programs()
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="campustap-bench-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if user is not None:
            shutil.chown(folder, user)
        server = Server(programs, folder, user)
        data = str(folder / "data")
        server.run("initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-locale", "-E", "UTF8")
        options = " ".join([f"-p {_PORT}", f"-k {folder}", *(f"-c {setting}" for setting in _SETTINGS)])
        start = [str(server.programs / "pg_ctl"), "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start"]
        subprocess.run(start, user=user, stdout=subprocess.DEVNULL, cwd=folder, check=True)
        try:
            yield server
        finally:
            server.run("pg_ctl", "-D", data, "-m", "immediate", "stop")
