"""
Entries by staff: money moves when a second person has agreed, in the transaction in which they agree, once.

An entry is proposed by somebody of finance, with words. It waits a week; then it has expired and must be proposed
again. The one who proposed cannot approve: the code refuses it, and so does the table. Nobody proposes or approves
what moves their own money. A refusal leaves the entry as it was. `people_rules` has the table of postings.
"""

from dataclasses import dataclass, fields, replace
from datetime import datetime

from sqlalchemy import Connection, RowMapping

from backend.cardholders import service as cardholders
from backend.errors import Conflict, Forbidden, NotFound
from backend.ledger import chart
from backend.ledger import service as ledger
from backend.ledger.rules import Code, TransferKind, TransferRequest
from backend.payments import cases, credit_limits, entry_checks, paid_otherwise, people_rules, steps
from backend.payments import people_repository as repository
from backend.payments import service as payments
from backend.payments.people_repository import disputes, payouts
from backend.payments.people_repository import staff_entries as table
from backend.payments.types import Operation

#: The note of a case whose money staff paid.
_PAID_BY_HAND = "已由人工付清，账已记好。 It was paid by hand; it is booked."


@dataclass(frozen=True, slots=True)
class Entry:
    """A movement of money that one person proposed and another decides."""

    tenant_id: str
    entry_id: str
    kind: str
    cardholder_id: str
    amount_minor: int
    debit_account_id: str
    credit_account_id: str
    #: the authorization of a refund, the payout of a payout, what a manual entry refers to
    subject_id: str
    reason: str
    proposed_by: str
    created_at: datetime
    expires_at: datetime
    state: str = "proposed"
    decided_by: str = ""
    decided_at: datetime | None = None
    note: str = ""
    #: until when a credit limit is in force, if it ends by itself
    ends_at: datetime | None = None


_FIELDS = tuple(field.name for field in fields(Entry))


def _entry(row: RowMapping, now: datetime | None = None) -> Entry:
    """Return the entry of a row, as it stands at a moment."""
    found = Entry(**{name: row[name] for name in _FIELDS})
    is_over = now is not None and found.state == "proposed" and now >= found.expires_at
    return replace(found, state="expired") if is_over else found


class EntryDiffers(Conflict):
    """This entry id already stands for something else."""

    code = "entry_differs"


def propose(
    conn: Connection,
    *,
    tenant_id: str,
    entry_id: str,
    kind: str,
    cardholder_id: str,
    amount_minor: int,
    reason: str,
    proposed_by: str,
    now: datetime,
    debit_account_id: str = "",
    credit_account_id: str = "",
    subject_id: str = "",
    ends_at: datetime | None = None,
) -> Entry:
    """
    Return a new entry that waits for a second person, or the one this id already stands for.

    The accounts are given for a manual entry and a payout. `subject_id` is the authorization of a refund, the payout of
    a payout, and what a manual entry refers to (a water session, a case), if anything. The amount of a credit limit is
    how far below zero the wallet may be spent, `ends_at` until when.

    :raises backend.payments.entry_checks.StaffRoleMissing: if the one who proposes is not of finance; and the other
        refusals of `entry_checks`.
    :raises backend.payments.paid_otherwise.NotPayable: if it takes from what is owed to payers and names no refused
        refund (or its case) that owes so much.
    :raises EntryDiffers: if the id stands for something else.
    """
    assert kind in people_rules.LIMITS_MINOR, f"no entry is a {kind!r}"
    ledger.lock(conn, tenant_id)
    entry_checks.demand_staff(conn, tenant_id, proposed_by, people_rules.PROPOSERS)
    entry_checks.check_id(entry_id)
    entry_checks.check_amount(kind, amount_minor)
    if kind == "manual" and paid_otherwise.touches(debit_account_id, credit_account_id):
        subject_id = paid_otherwise.operation_named(conn, tenant_id, subject_id)
    if kind == "cash_top_up":
        cardholders.cardholder(conn, tenant_id, cardholder_id)  # nobody has no wallet
        debit_account_id = chart.account_id("cash")
        credit_account_id = chart.account_id("cardholder_wallet", cardholder_id)
    is_without = kind in ("refund", credit_limits.KIND)
    wanted = Entry(
        tenant_id=tenant_id,
        entry_id=entry_id,
        kind=kind,
        cardholder_id=cardholder_id,
        amount_minor=amount_minor,
        debit_account_id="" if is_without else debit_account_id,
        credit_account_id="" if is_without else credit_account_id,
        subject_id=subject_id,
        reason=entry_checks.check_reason(reason),
        proposed_by=proposed_by,
        created_at=now,
        expires_at=now + people_rules.PROPOSAL_LIFE,
        ends_at=ends_at if kind == credit_limits.KIND else None,
    )
    there = repository.find(conn, table, tenant_id, entry_id)
    if there is not None:
        return _same(_entry(there, now), wanted)
    _check(conn, wanted)
    is_new = repository.add(conn, table, {name: getattr(wanted, name) for name in _FIELDS})
    assert is_new, "the ledger's lock makes this the only one"
    return wanted


