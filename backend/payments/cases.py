"""
Cases: what the machinery could not settle by itself and a person must look at.

A case is opened once per kind and subject, whoever reports it how often; later reports are counted. Its evidence is
what was known at the first report, and what was added since. Closing needs words and a name, and is final.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping

from backend.errors import BackendError, Conflict, NotFound
from backend.kit.ids import new_id
from backend.payments import people_repository as repository
from backend.payments.people_repository import cases as table

#: What a case may be about.
KINDS = frozenset(
    {
        "late_success",
        "capture_refused",
        "refund_refused",
        "void_refused",
        "unknown_abandoned",
        "amount_differs",
        "notification_forged",
        "statement_only",
        "overcharged",
        "dispute",
        "top_up_missing",
        "books_differ",
    }
)
#: Who closes a case that settled itself.
BY_ITSELF = "system"
#: The note of a case that nobody has to see to any more.
DONE_AFTER_ALL = "渠道后来办成了，账已记好。 The provider has done it after all; it is booked."
#: The note of a case about an order whose fate is known now.
KNOWN_AFTER_ALL = "结果已查明，账已记好。 What became of it is known now; it is booked."
NOTE_CHARS_MIN = 5
NOTE_CHARS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Case:
    """Something a person must look at. `evidence` is what was known when it was first reported."""

    tenant_id: str
    case_id: str
    kind: str
    subject_id: str
    amount_minor: int
    evidence: dict[str, Any]
    times_seen: int
    state: str
    created_at: datetime
    closed_at: datetime | None
    closed_by: str
    note: str


_FIELDS = tuple(field.name for field in fields(Case))


def _case(row: RowMapping) -> Case:
    return Case(**{name: row[name] for name in _FIELDS})


def open_case(
    conn: Connection,
    *,
    tenant_id: str,
    kind: str,
    subject_id: str,
    amount_minor: int,
    evidence: Mapping[str, Any],
    now: datetime,
) -> Case:
    """Return the case of a kind and subject, opening it when this is the first report, counting it otherwise."""
    assert kind in KINDS, f"no case is a {kind!r}"
    assert subject_id, "a case is about something"
    case_id = new_id("case")
    values = {
        "tenant_id": tenant_id,
        "case_id": case_id,
        "kind": kind,
        "subject_id": subject_id,
        "amount_minor": amount_minor,
        "evidence": dict(evidence),
        "times_seen": 1,
        "state": "open",
        "created_at": now,
        "closed_at": None,
        "closed_by": "",
        "note": "",
    }
    if repository.add(conn, table, values):
        return case(conn, tenant_id, case_id)
    there = repository.find_by(conn, table, tenant_id, kind=kind, subject_id=subject_id)[0]
    repository.see_case_again(conn, tenant_id, there["case_id"])
    return case(conn, tenant_id, there["case_id"])


def add_evidence(conn: Connection, about: Case, **more: Any) -> None:
    """Keep something more, or something newer, with a case that this transaction has already changed or locked."""
    repository.change(conn, table, about.tenant_id, about.case_id, evidence={**about.evidence, **more})


class CaseUnknown(NotFound):
    """There is no such case."""

    code = "case_unknown"


def case(conn: Connection, tenant_id: str, case_id: str) -> Case:
    """
    Return a case.

    :raises CaseUnknown: if this tenant has none with this id.
    """
    row = repository.find(conn, table, tenant_id, case_id)
    if row is None:
        raise CaseUnknown(case_id=case_id)
    return _case(row)


def case_of(conn: Connection, tenant_id: str, kind: str, subject_id: str) -> Case | None:
    """Return the case of a kind and subject, or None."""
    rows = repository.find_by(conn, table, tenant_id, kind=kind, subject_id=subject_id)
    return _case(rows[0]) if rows else None


def cases(
    conn: Connection, tenant_id: str, *, state: str | None = None, kind: str | None = None, after: str = "", limit: int
) -> list[Case]:
    """Return cases newest first; `after` is the id of the last case of the page before."""
    wanted = repository.equal(table, state=state, kind=kind)
    return [_case(row) for row in repository.newest(conn, table, tenant_id, *wanted, after=after, limit=limit)]


class CaseClosed(Conflict):
    """The case was closed, with other words or by somebody else."""

    code = "case_closed"


class NoteTooShort(BackendError):
    """Say in a few words what was found and done."""

    code = "note_too_short"


def close_case(conn: Connection, *, tenant_id: str, case_id: str, closed_by: str, note: str, now: datetime) -> Case:
    """
    Return a case after closing it with words; the same closing again changes nothing.

    :raises CaseUnknown: if this tenant has none with this id.
    :raises NoteTooShort: unless the note has 5 to 1,000 characters.
    :raises CaseClosed: if it was closed otherwise.
    """
    assert closed_by, "somebody closes"
    words = note.strip()
    if not NOTE_CHARS_MIN <= len(words) <= NOTE_CHARS_MAX:
        raise NoteTooShort(chars_min=NOTE_CHARS_MIN)
    found = case(conn, tenant_id, case_id)
    if found.state == "open":
        where = {"case_id": case_id, "state": "open"}
        closed = {"state": "closed", "closed_at": now, "closed_by": closed_by, "note": words}
        repository.change_by(conn, table, tenant_id, where, **closed)
        found = case(conn, tenant_id, case_id)
    if (found.closed_by, found.note) != (closed_by, words):
        raise CaseClosed(case_id=case_id, closed_by=found.closed_by)
    return found


def close_open(
    conn: Connection, tenant_id: str, kinds: Iterable[str], subject_id: str, *, closed_by: str, note: str, now: datetime
) -> None:
    """Close the cases of some kinds about a subject that are still open."""
    for kind in kinds:
        about = case_of(conn, tenant_id, kind, subject_id)
        if about is not None and about.state == "open":
            close_case(conn, tenant_id=tenant_id, case_id=about.case_id, closed_by=closed_by, note=note, now=now)
