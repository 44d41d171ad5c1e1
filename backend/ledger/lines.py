"""How a transfer reads in the statement of one of its two accounts. Pure."""

from dataclasses import dataclass
from datetime import datetime

from backend.ledger import chart
from backend.ledger.history_repository import Place
from backend.ledger.rules import Transfer, TransferKind


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One transfer as an account's owner sees it: how it changed the balance, and how it changed what is held."""

    transfer_id: str
    kind: TransferKind
    change_minor: int
    held_change_minor: int
    #: The balance after this line, in the order of the statement.
    balance_minor: int
    counter_account_id: str
    reference: str
    memo: str
    event_at: datetime
    recorded_at: datetime
    number: int

    @property
    def place(self) -> Place:
        """Return where the next, older page goes on."""
        return Place(self.event_at, self.number)


@dataclass(frozen=True, slots=True)
class Period:
    """An account's balance before and after a period, and what came in and went out between."""

    opening_minor: int
    in_minor: int
    out_minor: int
    closing_minor: int


def grows_by_debit(account_id: str) -> bool:
    """Return whether more debits mean more in the account."""
    rule = chart.rule_of(account_id)
    assert rule is not None, f"the chart has no {account_id!r}"
    return rule.normal_side == "debit"


def line(number: int, transfer: Transfer, account_id: str, *, hold_minor: int, balance_minor: int) -> StatementLine:
    """Return the line for a transfer; `hold_minor` is what the hold it resolves had held, if it resolves one."""
    return StatementLine(
        transfer_id=transfer.transfer_id,
        kind=transfer.kind,
        change_minor=change_minor(transfer, account_id),
        held_change_minor=_held_change_minor(transfer, account_id, hold_minor),
        balance_minor=balance_minor,
        counter_account_id=(
            transfer.debit_account_id if transfer.credit_account_id == account_id else transfer.credit_account_id
        ),
        reference=transfer.reference,
        memo=transfer.memo,
        event_at=transfer.event_at,
        recorded_at=transfer.recorded_at,
        number=number,
    )


def change_minor(transfer: Transfer, account_id: str) -> int:
    """Return what a transfer adds to the account's balance; plus means more in the account."""
    if transfer.kind not in (TransferKind.SINGLE, TransferKind.POST):
        return 0
    return transfer.amount_minor if _brings(transfer, account_id) else -transfer.amount_minor


def _brings(transfer: Transfer, account_id: str) -> bool:
    return (transfer.credit_account_id == account_id) != grows_by_debit(account_id)


def _held_change_minor(transfer: Transfer, account_id: str, hold_minor: int) -> int:
    if _brings(transfer, account_id):
        return 0
    return transfer.amount_minor if transfer.kind is TransferKind.PENDING else -hold_minor
