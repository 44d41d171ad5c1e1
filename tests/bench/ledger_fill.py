"""A ledger as it is after years: many accounts with money, and rows of history. Workers do without this module."""

from sqlalchemy import Connection, text

from backend.bootstrap.tables import load_tables
from backend.db import open_database
from backend.ledger import service
from backend.ledger.listing_repository import list_new
from backend.ledger.models import transfers

_RICH_MINOR = 10**9

_SERIES = {
    "postgresql": "generate_series(CAST(:after AS bigint) + 1, :upto) AS s(i)",
    "sqlite": (
        "(WITH RECURSIVE s(i) AS (SELECT :after + 1 UNION ALL SELECT i + 1 FROM s WHERE i < :upto)"
        " SELECT i FROM s) AS s"
    ),
}


def fill(url: str, tenant_id: str, *, accounts: int, history: int) -> None:
    """
    Make the tables where they are missing, limited accounts with money up to a count, and history up to a row.

    Indexes that readers need are built after the rows, as a restored backup would.
    """
    database = open_database(url)
    load_tables().create_all(database.engine)
    series = _SERIES[database.engine.dialect.name]
    with database.write() as conn:
        service.open_chart(conn, tenant_id)
        for index in transfers.indexes:
            index.drop(conn)
        _fill_accounts(conn, series, tenant_id, accounts)
        _fill_history(conn, series, tenant_id, accounts, history)
        for index in transfers.indexes:
            index.create(conn)
        _fill_lines(conn, tenant_id, history)
    if not database.is_sqlite:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(text("VACUUM ANALYZE ledger_accounts, ledger_transfers, ledger_lines"))
            conn.execute(text("CHECKPOINT"))
    database.engine.dispose()


def _fill_accounts(conn: Connection, series: str, tenant_id: str, count: int) -> None:
    query = "SELECT count(*) FROM ledger_accounts WHERE tenant_id = :tenant AND kind = 'cardholder_wallet'"
    there = conn.execute(text(query), {"tenant": tenant_id}).scalar_one()
    if there < count:
        conn.execute(
            text(
                "INSERT INTO ledger_accounts (tenant_id, account_id, kind, owner_id, normal_side, may_go_negative,"
                " credit_limit_minor, debits_pending, debits_posted, credits_pending, credits_posted, version)"
                " SELECT CAST(:tenant AS text), 'cardholder_wallet/c' || i, 'cardholder_wallet', 'c' || i, 'credit',"
                f" false, 0, 0, 0, 0, :rich, 1 FROM {series}"
            ),
            {"tenant": tenant_id, "rich": _RICH_MINOR, "after": there, "upto": count},
        )


def _fill_history(conn: Connection, series: str, tenant_id: str, accounts: int, count: int) -> None:
    query = "SELECT last_number FROM ledger_books WHERE tenant_id = :tenant"
    last = conn.execute(text(query), {"tenant": tenant_id}).scalar_one()
    if last < count:
        conn.execute(
            text(
                "INSERT INTO ledger_transfers (tenant_id, transfer_id, number, kind, debit_account_id,"
                " credit_account_id, amount_minor, event_at, recorded_at, reference, memo)"
                " SELECT CAST(:tenant AS text), 'old_' || i, i, 'single',"
                " 'cardholder_wallet/c' || (1 + (CAST(i AS bigint) * 7919) % :accounts), 'water_revenue', 1,"
                " 1700000000000 + i, 1700000000000 + i, 'ws_old_' || i, ''"
                f" FROM {series}"
            ),
            {"tenant": tenant_id, "accounts": accounts, "after": last, "upto": count},
        )
    number = "UPDATE ledger_books SET last_number = :last, stamp = '' WHERE tenant_id = :tenant"
    conn.execute(text(number), {"tenant": tenant_id, "last": max(last, count)})


def _fill_lines(conn: Connection, tenant_id: str, count: int) -> None:
    while list_new(conn, tenant_id, max(count, 1)):
        pass
