"""
Transactions sent to PostgreSQL one after another without waiting for the answers of those before.

Each travels whole: its commands and its commit are one message, so the server never waits for us in the middle of it
with the locks it holds. It works on libpq itself, because SQLAlchemy has no words for this.
"""

import select
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Error, pq
from sqlalchemy import Engine, Executable
from sqlalchemy.dialects.postgresql import psycopg as dialects

#: A value as PostgreSQL writes it; nothing is NULL.
Value = str | int | None
Row = tuple[str | None, ...]


class NotSent(Exception):
    """The connection is gone; what was underway may have been done or not."""


class NotDone(Exception):
    """A transaction failed as a whole and left nothing."""


class _Prepared:
    """A statement, and the names of its parameters in their order."""

    __slots__ = ("_fixed", "_names", "name", "text")

    def __init__(self, name: str, statement: Executable) -> None:
        dialect = dialects.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
        compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        self.name = f"sent {name}".encode()
        self.text = str(compiled).encode()
        self._names: Sequence[str] = compiled.positiontup or ()
        self._fixed = compiled.params

    def values(self, given: Mapping[str, Value]) -> list[bytes | None]:
        """Return parameters in the statement's order, as they are sent."""
        return [_bytes(given.get(name, self._fixed[name])) for name in self._names]


class Sender:
    """A connection of its own on which transactions wait for each other, and nobody for them. For one thread."""

    def __init__(self, engine: Engine, statements: Mapping[str, Executable]) -> None:
        """
        Connect; the transactions will be made of these statements.

        :raises sqlalchemy.exc.DBAPIError: if the database cannot be reached.
        :raises NotSent: if the connection is gone at once.
        :raises NotDone: if PostgreSQL does not understand a statement.
        """
        self._statements = {name: _Prepared(name, statement) for name, statement in statements.items()}
        pooled = engine.raw_connection()
        self._conn: Any = pooled.driver_connection
        assert self._conn is not None, "a connection in use has its driver's"
        pooled.detach()  # in this state it is of no use to anybody else
        self._pg: pq.abc.PGconn = self._conn.pgconn
        try:
            self._pg.enter_pipeline_mode()
            for one in self._statements.values():
                self._pg.send_prepare(one.name, one.text)
            self._flush()
            self.receive()
        except BaseException:
            self.close()
            raise

    def send(self, commands: Sequence[tuple[str, Mapping[str, Value]]]) -> None:
        """
        Send a transaction of some of the statements with their parameters; each sees what those before it did.

        :raises NotSent: if the connection is gone.
        :raises ValueError: if a value cannot be sent; then nothing is.
        """
        ready = [(self._statements[name], self._statements[name].values(given)) for name, given in commands]
        try:
            for statement, values in ready:
                self._pg.send_query_prepared(statement.name, values)
            self._flush()
        except Error as error:
            raise NotSent from error

    def receive(self) -> list[list[Row]]:
        """
        Wait for the oldest transaction whose answer was not received yet, and return what each of its queries found.

        :raises NotDone: if it failed.
        :raises NotSent: if the connection is gone.
        """
        found: list[list[Row]] = []
        failed: str | None = None
        try:
            while (result := self._result()) is None or result.status != pq.ExecStatus.PIPELINE_SYNC:
                if result is None:
                    continue
                if result.status == pq.ExecStatus.TUPLES_OK:
                    columns = range(result.nfields)
                    found.append(
                        [tuple(_text(result, row, column) for column in columns) for row in range(result.ntuples)]
                    )
                elif result.status == pq.ExecStatus.FATAL_ERROR:
                    failed = failed or result.get_error_message()
        except Error as error:
            raise NotSent from error
        if failed is not None:
            raise NotDone(failed)
        return found

    def _flush(self) -> None:
        """End a transaction, and wait until the server has all of it."""
        self._pg.pipeline_sync()
        while self._pg.flush():
            if self._wait(select.POLLIN | select.POLLOUT) & select.POLLIN:
                self._pg.consume_input()

    def _result(self) -> pq.abc.PGresult | None:
        while self._pg.is_busy():
            self._wait(select.POLLIN)
            self._pg.consume_input()
        if self._pg.status == pq.ConnStatus.BAD:
            raise NotSent
        return self._pg.get_result()

    def _wait(self, for_what: int) -> int:
        """Wait until the socket is ready; nobody else in the process waits meanwhile."""
        poll = select.poll()
        poll.register(self._pg.socket, for_what)
        return poll.poll()[0][1]

    def close(self) -> None:
        """Close the connection; what is underway may be done or not."""
        self._conn.close()


def _bytes(value: Value) -> bytes | None:
    if value is None:
        return None
    encoded = str(value).encode()
    if b"\0" in encoded:
        raise ValueError("PostgreSQL's text has no NUL")
    return encoded


def _text(result: pq.abc.PGresult, row: int, column: int) -> str | None:
    value = result.get_value(row, column)
    return None if value is None else value.decode()
