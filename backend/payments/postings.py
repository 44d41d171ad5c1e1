"""
How payments look in the ledger.

- Campus purses: each purse's part is a hold of its own from the purse to the clearing account, all linked. A capture
  posts them in the order they are spent, releases the rest, and hands the sum on to water revenue, all or nothing.
- A provider that holds: one hold from what the provider will owe us to its clearing account; a capture posts the part
  that was used and hands it on.
- A provider that cannot hold: the deposit is taken at once, so it is posted to the clearing account. A capture hands
  the used part on to water revenue and the rest to refunds payable, where it waits until the provider gave it back.

Every transfer carries the water session's id, and clearing is at zero per session once it is settled.

`now` is when it is recorded. `at` is when it happened (`rules.happened_at`): a shower stands in the statement at the
moment its valve closed, however late the gateway tells; without it, it happens now.
"""

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace
from sqlalchemy import Connection

from backend.ledger import service as ledger
from backend.ledger.rules import Code, TransferKind, TransferRequest, TransferResult
from backend.payments.capabilities import MATRIX, Flow
from backend.payments.rules import split_capture
from backend.payments.types import Authorization, Part, Refund, TopUp

#: The ledger's account of each campus purse.
PURSE_KINDS = {"subsidy": "subsidy_fund", "voucher": "voucher_fund", "wallet": "cardholder_wallet"}


def flow_of(auth: Authorization) -> Flow:
    """Return how an authorization's method pays."""
    return MATRIX[auth.method].flow


def hold_id(auth_id: str, purse: str = "") -> str:
    """Return the id of the transfer that holds an authorization's money, or one purse's part of it."""
    return f"{auth_id}.hold.{purse}" if purse else f"{auth_id}.hold"


def _linked(requests: Sequence[TransferRequest]) -> list[TransferRequest]:
    return [replace(request, linked=True) for request in requests[:-1]] + [requests[-1]]


def _all_stand(results: Sequence[TransferResult]) -> None:
    assert all(result.stands for result in results), results


def _clearing(conn: Connection, auth: Authorization) -> str:
    return ledger.account(conn, auth.tenant_id, "payment_clearing", auth.method)


def _single(
    auth: Authorization, name: str, debit: str, credit: str, amount_minor: int, at: datetime, memo: str = ""
) -> TransferRequest:
    return TransferRequest(
        transfer_id=name,
        kind=TransferKind.SINGLE,
        debit_account_id=debit,
        credit_account_id=credit,
        amount_minor=amount_minor,
        event_at=at,
        reference=auth.water_session_id,
        memo=memo,
    )


def hold_purses(conn: Connection, auth: Authorization, shares: Sequence[tuple[str, int]], now: datetime) -> None:
    """Hold each purse's share, all or none. What is held was available under the same lock, so it stands."""
    clearing = _clearing(conn, auth)
    holds = [
        TransferRequest(
            transfer_id=hold_id(auth.auth_id, purse),
            kind=TransferKind.PENDING,
            debit_account_id=ledger.account(conn, auth.tenant_id, PURSE_KINDS[purse], auth.cardholder_id),
            credit_account_id=clearing,
            amount_minor=amount_minor,
            expires_at=auth.expires_at,
            event_at=now,
            reference=auth.water_session_id,
        )
        for purse, amount_minor in shares
    ]
    _all_stand(ledger.execute(conn, auth.tenant_id, _linked(holds), now=now))


def hold_at_provider(conn: Connection, auth: Authorization, now: datetime, at: datetime | None = None) -> None:
    """Note the provider's hold as a hold of ours, or the deposit it has taken as money it owes us."""
    request = _single(
        auth,
        hold_id(auth.auth_id),
        ledger.account(conn, auth.tenant_id, "provider_receivable", auth.method),
        _clearing(conn, auth),
        auth.amount_minor,
        at or now,
    )
    if flow_of(auth) == "provider_hold":
        request = replace(request, kind=TransferKind.PENDING, expires_at=auth.expires_at)
    _all_stand(ledger.execute(conn, auth.tenant_id, [request], now=now))


def _post(auth: Authorization, transfer_id: str, purse: str, amount_minor: int, at: datetime) -> TransferRequest:
    kind = TransferKind.POST if amount_minor > 0 else TransferKind.VOID
    hold = hold_id(auth.auth_id, purse)
    return TransferRequest(transfer_id=transfer_id, kind=kind, pending_id=hold, amount_minor=amount_minor, event_at=at)


def _captured(
    conn: Connection, auth: Authorization, held: Sequence[Part], capture_id: str, amount_minor: int, at: datetime
) -> list[TransferRequest]:
    flow = flow_of(auth)
    if flow == "ledger_hold":
        return [
            _post(auth, f"{capture_id}.post.{part.purse}", part.purse, share, at)
            for part, share in split_capture(held, amount_minor)
        ]
    if flow == "provider_hold":
        return [_post(auth, f"{capture_id}.post", "", amount_minor, at)]
    rest = auth.amount_minor - amount_minor
    if rest == 0:
        return []
    payable = ledger.account(conn, auth.tenant_id, "refunds_payable", auth.method)
    return [_single(auth, f"{capture_id}.rest", _clearing(conn, auth), payable, rest, at, "rest of the deposit")]