def _same(there: Entry, wanted: Entry) -> Entry:
    as_proposed = replace(
        wanted,
        created_at=there.created_at,
        expires_at=there.expires_at,
        state=there.state,
        decided_by=there.decided_by,
        decided_at=there.decided_at,
        note=there.note,
    )
    if as_proposed != there:
        raise EntryDiffers(entry_id=wanted.entry_id)
    return there


def _check(conn: Connection, wanted: Entry) -> None:
    """Refuse what could never be executed, before anybody is asked to agree to it."""
    tenant_id, person = wanted.tenant_id, wanted.cardholder_id
    entry_checks.check_distance(wanted.proposed_by, person, wanted.debit_account_id, wanted.credit_account_id)
    if wanted.kind != "manual" or person:
        entry_checks.check_owner(conn, tenant_id, person, credit_minor=_credit_minor(wanted))
    if wanted.kind == "refund":
        expire_due(conn, tenant_id, wanted.created_at)
        entry_checks.check_refund(conn, tenant_id, person, wanted.subject_id, wanted.amount_minor)
    elif wanted.kind == credit_limits.KIND:
        credit_limits.check_end(wanted.ends_at, wanted.created_at)
    elif wanted.kind == "payout":
        entry_checks.check_payout(conn, tenant_id, person, wanted.subject_id, wanted.entry_id, wanted.amount_minor)
    elif wanted.kind == "manual":
        entry_checks.check_accounts(conn, tenant_id, wanted.debit_account_id, wanted.credit_account_id)
        if paid_otherwise.touches(wanted.debit_account_id, wanted.credit_account_id):
            expire_due(conn, tenant_id, wanted.created_at)
        _check_payable(conn, wanted)


def _credit_minor(wanted: Entry) -> int:
    """Return what an entry lets a person have: money, or credit."""
    return wanted.amount_minor if wanted.kind in ("cash_top_up", credit_limits.KIND) else 0


def _check_payable(conn: Connection, wanted: Entry) -> Operation | None:
    """Return the step of a provider that an entry pays instead, if it takes from what is owed to payers."""
    accounts = (wanted.debit_account_id, wanted.credit_account_id)
    if wanted.kind != "manual" or not paid_otherwise.touches(*accounts):
        return None
    return paid_otherwise.check(
        conn, wanted.tenant_id, wanted.entry_id, wanted.subject_id, *accounts, wanted.amount_minor
    )


class EntryUnknown(NotFound):
    """There is no such entry."""

    code = "entry_unknown"


def entry(conn: Connection, tenant_id: str, entry_id: str, now: datetime | None = None) -> Entry:
    """
    Return an entry, as it stands at a moment.

    :raises EntryUnknown: if this tenant has none with this id.
    """
    row = repository.find(conn, table, tenant_id, entry_id)
    if row is None:
        raise EntryUnknown(entry_id=entry_id)
    return _entry(row, now)


