"""
Paying a leaver out: the whole rest, to the fen, once nothing can change it any more.

The first step is one transaction: everything that could still move the person's money must be over, the person's own
money goes to what the school owes (refunds payable), the school's money goes back to its funds, the purses stand at
zero, and the person is closed with every credential, so that nothing new begins. Who owes (`credit_limits`) is paid
nothing: their own money pays the debt first, and what is left stays owed. The second step is a second person's:
they approve the payout in cash or to a bank account. If they refuse, or a week passes, the money stays owed and is
proposed again (`propose_again`). Money that still comes to somebody who has left (a late refund) is paid by another
payout.
"""

from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import Connection, RowMapping

from backend.cardholders import service as cardholders
from backend.errors import BackendError, Conflict, NotFound
from backend.ledger import service as ledger
from backend.ledger.rules import TransferKind, TransferRequest
from backend.payments import credit_limits, entry_checks, people_rules, purse_transfers, returning, staff_entries
from backend.payments import people_repository as repository
from backend.payments import service as payments
from backend.payments.people_repository import payouts as table
from backend.payments.people_rules import FUND_OWNER, PAYOUT_OWNER, WALLET, Obstacle
from backend.payments.postings import PURSE_KINDS
from backend.payments.steps import REFUND_SUFFIX


@dataclass(frozen=True, slots=True)
class Payout:
    """What a leaver gets, what went back to the school's funds, and what they still owe instead."""

    tenant_id: str
    payout_id: str
    cardholder_id: str
    amount_minor: int
    returned_minor: int
    channel: str
    destination: str
    state: str
    entry_id: str
    proposed_by: str
    created_at: datetime
    paid_at: datetime | None = None
    owed_minor: int = 0


_FIELDS = tuple(field.name for field in fields(Payout))


def _payout(row: RowMapping) -> Payout:
    return Payout(**{name: row[name] for name in _FIELDS})


def obstacles(conn: Connection, tenant_id: str, cardholder_id: str, now: datetime) -> list[Obstacle]:
    """
    Return what could still move a person's money, each by kind and what it is about; none when they can be paid.

    Kinds: `session_open` (an authorization that holds money or is being asked for), `payment_unknown`,
    `top_up_checking`, `money_held`, `refund_open`, `dispute_open`, `entry_open`.
    """
    found = []
    for row in repository.open_authorizations(conn, tenant_id, cardholder_id=cardholder_id):
        kind = "payment_unknown" if row["state"] == "unknown" else "session_open"
        found.append(Obstacle(kind, row["water_session_id"]))
    found += [Obstacle("top_up_checking", key) for key in repository.checking_top_ups(conn, tenant_id, cardholder_id)]
    if not found:
        purses = payments.purses(conn, tenant_id, cardholder_id)
        found += [Obstacle("money_held", each.purse) for each in purses if each.held_minor]
    for back in returning.returning(conn, tenant_id, cardholder_id):
        found.append(Obstacle("refund_open", back.operation_id.removesuffix(REFUND_SUFFIX)))
    for state in ("open", "upheld"):
        rows = repository.find_by(conn, repository.disputes, tenant_id, cardholder_id=cardholder_id, state=state)
        found += [Obstacle("dispute_open", row["dispute_id"]) for row in rows]
    waiting = staff_entries.entries(
        conn, tenant_id, now=now, state="proposed", cardholder_id=cardholder_id, limit=1_000
    )
    found += [Obstacle("entry_open", each.entry_id) for each in waiting if each.kind != "payout"]
    return found


class PayoutBlocked(Conflict):
    """Something can still change what the person has."""

    code = "payout_blocked"


class PayoutDiffers(Conflict):
    """This payout id already stands for something else."""

    code = "payout_differs"


class ChannelRefused(BackendError):
    """A payout goes in cash, or to a bank account that is named."""

    code = "payout_channel_refused"
    status = 422


def _check_channel(channel: str, destination: str) -> str:
    words = destination.strip()
    is_named = 4 <= len(words) <= 200 if channel == "bank" else len(words) <= 200
    if channel not in people_rules.CHANNELS or not is_named:
        raise ChannelRefused(channel=channel[:16])
    return words