def capture(
    conn: Connection,
    auth: Authorization,
    held: Sequence[Part],
    capture_id: str,
    amount_minor: int,
    now: datetime,
    at: datetime | None = None,
) -> bool:
    """Take part of the hold and hand it on to water revenue, all or nothing; return False if the hold had lapsed."""
    at = at or now
    requests = _captured(conn, auth, held, capture_id, amount_minor, at)
    revenue = ledger.account(conn, auth.tenant_id, "water_revenue")
    requests.append(_single(auth, f"{capture_id}.revenue", _clearing(conn, auth), revenue, amount_minor, at))
    results = ledger.execute(conn, auth.tenant_id, _linked(requests), now=now)
    if any(result.code is Code.ALREADY_RESOLVED for result in results):
        return False
    _all_stand(results)
    return True


def release(
    conn: Connection,
    auth: Authorization,
    held: Sequence[Part],
    kind: TransferKind,
    now: datetime,
    at: datetime | None = None,
) -> None:
    """Release the whole hold, as a void or as an expiry; a deposit becomes something we owe the payer."""
    if flow_of(auth) == "charge_and_refund":
        payable = ledger.account(conn, auth.tenant_id, "refunds_payable", auth.method)
        name = f"{auth.auth_id}.release"
        request = _single(auth, name, _clearing(conn, auth), payable, auth.amount_minor, at or now, "the whole deposit")
        _all_stand(ledger.execute(conn, auth.tenant_id, [request], now=now))
        return
    purses = [part.purse for part in held] if flow_of(auth) == "ledger_hold" else [""]
    requests = [
        TransferRequest(
            transfer_id=f"{auth.auth_id}.{kind.value}" + (f".{purse}" if purse else ""),
            kind=kind,
            pending_id=hold_id(auth.auth_id, purse),
            event_at=at or now,
        )
        for purse in purses
    ]
    for result in ledger.execute(conn, auth.tenant_id, requests, now=now):
        assert result.stands or result.code is Code.ALREADY_RESOLVED, result


def write_off(conn: Connection, auth: Authorization, operation_id: str, amount_minor: int, now: datetime) -> None:
    """Book as the operator's loss what the provider refuses to pay out for a captured hold."""
    loss = ledger.account(conn, auth.tenant_id, "operator_loss")
    receivable = ledger.account(conn, auth.tenant_id, "provider_receivable", auth.method)
    name, memo = f"{operation_id}.writeoff", "capture refused by the provider"
    request = _single(auth, name, loss, receivable, amount_minor, now, memo)
    _all_stand(ledger.execute(conn, auth.tenant_id, [request], now=now))


def given_back(
    conn: Connection,
    auth: Authorization,
    operation_id: str,
    amount_minor: int,
    now: datetime,
    settled_minor: int = 0,
    at: datetime | None = None,
) -> bool:
    """
    Book what the provider has given back to the payer for us, once per operation; return whether all was still owed.

    What was paid another way meanwhile (`settled_minor`, by entries of staff) is given back a second time: that goes to
    suspense, for what else lies in the account is owed to others.
    """
    payable = ledger.account(conn, auth.tenant_id, "refunds_payable", auth.method)
    receivable = ledger.account(conn, auth.tenant_id, "provider_receivable", auth.method)
    name, memo = f"{operation_id}.returned", "given back"
    left_minor = amount_minor - min(settled_minor, amount_minor)
    if left_minor > 0:
        request = _single(auth, name, payable, receivable, left_minor, at or now, memo)
        if not ledger.execute(conn, auth.tenant_id, [request], now=now)[0].stands:
            left_minor = 0
    if left_minor == amount_minor:
        return True
    suspense = ledger.account(conn, auth.tenant_id, "suspense")
    name = f"{name}.twice" if left_minor > 0 else name
    request = _single(auth, name, suspense, receivable, amount_minor - left_minor, at or now, memo)
    _all_stand(ledger.execute(conn, auth.tenant_id, [request], now=now))
    return False


def owe_refund(conn: Connection, auth: Authorization, refund: Refund, now: datetime) -> None:
    """Take a refund out of water revenue and owe it to the payer until the provider has given it back."""
    revenue = ledger.account(conn, auth.tenant_id, "water_revenue")
    payable = ledger.account(conn, auth.tenant_id, "refunds_payable", auth.method)
    request = _single(auth, f"{refund.refund_id}.owed", revenue, payable, refund.amount_minor, now, "refund")
    _all_stand(ledger.execute(conn, auth.tenant_id, [request], now=now))


def refund_purses(
    conn: Connection, auth: Authorization, refund: Refund, shares: Sequence[tuple[str, int]], now: datetime
) -> None:
    """Give a refund back from water revenue to the purses, all or none."""
    revenue = ledger.account(conn, auth.tenant_id, "water_revenue")
    requests = [
        _single(
            auth,
            f"{refund.refund_id}.{purse}",
            revenue,
            ledger.account(conn, auth.tenant_id, PURSE_KINDS[purse], auth.cardholder_id),
            amount_minor,
            now,
            "refund",
        )
        for purse, amount_minor in shares
    ]
    _all_stand(ledger.execute(conn, auth.tenant_id, _linked(requests), now=now))


def credit_top_up(conn: Connection, top_up: TopUp, now: datetime, at: datetime | None = None) -> None:
    """Credit the wallet with a top-up the provider has taken; the transfer's id makes it happen once."""
    request = TransferRequest(
        transfer_id=f"{top_up.top_up_id}.topup",
        kind=TransferKind.SINGLE,
        debit_account_id=ledger.account(conn, top_up.tenant_id, "provider_receivable", top_up.method),
        credit_account_id=ledger.account(conn, top_up.tenant_id, "cardholder_wallet", top_up.cardholder_id),
        amount_minor=top_up.amount_minor,
        event_at=at or now,
        reference=top_up.top_up_id,
        memo="top-up",
    )
    _all_stand(ledger.execute(conn, top_up.tenant_id, [request], now=now))
