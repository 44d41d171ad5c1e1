"""
Where the money stands, for whoever looks after it: what is held and since when, what waits, what is owed.

Sums are over everything a school has, however long its lists are.
"""

from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from sqlalchemy import Connection

from backend.payments import service as payments
from backend.payments import standing_repository as repository
from backend.payments.types import Authorization, Refund

#: How old a hold can be, youngest class first: its name and the age it ends before.
_AGES: tuple[tuple[str, timedelta | None], ...] = (
    ("hour", timedelta(hours=1)),
    ("day", timedelta(days=1)),
    ("week", timedelta(days=7)),
    ("older", None),
)


@dataclass(frozen=True, slots=True)
class Sum:
    """How many there are of something, and what they come to."""

    count: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class AgeClass:
    """The holds of one age: under an hour, under a day, under a week, or older."""

    name: str
    count: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class KindTotal:
    """The open cases of one kind; `since` is when the oldest began."""

    kind: str
    count: int
    amount_minor: int
    since: datetime


def holds_by_age(conn: Connection, tenant_id: str, now: datetime) -> list[AgeClass]:
    """Return what is held now, by age, youngest first; every class is there, empty or not."""
    found, before = [], None
    for name, age in _AGES:
        since = None if age is None else now - age
        count, amount_minor = repository.held_in(conn, tenant_id, since, before)
        found.append(AgeClass(name, count, amount_minor))
        before = since
    return found


def oldest_holds(conn: Connection, tenant_id: str, limit: int) -> list[Authorization]:
    """Return the authorizations that have held money longest, oldest first."""
    ids = repository.oldest_held(conn, tenant_id, limit)
    return [payments.authorization(conn, tenant_id, auth_id) for auth_id in ids]


def open_cases(conn: Connection, tenant_id: str) -> list[KindTotal]:
    """Return the open cases by kind, the kind with the oldest first."""
    return [KindTotal(*row) for row in repository.open_cases(conn, tenant_id)]


def waiting_entries(conn: Connection, tenant_id: str, now: datetime) -> Sum:
    """Return what entries wait for a second person."""
    return Sum(*repository.waiting_entries(conn, tenant_id, now))


def unpaid_refunds(conn: Connection, tenant_id: str) -> Sum:
    """Return what refunds have not arrived yet."""
    return Sum(*repository.unpaid_refunds(conn, tenant_id))


def refunds(conn: Connection, tenant_id: str, *, state: str | None = None, after: str = "", limit: int) -> list[Refund]:
    """Return refunds newest first; `after` is the id of the last refund of the page before."""
    names = [field.name for field in fields(Refund)]
    rows = repository.newest_refunds(conn, tenant_id, state=state, after=after, limit=limit)
    return [Refund(**{name: row[name] for name in names}) for row in rows]
