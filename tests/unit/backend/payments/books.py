"""What must hold in the books after everything that can happen to a payment."""

from collections.abc import Iterable
from datetime import date
from zoneinfo import ZoneInfo

from backend.db import Database
from backend.ledger import service as ledger
from backend.statements import repository as statements
from backend.statements.types import Row, StatementFile
from tests.factories import NOW
from tests.fakes.provider import FakeProvider
from tests.unit.backend.statements.writing import UNIONPAY_MERCHANT

ZONE = ZoneInfo("Asia/Shanghai")


def balance(db: Database, account_id: str) -> int:
    """Return an account's posted balance; one never opened has nothing."""
    with db.read() as conn:
        try:
            return ledger.balances(conn, "gxu", account_id).posted_minor
        except ledger.AccountUnknown:
            return 0


def assert_settled(db: Database) -> None:
    """Assert that debits equal credits, nothing is left in clearing or pending, and the sums can be counted again."""
    with db.read() as conn:
        sums = ledger.sums(conn, "gxu")
        assert sums.balanced
        assert sums.debits_pending == 0
        assert ledger.open_clearing(conn, "gxu") == []
        assert ledger.verify(conn, "gxu") == []


def import_days(
    db: Database, provider: FakeProvider, days: Iterable[date], tenant_id: str = "gxu", status: str = "ok"
) -> None:
    """Store what the provider's daily files of these days say."""
    for day in days:
        rows = [row for row in provider.rows if row.tenant_id == tenant_id and row.at.astimezone(ZONE).date() == day]
        lines = [
            Row(number, row.kind, row.order_no, row.operation_no, "ref", row.amount_minor, 0, row.at, status)  # type: ignore[arg-type]
            for number, row in enumerate(rows, 1)
        ]
        file = StatementFile(
            tenant_id, provider.method, day, f"{day}", f"{day}.zip", "fake", UNIONPAY_MERCHANT, 1, len(rows), NOW
        )
        with db.write() as conn:
            statements.add_file(conn, file)
            if lines:
                statements.add_lines(conn, tenant_id, provider.method, day, lines)
