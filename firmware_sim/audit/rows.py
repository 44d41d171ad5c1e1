"""
What the server has stored, read past the server: tables by their names, one consistent snapshot a look.

Only reads. The simulator's own eyes on the database know nothing of the server's code, so a mistake in what the server
says about its rows has a second chance to show.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg.rows import dict_row

Row = Mapping[str, Any]

_TRANSFERS = (
    "SELECT number, transfer_id, kind, debit_account_id, credit_account_id, amount_minor, pending_id"
    " FROM ledger_transfers WHERE tenant_id = ? AND number > ? ORDER BY number"
)
_ACCOUNTS = (
    "SELECT account_id, normal_side, may_go_negative, credit_limit_minor, debits_pending, debits_posted,"
    " credits_pending, credits_posted FROM ledger_accounts WHERE tenant_id = ?"
)
_SESSIONS = (
    "SELECT tenant_id, water_session_id, device_id, gateway_id, state, method, auth_id, hold_minor, captured_minor,"
    " overrun_minor, charge_minor, opening_pulses, closing_pulses, evidence FROM water_sessions"
)
_CURSORS = "SELECT tenant_id, gateway_id, epoch, acked_through FROM inbox_cursors"
_AUTHORIZATIONS = (
    "SELECT tenant_id, auth_id, water_session_id, method, amount_minor, captured_minor, state"
    " FROM payment_authorizations"
)
_OPERATIONS = "SELECT tenant_id, number, order_id, kind FROM payment_operations"
_SQLITE_TABLES = "SELECT name AS table_name FROM sqlite_master WHERE type = 'table'"
_POSTGRES_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"


class CannotRead(Exception):
    """The database does not answer at the moment; the message says why."""


@dataclass(slots=True)
class Page:
    """One snapshot. Transfers are the new ones; everything else is as it is."""

    transfers: dict[str, list[Row]] = field(default_factory=dict)
    accounts: dict[str, dict[str, Row]] = field(default_factory=dict)
    sessions: list[Row] = field(default_factory=list)
    cursors: list[Row] = field(default_factory=list)
    authorizations: list[Row] = field(default_factory=list)
    operations: list[Row] = field(default_factory=list)


class _Answers(Protocol):
    def fetchall(self) -> list[Any]:
        """Return all rows."""


class _Connection(Protocol):
    def execute(self, sql: str, given: Sequence[Any] = (), /) -> _Answers:
        """Run a statement."""


class Rows:
    """Reads one database, SQLite or PostgreSQL, by the address the server has it under."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.is_sqlite = url.startswith("sqlite")

    @contextmanager
    def _snapshot(self) -> Iterator[_Connection]:
        try:
            if self.is_sqlite:
                path = self._url.removeprefix("sqlite:///")
                lite = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5, isolation_level=None)
                lite.row_factory = sqlite3.Row
                try:
                    lite.execute("BEGIN")
                    yield lite
                finally:
                    lite.close()
                return
            address = self._url.replace("postgresql+psycopg://", "postgresql://", 1)
            with psycopg.connect(address, connect_timeout=5, row_factory=dict_row) as big:
                big.read_only = True
                big.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                yield _Postgres(big)
        except (sqlite3.Error, psycopg.Error) as error:
            raise CannotRead(str(error)) from error

    def page(self, after: Mapping[str, int]) -> Page:
        """
        Return what has been stored: of transfers those after a number, by tenant.

        :raises CannotRead: when the database does not answer.
        """
        page = Page()
        with self._snapshot() as db:
            for tenant, number in after.items():
                page.transfers[tenant] = _all(db, _TRANSFERS, (tenant, number))
                page.accounts[tenant] = {row["account_id"]: row for row in _all(db, _ACCOUNTS, (tenant,))}
            page.sessions = _all(db, _SESSIONS)
            page.cursors = _all(db, _CURSORS)
            page.authorizations = _all(db, _AUTHORIZATIONS)
            page.operations = _all(db, _OPERATIONS)
        return page

    def strays(self, marks: Mapping[str, frozenset[str]]) -> list[str]:
        """
        Return every row of a school in which a word stands that is only another's.

        :raises CannotRead: when the database does not answer.
        """
        found = []
        with self._snapshot() as db:
            tables = [row["table_name"] for row in _all(db, _SQLITE_TABLES if self.is_sqlite else _POSTGRES_TABLES)]
            for table in sorted(tables):
                columns = _all(db, f'SELECT * FROM "{table}" LIMIT 1')
                if not columns or "tenant_id" not in columns[0]:
                    continue
                for tenant in sorted(marks):
                    others = {mark for other, words in marks.items() if other != tenant for mark in words}
                    for row in _all(db, f'SELECT * FROM "{table}" WHERE tenant_id = ?', (tenant,)):
                        text = "\n".join(value for value in row.values() if isinstance(value, str))
                        found += [
                            f"tenants_apart: a row of {table} of {tenant} holds {mark}"
                            for mark in sorted(others)
                            if mark in text
                        ]
        return found


def scripts_left(path: Path) -> Counter[tuple[str, str]]:
    """
    Return how many scripts a sandbox provider still keeps for requests to come, by verb and behavior.

    :raises CannotRead: when its books cannot be read.
    """
    try:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        try:
            rows = db.execute("SELECT verb, script FROM scripts").fetchall()
        finally:
            db.close()
    except sqlite3.Error as error:
        raise CannotRead(str(error)) from error
    return Counter((verb, str(json.loads(script)["behaviour"])) for verb, script in rows)


class _Postgres:
    """Says `%s` where the statements say `?`."""

    def __init__(self, connection: "psycopg.Connection[dict[str, Any]]") -> None:
        self._connection = connection

    def execute(self, sql: str, given: Sequence[Any] = (), /) -> _Answers:
        """Run a statement."""
        return self._connection.execute(sql.replace("?", "%s").encode(), given)


def _all(db: _Connection, sql: str, given: Sequence[Any] = ()) -> list[Row]:
    return [dict(row) for row in db.execute(sql, given).fetchall()]
