"""
How payments look in the ledger.

A hold is pending from the payer's side (the wallet, or what the provider owes us) to the method's clearing account,
under the water session's id. A capture posts the part that was used and hands it on to water revenue, both or neither,
so clearing is at zero per water session once it is settled.
"""

from datetime import datetime

from sqlalchemy import Connection

from backend.ledger import service as ledger
from backend.ledger.rules import TransferKind, TransferRequest, TransferResult
from backend.payments.capabilities import WALLET
from backend.payments.rules import Authorization, TopUp


def hold_id(auth_id: str) -> str:
    """Return the id of the pending transfer that holds an authorization's money."""
    return f"{auth_id}.hold"


def hold(conn: Connection, auth: Authorization, now: datetime) -> TransferResult:
    """Hold the authorization's amount and return what became of it."""
    if auth.method == WALLET:
        payer = ledger.account(conn, auth.tenant_id, "cardholder_wallet", auth.cardholder_id)
    else:
        payer = ledger.account(conn, auth.tenant_id, "provider_receivable", auth.method)
    request = TransferRequest(
        transfer_id=hold_id(auth.auth_id),
        kind=TransferKind.PENDING,
        debit_account_id=payer,
        credit_account_id=ledger.account(conn, auth.tenant_id, "payment_clearing", auth.method),
        amount_minor=auth.amount_minor,
        expires_at=auth.expires_at,
        event_at=now,
        reference=auth.water_session_id,
    )
    return ledger.execute(conn, auth.tenant_id, [request], now=now)[0]


def capture(
    conn: Connection, auth: Authorization, capture_id: str, amount_minor: int, now: datetime
) -> list[TransferResult]:
    """Post part of the hold and hand it on to water revenue, both or neither."""
    post = TransferRequest(
        transfer_id=f"{capture_id}.post",
        kind=TransferKind.POST,
        pending_id=hold_id(auth.auth_id),
        amount_minor=amount_minor,
        event_at=now,
        linked=True,
    )
    revenue = TransferRequest(
        transfer_id=f"{capture_id}.revenue",
        kind=TransferKind.SINGLE,
        debit_account_id=ledger.account(conn, auth.tenant_id, "payment_clearing", auth.method),
        credit_account_id=ledger.account(conn, auth.tenant_id, "water_revenue"),
        amount_minor=amount_minor,
        event_at=now,
        reference=auth.water_session_id,
    )
    return ledger.execute(conn, auth.tenant_id, [post, revenue], now=now)


def release(conn: Connection, auth: Authorization, kind: TransferKind, now: datetime) -> TransferResult:
    """Release the whole hold, as a void or as an expiry."""
    request = TransferRequest(
        transfer_id=f"{auth.auth_id}.{kind.value}", kind=kind, pending_id=hold_id(auth.auth_id), event_at=now
    )
    return ledger.execute(conn, auth.tenant_id, [request], now=now)[0]


def write_off(conn: Connection, auth: Authorization, operation_id: str, amount_minor: int, now: datetime) -> None:
    """Book as the operator's loss what the provider refuses to pay out for a captured hold."""
    request = TransferRequest(
        transfer_id=f"{operation_id}.writeoff",
        kind=TransferKind.SINGLE,
        debit_account_id=ledger.account(conn, auth.tenant_id, "operator_loss"),
        credit_account_id=ledger.account(conn, auth.tenant_id, "provider_receivable", auth.method),
        amount_minor=amount_minor,
        event_at=now,
        reference=auth.water_session_id,
        memo="capture refused by the provider",
    )
    result = ledger.execute(conn, auth.tenant_id, [request], now=now)[0]
    assert result.stands, result


def credit_top_up(conn: Connection, top_up: TopUp, now: datetime) -> None:
    """Credit the wallet with a top-up the provider has taken; the transfer's id makes it happen once."""
    request = TransferRequest(
        transfer_id=f"{top_up.top_up_id}.topup",
        kind=TransferKind.SINGLE,
        debit_account_id=ledger.account(conn, top_up.tenant_id, "provider_receivable", top_up.method),
        credit_account_id=ledger.account(conn, top_up.tenant_id, "cardholder_wallet", top_up.cardholder_id),
        amount_minor=top_up.amount_minor,
        event_at=now,
        reference=top_up.top_up_id,
        memo="top-up",
    )
    result = ledger.execute(conn, top_up.tenant_id, [request], now=now)[0]
    assert result.stands, result
