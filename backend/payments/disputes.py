"""
Disputes: a person says that a charge is wrong, finance decides, and what is given back a second person approves.

    open → upheld → refunded
         ↘ rejected     upheld → open, when the second person refuses the refund or its time runs out

Here is what the payments keep of it. Opening and deciding also move the water session and are use cases of its own
slice: `backend.water_sessions.disputing`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping

from backend.errors import BackendError, Conflict, NotFound
from backend.ledger import service as ledger
from backend.payments import cases, entry_checks, people_rules, staff_entries
from backend.payments import people_repository as repository
from backend.payments import service as payments
from backend.payments.people_repository import disputes as table


@dataclass(frozen=True, slots=True)
class Dispute:
    """A charge its payer says is wrong, and what became of that."""

    tenant_id: str
    dispute_id: str
    water_session_id: str
    auth_id: str
    cardholder_id: str
    reason: str
    text: str
    state: str
    created_at: datetime
    #: what is given back when it is upheld
    amount_minor: int = 0
    answer: str = ""
    decided_by: str = ""
    decided_at: datetime | None = None
    #: the refund that a second person approves
    entry_id: str = ""


_FIELDS = tuple(field.name for field in fields(Dispute))


def _dispute(row: RowMapping) -> Dispute:
    return Dispute(**{name: row[name] for name in _FIELDS})


class DisputeReasonRefused(BackendError):
    """A dispute has one of the reasons there are, and at most 1,000 characters."""

    code = "dispute_reason_refused"
    status = 422


class DisputeNotPossible(Conflict):
    """Nothing was charged for this session that could be disputed."""

    code = "dispute_not_possible"


class DisputeTooLate(Conflict):
    """A charge can be disputed for 30 days."""

    code = "dispute_too_late"


class DisputeOpen(Conflict):
    """This session is being looked at already."""

    code = "dispute_open"


class DisputeDiffers(Conflict):
    """This dispute id already stands for something else."""

    code = "dispute_differs"


def record_dispute(
    conn: Connection,
    *,
    tenant_id: str,
    dispute_id: str,
    water_session_id: str,
    cardholder_id: str,
    reason: str,
    text: str,
    settled_at: datetime,
    evidence: Mapping[str, Any],
    now: datetime,
) -> tuple[Dispute, bool]:
    """
    Return a new dispute with its case and True, or the one this id already stands for and False.

    :raises DisputeReasonRefused: if the reason is none of those there are, or the text too long.
    :raises DisputeDiffers: if the id stands for something else.
    :raises DisputeTooLate: more than 30 days after the session was settled.
    :raises DisputeNotPossible: if nothing was captured, all of it was given back, or it was disputed three times.
    :raises DisputeOpen: if another dispute about the session is undecided.
    """
    words = text.strip()
    if reason not in people_rules.DISPUTE_REASONS or len(words) > people_rules.DISPUTE_TEXT_CHARS_MAX:
        raise DisputeReasonRefused(reason=reason[:32])
    entry_checks.check_id(dispute_id)
    ledger.lock(conn, tenant_id)
    there = repository.find(conn, table, tenant_id, dispute_id)
    if there is not None:
        named = (water_session_id, cardholder_id, reason, words)
        if (there["water_session_id"], there["cardholder_id"], there["reason"], there["text"]) != named:
            raise DisputeDiffers(dispute_id=dispute_id)
        return _dispute(there), False
    if now - settled_at > people_rules.DISPUTE_WINDOW:
        raise DisputeTooLate(days=people_rules.DISPUTE_WINDOW.days)
    auth_id, left = _paid_by(conn, tenant_id, water_session_id, cardholder_id)
    earlier = repository.find_by(conn, table, tenant_id, water_session_id=water_session_id)
    if any(row["state"] in ("open", "upheld") for row in earlier):
        raise DisputeOpen(water_session_id=water_session_id)
    if left <= 0 or len(earlier) >= people_rules.DISPUTES_PER_SESSION_MAX:
        raise DisputeNotPossible(water_session_id=water_session_id)
    new = Dispute(
        tenant_id, dispute_id, water_session_id, auth_id, cardholder_id, reason, words, state="open", created_at=now
    )
    is_new = repository.add(conn, table, {name: getattr(new, name) for name in _FIELDS})
    assert is_new, "the ledger's lock makes this the only one"
    cases.open_case(
        conn,
        tenant_id=tenant_id,
        kind="dispute",
        subject_id=dispute_id,
        amount_minor=left,
        evidence={**evidence, "water_session_id": water_session_id, "reason": reason, "text": words},
        now=now,
    )
    return new, True


def _paid_by(conn: Connection, tenant_id: str, water_session_id: str, cardholder_id: str) -> tuple[str, int]:
    """Return the authorization a person paid a session with, and how much of it could be given back."""
    for auth_id in repository.authorization_ids(conn, tenant_id, water_session_id):
        found = payments.authorization(conn, tenant_id, auth_id)
        if found.captured_minor > 0 and found.cardholder_id == cardholder_id:
            return auth_id, entry_checks.refundable_minor(conn, tenant_id, auth_id)
    raise DisputeNotPossible(water_session_id=water_session_id)


class DisputeUnknown(NotFound):
    """There is no such dispute."""

    code = "dispute_unknown"


def dispute(conn: Connection, tenant_id: str, dispute_id: str) -> Dispute:
    """
    Return a dispute.

    :raises DisputeUnknown: if this tenant has none with this id.
    """
    row = repository.find(conn, table, tenant_id, dispute_id)
    if row is None:
        raise DisputeUnknown(dispute_id=dispute_id)
    return _dispute(row)


def disputes(
    conn: Connection,
    tenant_id: str,
    *,
    state: str | None = None,
    cardholder_id: str | None = None,
    water_session_id: str | None = None,
    after: str = "",
    limit: int,
) -> list[Dispute]:
    """Return disputes newest first; `after` is the id of the last dispute of the page before."""
    wanted = repository.equal(table, state=state, cardholder_id=cardholder_id, water_session_id=water_session_id)
    return [_dispute(row) for row in repository.newest(conn, table, tenant_id, *wanted, after=after, limit=limit)]


class DisputeNotOpen(Conflict):
    """The dispute was decided, or its refund waits for a second person."""

    code = "dispute_not_open"


class AnswerTooShort(BackendError):
    """The person reads the answer: say in a few words what was found."""

    code = "answer_too_short"
    status = 422


def record_decision(
    conn: Connection,
    *,
    tenant_id: str,
    dispute_id: str,
    upheld_minor: int,
    answer: str,
    decided_by: str,
    entry_id: str,
    now: datetime,
) -> Dispute:
    """
    Return the dispute after deciding it: an amount upholds it and proposes the refund `entry_id`, zero rejects it.

    The same decision again changes nothing.

    :raises DisputeUnknown: if this tenant has none with this id.
    :raises backend.payments.entry_checks.StaffRoleMissing: if the one who decides is not of finance.
    :raises AnswerTooShort: unless the answer has 5 to 500 characters.
    :raises DisputeNotOpen: if it was decided otherwise.
    :raises backend.payments.entry_checks.NotRefundable: if so much cannot be given back.
    :raises backend.payments.staff_entries.EntryDiffers: if the entry id was used before.
    """
    assert upheld_minor >= 0, "an amount is not negative"
    ledger.lock(conn, tenant_id)
    staff_entries.expire_due(conn, tenant_id, now)
    found = dispute(conn, tenant_id, dispute_id)
    entry_checks.demand_staff(conn, tenant_id, decided_by, people_rules.PROPOSERS)
    words = answer.strip()
    if not people_rules.ANSWER_CHARS_MIN <= len(words) <= people_rules.REASON_CHARS_MAX:
        raise AnswerTooShort(chars_min=people_rules.ANSWER_CHARS_MIN, chars_max=people_rules.REASON_CHARS_MAX)
    if found.state != "open":
        if (found.amount_minor, found.answer, found.decided_by) != (upheld_minor, words, decided_by):
            raise DisputeNotOpen(dispute_id=dispute_id, state=found.state)
        return found
    decision: dict[str, Any] = {"answer": words, "decided_by": decided_by, "decided_at": now}
    if upheld_minor == 0:
        repository.change(conn, table, tenant_id, dispute_id, state="rejected", **decision)
        _close_case(conn, found, decided_by, words, now)
        return dispute(conn, tenant_id, dispute_id)
    proposed = staff_entries.propose(
        conn,
        tenant_id=tenant_id,
        entry_id=entry_id,
        kind="refund",
        cardholder_id=found.cardholder_id,
        amount_minor=upheld_minor,
        reason=f"dispute {dispute_id}: {words}"[: people_rules.REASON_CHARS_MAX],
        proposed_by=decided_by,
        now=now,
        subject_id=found.auth_id,
    )
    if proposed.state != "proposed":
        raise staff_entries.EntryDiffers(entry_id=entry_id)
    upheld = {"state": "upheld", "amount_minor": upheld_minor, "entry_id": entry_id}
    repository.change(conn, table, tenant_id, dispute_id, **upheld, **decision)
    return dispute(conn, tenant_id, dispute_id)


def _close_case(conn: Connection, found: Dispute, by: str, words: str, now: datetime) -> None:
    about = cases.case_of(conn, found.tenant_id, "dispute", found.dispute_id)
    if about is not None and about.state == "open":
        cases.close_case(conn, tenant_id=found.tenant_id, case_id=about.case_id, closed_by=by, note=words, now=now)