def entries(
    conn: Connection,
    tenant_id: str,
    *,
    now: datetime,
    state: str | None = None,
    cardholder_id: str | None = None,
    after: str = "",
    limit: int,
) -> list[Entry]:
    """
    Return entries newest first, as they stand at a moment; `after` is the id of the last entry of the page before.

    An entry whose time is over is `expired`, whether anybody has marked it yet or not.
    """
    rows = repository.newest_entries(
        conn, tenant_id, now=now, state=state, cardholder_id=cardholder_id, after=after, limit=limit
    )
    return [_entry(row, now) for row in rows]


class SamePerson(Forbidden):
    """A second person must decide."""

    code = "same_person"


class EntryNotOpen(Conflict):
    """The entry was decided, or its time is over."""

    code = "entry_not_open"


class EntryNotCovered(Conflict):
    """The account it takes from has not so much money."""

    code = "entry_not_covered"


def approve(
    conn: Connection, *, tenant_id: str, entry_id: str, approved_by: str, now: datetime, note: str = ""
) -> Entry:
    """
    Return the entry after moving its money, in this transaction; the same person's second approval changes nothing.

    :raises EntryUnknown: if this tenant has none with this id.
    :raises backend.payments.entry_checks.StaffRoleMissing: if the one who approves may not.
    :raises SamePerson: if the one who proposed it tries.
    :raises backend.payments.entry_checks.OwnMoney: if it is the approver's own.
    :raises EntryNotOpen: if it was decided or has expired.
    :raises EntryNotCovered: if the account it takes from has not so much.
    :raises backend.ledger.service.CreditInUse: if a credit limit is below what is owed; also CreditEndRefused.
    :raises backend.payments.paid_otherwise.NotPayable: if the refund it pays was asked for again or given meanwhile.
    """
    ledger.lock(conn, tenant_id)
    found = entry(conn, tenant_id, entry_id, now)
    entry_checks.demand_staff(conn, tenant_id, approved_by, people_rules.APPROVERS)
    if approved_by == found.proposed_by:
        raise SamePerson
    entry_checks.check_distance(approved_by, found.cardholder_id, found.debit_account_id, found.credit_account_id)
    words = entry_checks.check_note(note)
    if found.state in ("executed", "ended") and found.decided_by == approved_by:
        return found
    if found.state != "proposed":
        raise EntryNotOpen(entry_id=entry_id, state=found.state)
    pays = _check_payable(conn, found)
    _decide(conn, found, "executed", approved_by, words, now)
    if pays is not None and paid_otherwise.settled_minor(conn, pays) == pays.amount_minor:
        steps.close_cases(conn, pays, now, note=_PAID_BY_HAND, closed_by=approved_by)
    if found.kind == "refund":
        _refund(conn, found, now)
        _conclude_dispute(conn, found, approved_by, now)
    elif found.kind == credit_limits.KIND:
        _lend(conn, found, approved_by, now)
    else:
        _post(conn, found, now)
    if found.kind == "payout":
        repository.change(conn, payouts, tenant_id, found.subject_id, state="paid", paid_at=now)
    credit_limits.follow(conn, tenant_id, now)  # a debt may be paid now
    return entry(conn, tenant_id, entry_id)


def _refund(conn: Connection, found: Entry, now: datetime) -> None:
    payments.request_refund(
        conn,
        tenant_id=found.tenant_id,
        refund_id=f"rf_{found.entry_id}",
        auth_id=found.subject_id,
        amount_minor=found.amount_minor,
        reason="staff",
        now=now,
    )


def _lend(conn: Connection, found: Entry, approved_by: str, now: datetime) -> None:
    credit_limits.check_end(found.ends_at, now)
    entry_checks.check_owner(conn, found.tenant_id, found.cardholder_id, credit_minor=_credit_minor(found))
    credit_limits.put_in_force(
        conn,
        tenant_id=found.tenant_id,
        entry_id=found.entry_id,
        cardholder_id=found.cardholder_id,
        limit_minor=found.amount_minor,
        reason=found.reason,
        agreed_by=approved_by,
        now=now,
    )


