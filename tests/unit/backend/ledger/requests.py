"""Short ways to write ledger requests in tests."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from backend.ledger import service
from backend.ledger.rules import Code, TransferKind, TransferRequest
from tests.factories import NOW


def single(transfer_id: str, debit: str, credit: str, amount_minor: int, **more: Any) -> TransferRequest:
    """Return a request to move money at once."""
    return TransferRequest(
        transfer_id=transfer_id,
        kind=TransferKind.SINGLE,
        debit_account_id=debit,
        credit_account_id=credit,
        amount_minor=amount_minor,
        event_at=NOW,
        **more,
    )


def pending(
    transfer_id: str, debit: str, credit: str, amount_minor: int, expires_at: datetime | None = None, **more: Any
) -> TransferRequest:
    """Return a request to hold money."""
    return TransferRequest(
        transfer_id=transfer_id,
        kind=TransferKind.PENDING,
        debit_account_id=debit,
        credit_account_id=credit,
        amount_minor=amount_minor,
        expires_at=expires_at,
        event_at=NOW,
        **more,
    )


def resolve(
    transfer_id: str, kind: TransferKind, pending_id: str, amount_minor: int = 0, **more: Any
) -> TransferRequest:
    """Return a request to post, void or expire a hold."""
    return TransferRequest(
        transfer_id=transfer_id, kind=kind, pending_id=pending_id, amount_minor=amount_minor, event_at=NOW, **more
    )


def open_accounts(conn: Connection, tenant_id: str = "gxu", wallet_minor: int = 0) -> tuple[str, str, str]:
    """Return a wallet with an opening balance, the clearing account and the revenue account."""
    service.open_chart(conn, tenant_id, ["wallet"])
    wallet = service.account(conn, tenant_id, "cardholder_wallet", "ch_1")
    clearing = service.account(conn, tenant_id, "payment_clearing", "wallet")
    revenue = service.account(conn, tenant_id, "water_revenue")
    if wallet_minor:
        equity = service.account(conn, tenant_id, "opening_equity")
        opening = single("opening", equity, wallet, wallet_minor)
        assert service.execute(conn, tenant_id, [opening], now=NOW)[0].code is Code.OK
    return wallet, clearing, revenue
