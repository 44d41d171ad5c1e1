"""The SQL of credit limits: the one in force stands in the account, all that ever were stand beside it."""

from datetime import datetime

from sqlalchemy import Connection, insert, update

from backend.ledger.models import accounts, credit_limits


def set_limit(
    conn: Connection,
    tenant_id: str,
    account_id: str,
    version: int,
    limit_minor: int,
    set_by: str,
    reason: str,
    now: datetime,
) -> None:
    """Put a limit in force as the account's next version, and keep who set it."""
    conn.execute(
        update(accounts)
        .where(accounts.c.tenant_id == tenant_id, accounts.c.account_id == account_id)
        .values(credit_limit_minor=limit_minor, version=version)
    )
    conn.execute(
        insert(credit_limits).values(
            tenant_id=tenant_id,
            account_id=account_id,
            version=version,
            credit_limit_minor=limit_minor,
            set_by=set_by,
            reason=reason,
            set_at=now,
        )
    )