def _conclude_dispute(conn: Connection, found: Entry, approved_by: str, now: datetime) -> None:
    for row in repository.find_by(conn, disputes, found.tenant_id, entry_id=found.entry_id, state="upheld"):
        repository.change(conn, disputes, found.tenant_id, row["dispute_id"], state="refunded")
        about = cases.case_of(conn, found.tenant_id, "dispute", row["dispute_id"])
        if about is not None and about.state == "open":
            cases.close_case(
                conn,
                tenant_id=found.tenant_id,
                case_id=about.case_id,
                closed_by=approved_by,
                note=row["answer"],
                now=now,
            )


def _account(conn: Connection, tenant_id: str, account_id: str) -> str:
    kind, _, owner = account_id.partition("/")
    return ledger.account(conn, tenant_id, kind, owner)


def _post(conn: Connection, found: Entry, now: datetime) -> None:
    if found.kind == "cash_top_up":
        entry_checks.check_owner(conn, found.tenant_id, found.cardholder_id, credit_minor=_credit_minor(found))
    request = TransferRequest(
        transfer_id=f"{found.entry_id}.entry",
        kind=TransferKind.SINGLE,
        debit_account_id=_account(conn, found.tenant_id, found.debit_account_id),
        credit_account_id=_account(conn, found.tenant_id, found.credit_account_id),
        amount_minor=found.amount_minor,
        event_at=now,
        reference=found.subject_id or found.entry_id,
        memo=people_rules.MEMOS[found.kind],
    )
    result = ledger.execute(conn, found.tenant_id, [request], now=now)[0]
    if result.code is Code.INSUFFICIENT:
        raise EntryNotCovered(entry_id=found.entry_id)
    assert result.code is Code.OK, result


def _decide(conn: Connection, found: Entry, state: str, decided_by: str, note: str, now: datetime) -> None:
    decision = {"state": state, "decided_by": decided_by, "decided_at": now, "note": note}
    repository.change(conn, table, found.tenant_id, found.entry_id, **decision)


def reject(conn: Connection, *, tenant_id: str, entry_id: str, rejected_by: str, note: str, now: datetime) -> Entry:
    """
    Return the entry after refusing it with words; no money moves, now or later. The one who proposed may take it back.

    :raises EntryUnknown: if this tenant has none with this id.
    :raises backend.payments.entry_checks.StaffRoleMissing: if the one who refuses may neither propose nor approve.
    :raises backend.payments.entry_checks.ReasonTooShort: unless the words have 10 to 500 characters.
    :raises EntryNotOpen: if it was decided or has expired.
    """
    ledger.lock(conn, tenant_id)
    found = entry(conn, tenant_id, entry_id, now)
    entry_checks.demand_staff(conn, tenant_id, rejected_by, people_rules.APPROVERS | people_rules.PROPOSERS)
    words = entry_checks.check_reason(note)
    if found.state == "rejected" and (found.decided_by, found.note) == (rejected_by, words):
        return found
    if found.state != "proposed":
        raise EntryNotOpen(entry_id=entry_id, state=found.state)
    _decide(conn, found, "rejected", rejected_by, words, now)
    _hand_back(conn, found)
    return entry(conn, tenant_id, entry_id)


def _hand_back(conn: Connection, found: Entry) -> None:
    """Let what waited for the entry be proposed again."""
    where = {"entry_id": found.entry_id}
    repository.change_by(
        conn, disputes, found.tenant_id, {**where, "state": "upheld"}, state="open", amount_minor=0, entry_id=""
    )
    repository.change_by(conn, payouts, found.tenant_id, {**where, "state": "waiting"}, state="payable", entry_id="")


def expire_due(conn: Connection, tenant_id: str, now: datetime, limit: int = 1_000) -> list[Entry]:
    """Return the entries that nobody decided in time, now expired; what waited for them can be proposed again."""
    ledger.lock(conn, tenant_id)
    expired = []
    for row in repository.entries_past(conn, tenant_id, now, limit):
        found = _entry(row)
        repository.change(conn, table, tenant_id, found.entry_id, state="expired", decided_at=found.expires_at)
        _hand_back(conn, found)
        expired.append(replace(found, state="expired", decided_at=found.expires_at))
    return expired
