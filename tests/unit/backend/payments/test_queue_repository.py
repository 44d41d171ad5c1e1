"""What is open is found by an index of its own: a queue that has worked for years holds few that are not done."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, event

from backend.db import Database
from backend.payments import queue_repository
from tests.unit.backend.payments.conftest import World


def _plan(conn: Connection, ask: Callable[[Connection], object]) -> str:
    """Return how the database answers a question."""
    said: list[tuple[str, Any]] = []

    def note(_conn: object, _cursor: object, statement: str, values: object, *_rest: object) -> None:
        said.append((statement, values))

    event.listen(conn, "before_cursor_execute", note)
    ask(conn)
    event.remove(conn, "before_cursor_execute", note)
    (statement, values) = said[0]
    is_sqlite = conn.dialect.name == "sqlite"
    if not is_sqlite:
        conn.exec_driver_sql("SET LOCAL enable_seqscan = off")  # an empty table is read whole in any case
    explain = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN "
    return "\n".join(str(row[-1]) for row in conn.exec_driver_sql(explain + statement, values))


class TestWithoutAnswer:
    @pytest.mark.parametrize("database", ["postgresql"], indirect=True)
    def test_does_not_walk_through_what_is_done(self, database: Database) -> None:
        with database.read() as conn:
            plan = _plan(conn, lambda conn: queue_repository.without_answer(conn, "gxu", "wechat"))
        assert "ix_payment_operations_open" in plan


class TestUnsettled:
    @pytest.mark.parametrize("database", ["postgresql"], indirect=True)
    def test_does_not_walk_through_what_is_done(self, database: Database) -> None:
        with database.read() as conn:
            plan = _plan(conn, lambda conn: queue_repository.unsettled(conn, "gxu"))
        assert "ix_payment_operations_open" in plan


class TestChange:
    @pytest.mark.parametrize("database", ["sqlite"], indirect=True)
    def test_leaves_a_final_answer_as_it_is(self, world: World) -> None:
        world.held("unionpay")
        with world.db.write() as conn:
            before = queue_repository.find(conn, "gxu", "auth_1")
            queue_repository.change(conn, "gxu", "auth_1", status="pending", answer="late")

            assert before is not None
            assert before.status == "done"
            assert queue_repository.find(conn, "gxu", "auth_1") == before
