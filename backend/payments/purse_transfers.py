"""
Moving money between one's own purses, as the school's table allows, once per request id.

Neither held money nor credit moves: a transfer takes from what is in the purse, and the ledger refuses the rest.
"""

import re
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import Connection, RowMapping

from backend.cardholders import service as cardholders
from backend.errors import BackendError, Conflict, Forbidden
from backend.kit.clock import epoch_ms, from_epoch_ms
from backend.ledger import service as ledger
from backend.ledger.rules import Code, TransferKind, TransferRequest
from backend.ledger.service import StatementLine
from backend.payments import people_repository as repository
from backend.payments import people_rules
from backend.payments import service as payments
from backend.payments.people_repository import purse_transfers as table
from backend.payments.people_rules import WALLET
from backend.payments.postings import PURSE_KINDS

TRANSFER_PREFIX = "pt_"
_REVENUE = "water_revenue"
#: Far more movements than a person makes in a purse while they are at a school.
_HISTORY_MAX = 10_000
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


@dataclass(frozen=True, slots=True)
class PurseTransfer:
    """Money a person moved from one of their purses to another."""

    tenant_id: str
    transfer_id: str
    cardholder_id: str
    from_purse: str
    to_purse: str
    amount_minor: int
    created_at: datetime


_FIELDS = tuple(field.name for field in fields(PurseTransfer))


def _transfer(row: RowMapping) -> PurseTransfer:
    return PurseTransfer(**{name: row[name] for name in _FIELDS})


class TransferNotAllowed(Forbidden):
    """The school does not let money go from this purse to that one."""

    code = "transfer_not_allowed"


class TransferAmountRefused(BackendError):
    """A transfer moves at least one fen and at most ten thousand yuan."""

    code = "transfer_amount_refused"
    status = 422


class TransferNotCovered(BackendError):
    """The purse has not so much that may move there."""

    code = "transfer_not_covered"
    status = 402


class RequestIdRefused(BackendError):
    """A request id is 8 to 64 letters, digits, hyphens or underscores."""

    code = "request_id_malformed"


class PurseTransferDiffers(Conflict):
    """This request id already stands for another transfer."""

    code = "transfer_differs"


def transfer(
    conn: Connection,
    *,
    tenant_id: str,
    cardholder_id: str,
    from_purse: str,
    to_purse: str,
    amount_minor: int,
    request_id: str,
    now: datetime,
) -> PurseTransfer:
    """
    Return the transfer after moving the money, or the one this request already stands for.

    :raises RequestIdRefused: if the request id is not one.
    :raises TransferAmountRefused: unless it is between one fen and ten thousand yuan.
    :raises TransferNotAllowed: if the school's table has no such pair.
    :raises PurseTransferDiffers: if the request stands for something else.
    :raises backend.cardholders.service.CardholderInactive: if the person is frozen or has left.
    :raises TransferNotCovered: if not so much is available, or not so much of it is the person's own.
    """
    if not _REQUEST_ID.fullmatch(request_id):
        raise RequestIdRefused()
    if not 1 <= amount_minor <= people_rules.TRANSFER_MINOR_MAX:
        raise TransferAmountRefused(amount_minor=amount_minor)
    ledger.lock(conn, tenant_id)
    made_at = from_epoch_ms(epoch_ms(now))  # as it is stored, so that a repeat is answered to the letter
    wanted = PurseTransfer(
        tenant_id, f"{TRANSFER_PREFIX}{request_id}", cardholder_id, from_purse, to_purse, amount_minor, made_at
    )
    there = repository.find(conn, table, tenant_id, wanted.transfer_id)
    if there is not None:
        return _same(_transfer(there), wanted)
    share = people_rules.pairs(tenant_id).get((from_purse, to_purse))
    if share is None:
        raise TransferNotAllowed(from_purse=from_purse[:16], to_purse=to_purse[:16])
    if cardholders.cardholder(conn, tenant_id, cardholder_id).status != "active":
        raise cardholders.CardholderInactive
    movable = movable_minor(conn, tenant_id, cardholder_id, from_purse, share)
    if amount_minor > movable:
        raise TransferNotCovered(available_minor=movable, amount_minor=amount_minor)
    _post(conn, wanted, now)
    is_new = repository.add(conn, table, {name: getattr(wanted, name) for name in _FIELDS})
    assert is_new, "the ledger's lock makes this the only one"
    return wanted


def _same(there: PurseTransfer, wanted: PurseTransfer) -> PurseTransfer:
    named = (wanted.cardholder_id, wanted.from_purse, wanted.to_purse, wanted.amount_minor)
    if (there.cardholder_id, there.from_purse, there.to_purse, there.amount_minor) != named:
        raise PurseTransferDiffers(transfer_id=wanted.transfer_id)
    return there


def _post(conn: Connection, wanted: PurseTransfer, now: datetime) -> None:
    request = TransferRequest(
        transfer_id=f"{wanted.transfer_id}.move",
        kind=TransferKind.SINGLE,
        debit_account_id=ledger.account(conn, wanted.tenant_id, PURSE_KINDS[wanted.from_purse], wanted.cardholder_id),
        credit_account_id=ledger.account(conn, wanted.tenant_id, PURSE_KINDS[wanted.to_purse], wanted.cardholder_id),
        amount_minor=wanted.amount_minor,
        event_at=now,
        reference=wanted.transfer_id,
        memo="between purses",
    )
    result = ledger.execute(conn, wanted.tenant_id, [request], now=now)[0]
    assert result.code is Code.OK, result


def purse(conn: Connection, tenant_id: str, cardholder_id: str, name: str) -> payments.Purse:
    """Return one of a person's purses; one never used is empty."""
    return next(each for each in payments.purses(conn, tenant_id, cardholder_id) if each.purse == name)


def movable_minor(
    conn: Connection, tenant_id: str, cardholder_id: str, name: str, share: people_rules.Share = "any"
) -> int:
    """Return how much of a purse may move: what is in it and not held, or the part that is the person's own money."""
    if share == "own":
        return own_minor(conn, tenant_id, cardholder_id, name)
    found = purse(conn, tenant_id, cardholder_id, name)
    return max(found.posted_minor - found.held_minor, 0)  # credit buys water; it is nobody's to move or to be paid


def own_minor(conn: Connection, tenant_id: str, cardholder_id: str, name: str) -> int:
    """Return how much of what may move is the person's own: all of the wallet, part of a scheme."""
    available = movable_minor(conn, tenant_id, cardholder_id, name)
    if name == WALLET or available == 0:
        return available
    lines = payments.purse_entries(conn, tenant_id, cardholder_id, name, _HISTORY_MAX)
    moves = [(_move(line), abs(line.change_minor)) for line in reversed(lines) if line.change_minor]
    return min(people_rules.own_minor(moves), available)


def _move(line: StatementLine) -> people_rules.Move:
    is_in = line.change_minor > 0
    other = line.counter_account_id.partition("/")[0]
    if other == PURSE_KINDS[WALLET]:
        return "own_in" if is_in else "own_out"
    if is_in:
        return "refunded" if other == _REVENUE else "given"
    return "spent"


def transfers(
    conn: Connection, tenant_id: str, *, cardholder_id: str | None = None, after: str = "", limit: int
) -> list[PurseTransfer]:
    """Return transfers newest first; `after` is the id of the last transfer of the page before."""
    wanted = repository.equal(table, cardholder_id=cardholder_id)
    return [_transfer(row) for row in repository.newest(conn, table, tenant_id, *wanted, after=after, limit=limit)]