def payout(
    conn: Connection,
    *,
    tenant_id: str,
    payout_id: str,
    cardholder_id: str,
    channel: str,
    destination: str,
    reason: str,
    proposed_by: str,
    now: datetime,
) -> Payout:
    """
    Return the payout after closing a leaver and their purses; a second person approves its entry `<payout>.1`.

    With nothing to pay it is paid at once, or `owes` if the person does. The same payout again changes nothing.

    :raises backend.payments.entry_checks.StaffRoleMissing: if the one who proposes is not of finance.
    :raises ChannelRefused: unless it goes in cash, or to a bank account that is named.
    :raises backend.payments.entry_checks.ReasonTooShort: unless the reason has 10 to 500 characters.
    :raises backend.cardholders.service.CardholderUnknown: if the tenant has no such person.
    :raises PayoutDiffers: if the id stands for something else.
    :raises backend.payments.entry_checks.OwnMoney: if they would pay themselves.
    :raises PayoutBlocked: naming the kinds of obstacles and how many there are.
    """
    ledger.lock(conn, tenant_id)
    entry_checks.demand_staff(conn, tenant_id, proposed_by, people_rules.PROPOSERS)
    entry_checks.check_id(payout_id)
    words = _check_channel(channel, destination)
    entry_checks.check_reason(reason)
    cardholders.cardholder(conn, tenant_id, cardholder_id)
    there = repository.find(conn, table, tenant_id, payout_id)
    if there is not None:
        return _same(_payout(there), cardholder_id, channel, words, proposed_by)
    entry_checks.check_distance(proposed_by, cardholder_id)
    blocked = obstacles(conn, tenant_id, cardholder_id, now)
    if blocked:
        kinds = sorted({each.kind for each in blocked})
        raise PayoutBlocked(reasons=",".join(kinds), count=len(blocked))
    own_minor, returned_minor = _empty_purses(conn, tenant_id, cardholder_id, payout_id, now)
    owed_minor = credit_limits.leave(conn, tenant_id, cardholder_id, closed_by=proposed_by, now=now)
    assert own_minor == 0 or owed_minor == 0, "one's own money pays the debt first"
    _close_person(conn, tenant_id, cardholder_id, now)
    new = Payout(
        tenant_id=tenant_id,
        payout_id=payout_id,
        cardholder_id=cardholder_id,
        amount_minor=own_minor,
        returned_minor=returned_minor,
        channel=channel,
        destination=words,
        state="waiting" if own_minor else "owes" if owed_minor else "paid",
        entry_id=f"{payout_id}.1" if own_minor else "",
        proposed_by=proposed_by,
        created_at=now,
        paid_at=None if own_minor or owed_minor else now,
        owed_minor=owed_minor,
    )
    is_new = repository.add(conn, table, {name: getattr(new, name) for name in _FIELDS})
    assert is_new, "the ledger's lock makes this the only one"
    if own_minor:
        _propose(conn, new, reason, proposed_by, now)
    return new


def _same(there: Payout, cardholder_id: str, channel: str, destination: str, proposed_by: str) -> Payout:
    asked = (cardholder_id, channel, destination, proposed_by)
    was_first = there.entry_id in ("", f"{there.payout_id}.1")  # later proposals may go by another way
    had = (there.cardholder_id, there.channel, there.destination, there.proposed_by)
    if there.cardholder_id != cardholder_id or (was_first and had != asked):
        raise PayoutDiffers(payout_id=there.payout_id)
    return there


def _empty_purses(
    conn: Connection, tenant_id: str, cardholder_id: str, payout_id: str, now: datetime
) -> tuple[int, int]:
    """
    Bring a person's purses to zero, all or none; return what is theirs and what is the school's.

    What the wallet owes is paid from their own money first; so much of it stays below zero as they have not.
    """
    payable = ledger.account(conn, tenant_id, "refunds_payable", PAYOUT_OWNER)
    wallet = ledger.account(conn, tenant_id, PURSE_KINDS[WALLET], cardholder_id)
    debt_minor = credit_limits.owed_minor(conn, tenant_id, cardholder_id)
    moves, own_minor, returned_minor = [], 0, 0
    for each in payments.purses(conn, tenant_id, cardholder_id):
        own = purse_transfers.own_minor(conn, tenant_id, cardholder_id, each.purse)
        pays = min(own, debt_minor)
        debt_minor -= pays
        moves.append((f"{each.purse}.debt", each.purse, wallet, pays, "debt settled"))
        moves.append((f"{each.purse}.own", each.purse, payable, own - pays, "payout"))
        own_minor += own - pays
        if (rest := each.posted_minor - own) > 0:
            fund = ledger.account(conn, tenant_id, PURSE_KINDS[each.purse], FUND_OWNER)
            moves.append((f"{each.purse}.returned", each.purse, fund, rest, "returned to the fund"))
            returned_minor += rest
    requests = [
        TransferRequest(
            transfer_id=f"{payout_id}.{name}",
            kind=TransferKind.SINGLE,
            debit_account_id=ledger.account(conn, tenant_id, PURSE_KINDS[purse], cardholder_id),
            credit_account_id=credit,
            amount_minor=amount,
            event_at=now,
            reference=payout_id,
            memo=memo,
        )
        for name, purse, credit, amount, memo in moves
        if amount > 0
    ]
    results = ledger.execute(conn, tenant_id, requests, now=now)
    assert all(result.stands for result in results), results
    return own_minor, returned_minor


