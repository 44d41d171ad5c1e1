"""Databases that stand from test to test and are emptied in between, and the PostgreSQL server of the tests."""

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url

from backend.db import open_database

_numbers = itertools.count()
_HANGING_UP_MS = 60_000
_RELATIONS = """
    SELECT relname, relkind, relkind = 'r' AND pg_relation_size(oid) > 0
    FROM pg_class WHERE relnamespace = 'public'::regnamespace
"""
_HANG_UP = """
    SELECT pg_terminate_backend(pid, %(ms)s)
    FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


class PostgresServer:
    """A server and the one connection over which databases are made and dropped."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine: Engine = create_engine(url, isolation_level="AUTOCOMMIT")
        self._conn = self._engine.connect()

    def say(self, statement: str) -> None:
        """Run one statement, outside any transaction."""
        self._conn.exec_driver_sql(statement)

    def address_of(self, name: str) -> str:
        """Return the address of one of its databases."""
        return make_url(self.url).set(database=name).render_as_string(hide_password=False)

    def make(self, template: str = "template0") -> str:
        """Return the name of a new database that is copied from a template."""
        name = f"campustap_{os.getpid()}_{next(_numbers)}"
        self.say(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is connected."""
        self.say(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def fresh(self, template: str = "template0") -> Iterator[str]:
        """Yield the address of a database that is copied from a template and dropped afterwards."""
        name = self.make(template)
        try:
            yield self.address_of(name)
        finally:
            self.drop(name)

    def close(self) -> None:
        """Hang up."""
        self._conn.close()
        self._engine.dispose()


class StandingDatabase:
    """
    A database with all tables and no rows, which stands from test to test: making one takes six times as long.

    Whoever is still connected after a test is cut off. Where a test made or dropped anything but rows, the next one
    gets a new copy.
    """

    def __init__(self, server: PostgresServer, template: str) -> None:
        self._server, self._template = server, template
        self._open()

    def _open(self) -> None:
        self._name = self._server.make(self._template)
        url = self._server.address_of(self._name)
        #: what tests use
        self.engine = open_database(url).engine
        self._own = create_engine(url, isolation_level="AUTOCOMMIT")
        self._conn = self._own.connect()
        self._made = {(name, kind) for name, kind, _ in self._relations()}

    def _relations(self) -> list[tuple[str, str, bool]]:
        return [(name, kind, used) for name, kind, used in self._conn.exec_driver_sql(_RELATIONS)]

    def wash(self) -> None:
        """Cut everybody off and empty every table."""
        self.engine.dispose()
        self._conn.exec_driver_sql(_HANG_UP, {"ms": _HANGING_UP_MS})
        found = self._relations()
        if {(name, kind) for name, kind, _ in found} != self._made:
            self.close()
            self._open()
            return
        used = [f'"{name}"' for name, _, is_used in found if is_used]
        if used:
            self._conn.exec_driver_sql(f"TRUNCATE {', '.join(sorted(used))}")

    def close(self) -> None:
        """Drop it."""
        self.engine.dispose()
        self._conn.close()
        self._own.dispose()
        self._server.drop(self._name)


class StandingFile:
    """A SQLite file with all tables and no rows, which is laid anew after each test under the same name."""

    def __init__(self, file: Path, template: Path) -> None:
        self._file, self._template = file, template
        #: what tests use
        self.engine = open_database(f"sqlite:///{file}").engine
        event.listen(self.engine, "connect", _never_sync)
        self._lay()

    def _lay(self) -> None:
        for left in self._file.parent.glob(f"{self._file.name}*"):
            left.unlink()
        shutil.copyfile(self._template, self._file)

    def wash(self) -> None:
        """Hang up and lay the file anew."""
        self.engine.dispose()
        self._lay()

    def close(self) -> None:
        """Hang up."""
        self.engine.dispose()


def _never_sync(dbapi_connection: Any, _record: Any) -> None:
    dbapi_connection.execute("PRAGMA synchronous=OFF")
