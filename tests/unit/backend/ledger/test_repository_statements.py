"""On a big ledger a batch looks its rows up by their keys; nothing walks through a tenant's accounts or history."""

import re
from pathlib import Path

import pytest
from sqlalchemy import Connection

from backend.bootstrap.tables import load_tables
from backend.db import open_database
from backend.ledger.repository_statements import LEFT, WANTED, statements

#: A search by the tenant and something else, whichever comes first in the index.
_KEYS = re.compile(r"\(tenant_id=\? AND |\((account_id|transfer_id)=\? AND tenant_id=\?")
_GIVEN = {
    "accounts": {"tenant": "t", **WANTED.given("sqlite", [("a",)])},
    "transfers": {"tenant": "t", **WANTED.given("sqlite", [("a",)])},
    "drop residues": {"tenant": "t", **LEFT.given("sqlite", [("a", "b", 1)])},
    "move one": {"tenant": "t"},
}


def _plan(conn: Connection, name: str) -> str:
    compiled = statements("sqlite")[name].compile(dialect=conn.dialect)
    values = tuple(_GIVEN[name].get(key) for key in compiled.positiontup)
    return "\n".join(row[3] for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values))


class TestStatements:
    @pytest.mark.parametrize("name", _GIVEN)
    def test_sqlite_looks_rows_up_by_their_keys(self, tmp_path: Path, name: str) -> None:
        database = open_database(f"sqlite:///{tmp_path / 'empty.db'}")
        load_tables().create_all(database.engine)

        with database.read() as conn:
            plan = _plan(conn, name)

        assert "(tenant_id=?)" not in plan
        assert "SCAN ledger" not in plan
        assert _KEYS.search(plan) is not None, plan
        database.engine.dispose()