def _close_person(conn: Connection, tenant_id: str, cardholder_id: str, now: datetime) -> None:
    cardholders.set_status(conn, tenant_id, cardholder_id, "closed")
    for credential in cardholders.credentials(conn, tenant_id, cardholder_id):
        if credential.status == "active":
            cardholders.freeze_credential(conn, tenant_id, credential.credential_id, now)


def _propose(conn: Connection, of: Payout, reason: str, proposed_by: str, now: datetime) -> None:
    proposed = staff_entries.propose(
        conn,
        tenant_id=of.tenant_id,
        entry_id=of.entry_id,
        kind="payout",
        cardholder_id=of.cardholder_id,
        amount_minor=of.amount_minor,
        reason=reason,
        proposed_by=proposed_by,
        now=now,
        debit_account_id=ledger.account(conn, of.tenant_id, "refunds_payable", PAYOUT_OWNER),
        credit_account_id=ledger.account(conn, of.tenant_id, people_rules.CHANNELS[of.channel]),
        subject_id=of.payout_id,
    )
    if proposed.state != "proposed":
        raise staff_entries.EntryDiffers(entry_id=of.entry_id)


def propose_again(
    conn: Connection,
    *,
    tenant_id: str,
    payout_id: str,
    entry_id: str,
    channel: str,
    destination: str,
    reason: str,
    proposed_by: str,
    now: datetime,
) -> Payout:
    """
    Return a payout that was refused or forgotten, proposed again, perhaps by another way; the same again is harmless.

    :raises PayoutUnknown: if this tenant has none with this id.
    :raises backend.payments.entry_checks.PayoutNotWaiting: if it was paid, or waits for another entry.
    :raises backend.payments.staff_entries.EntryDiffers: if the entry id was used before.
    :raises BackendError: as `payout` does for roles, channel, reason and one's own money.
    """
    ledger.lock(conn, tenant_id)
    entry_checks.demand_staff(conn, tenant_id, proposed_by, people_rules.PROPOSERS)
    words = _check_channel(channel, destination)
    entry_checks.check_reason(reason)
    staff_entries.expire_due(conn, tenant_id, now)
    found = find_payout(conn, tenant_id, payout_id)
    entry_checks.check_distance(proposed_by, found.cardholder_id)
    if (found.state, found.entry_id, found.channel, found.destination) == ("waiting", entry_id, channel, words):
        return found
    if found.state != "payable":
        raise entry_checks.PayoutNotWaiting(payout_id=payout_id)
    again = {"state": "waiting", "entry_id": entry_id, "channel": channel, "destination": words}
    repository.change(conn, table, tenant_id, payout_id, proposed_by=proposed_by, **again)
    changed = find_payout(conn, tenant_id, payout_id)
    _propose(conn, changed, reason, proposed_by, now)
    return changed


class PayoutUnknown(NotFound):
    """There is no such payout."""

    code = "payout_unknown"


def find_payout(conn: Connection, tenant_id: str, payout_id: str) -> Payout:
    """
    Return a payout.

    :raises PayoutUnknown: if this tenant has none with this id.
    """
    row = repository.find(conn, table, tenant_id, payout_id)
    if row is None:
        raise PayoutUnknown(payout_id=payout_id)
    return _payout(row)


def payouts(
    conn: Connection,
    tenant_id: str,
    *,
    cardholder_id: str | None = None,
    state: str | None = None,
    after: str = "",
    limit: int,
) -> list[Payout]:
    """Return payouts newest first; `after` is the id of the last payout of the page before."""
    wanted = repository.equal(table, cardholder_id=cardholder_id, state=state)
    return [_payout(row) for row in repository.newest(conn, table, tenant_id, *wanted, after=after, limit=limit)]
