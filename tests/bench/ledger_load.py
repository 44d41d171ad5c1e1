"""What the ledger is measured with: a filled ledger, and an endless row of holds and captures."""

import random
from collections import deque
from datetime import timedelta

from sqlalchemy import Connection, event, text

from backend.bootstrap.tables import load_tables
from backend.db import Database, open_database
from backend.kit.clock import utc_now
from backend.ledger import service
from backend.ledger.models import transfers
from backend.ledger.rules import TransferKind, TransferRequest

MERCHANTS = 50
_RICH_MINOR = 10**9
_TOO_MUCH_MINOR = 10**10
#: Of all holds, one in this many asks for more than there is.
REFUSED_ONE_IN = 50

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
    if not database.is_sqlite:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(text("VACUUM ANALYZE ledger_accounts, ledger_transfers"))
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


class Traffic:
    """Holds from random wallets, half of them for one merchant, and captures of the holds that stand, in turn."""

    def __init__(self, *, account_count: int, seed: int) -> None:
        self._chance = random.Random(seed)
        self._account_count = account_count
        self._name = f"{utc_now():%Y%m%d%H%M%S}{seed}"
        self._count = 0
        self._began_at = utc_now()
        self.standing: deque[str] = deque()

    def hold(self) -> TransferRequest:
        """Return the next hold."""
        self._count += 1
        chance = self._chance
        merchant = 0 if chance.random() < 0.5 else chance.randrange(MERCHANTS)
        refused = self._count % REFUSED_ONE_IN == 0
        return TransferRequest(
            transfer_id=f"{self._name}-{self._count:09d}.hold",
            kind=TransferKind.PENDING,
            debit_account_id=f"cardholder_wallet/c{chance.randrange(1, self._account_count + 1)}",
            credit_account_id=f"operator_payable/m{merchant}",
            amount_minor=_TOO_MUCH_MINOR if refused else 500,
            expires_at=self._began_at + timedelta(hours=2),
            event_at=self._began_at,
            reference=f"ws_{self._name}{self._count:09d}",
        )

    def capture(self) -> TransferRequest:
        """Return the capture of the oldest hold that stands."""
        hold_id = self.standing.popleft()
        return TransferRequest(
            transfer_id=hold_id.replace(".hold", ".post"),
            kind=TransferKind.POST,
            pending_id=hold_id,
            amount_minor=120,
            event_at=self._began_at,
        )

    def batch(self, size: int) -> list[TransferRequest]:
        """Return the next requests: captures of what stands for one half, new holds for the rest."""
        captures = [self.capture() for _ in range(min(size // 2, len(self.standing)))]
        return captures + [self.hold() for _ in range(size - len(captures))]

    def heard(self, request: TransferRequest, stands: bool) -> None:
        """Take in what became of a request."""
        if stands and request.kind is TransferKind.PENDING:
            self.standing.append(request.transfer_id)


def opened(url: str, synchronous: str) -> Database:
    """Return the database with a pool as small as one writer needs."""
    database = open_database(url, pool_size=2)
    if database.is_sqlite:
        event.listen(
            database.engine, "connect", lambda raw, _record: raw.execute(f"PRAGMA synchronous={synchronous}").close()
        )
    return database
