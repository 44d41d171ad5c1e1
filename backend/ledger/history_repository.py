"""
The SQL that tells what happened: statements of an account by the time things happened, transfers of a reference.

The newest transfers may not have their lines yet (`listing_repository`); they are few, and found by their numbers.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Subquery, and_, case, func, or_, select, union_all

from backend.ledger.listing_repository import POSTING
from backend.ledger.models import lines, listings, residues, transfers
from backend.ledger.repository import to_transfer
from backend.ledger.rules import Transfer

_TRANSFER = [transfers.c[name] for name in Transfer.__struct_fields__]


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a statement: at this time, after the transfer of this number."""

    event_at: datetime
    number: int


def _listed(conn: Connection, tenant_id: str) -> int:
    """Return how far the lines go now: asked first, for a planner that does not know the number reads everything."""
    query = select(listings.c.listed_number).where(listings.c.tenant_id == tenant_id)
    return int(conn.execute(query).scalar_one_or_none() or 0)


def _entries(conn: Connection, tenant_id: str, account: str) -> list[Subquery]:
    """
    Return an account's lines, written and not: when it happened, number, and what it credits (minus: debits).

    Both parts are cut at one number, so that lines written meanwhile are in one of them only.
    """
    listed = _listed(conn, tenant_id)
    posted = case((transfers.c.kind.in_(POSTING), transfers.c.amount_minor), else_=0)
    sign = case((transfers.c.credit_account_id == account, 1), else_=-1)
    written = select(lines.c.event_at, lines.c.number, lines.c.credit_minor).where(
        lines.c.tenant_id == tenant_id, lines.c.account_id == account, lines.c.number <= listed
    )
    unwritten = select(transfers.c.event_at, transfers.c.number, (sign * posted).label("credit_minor")).where(
        transfers.c.tenant_id == tenant_id,
        transfers.c.number > listed,
        or_(transfers.c.credit_account_id == account, transfers.c.debit_account_id == account),
    )
    return [written.subquery("written"), unwritten.subquery("unwritten")]


def _during(
    entries: Subquery, since: datetime | None, until: datetime | None, before: Place | None
) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    if since is not None:
        where.append(entries.c.event_at >= since)
    if until is not None:
        where.append(entries.c.event_at < until)
    if before is not None:
        where += [entries.c.event_at <= before.event_at, _before(entries, before)]
    return where


def _before(entries: Subquery, place: Place) -> ColumnElement[bool]:
    return or_(
        entries.c.event_at < place.event_at,
        and_(entries.c.event_at == place.event_at, entries.c.number < place.number),
    )


def statement_rows(
    conn: Connection,
    tenant_id: str,
    account: str,
    limit: int,
    before: Place | None,
    since: datetime | None,
    until: datetime | None,
) -> list[tuple[int, Transfer]]:
    """Return an account's transfers with their numbers, newest first."""
    parts = []
    for entries in _entries(conn, tenant_id, account):  # each by itself, for its own index ends a page early
        part = select(entries.c.event_at, entries.c.number).where(*_during(entries, since, until, before))
        part = part.order_by(entries.c.event_at.desc(), entries.c.number.desc()).limit(limit)
        parts.append(select(part.subquery()))
    both = union_all(*parts).subquery("both")
    newest = (
        select(both.c.number).order_by(both.c.event_at.desc(), both.c.number.desc()).limit(limit).subquery("newest")
    )
    query = (
        select(transfers.c.number, *_TRANSFER)
        .select_from(newest.join(transfers, transfers.c.number == newest.c.number))
        .where(transfers.c.tenant_id == tenant_id)
        .order_by(transfers.c.event_at.desc(), transfers.c.number.desc())
    )
    return [(row[0], to_transfer(row[1:])) for row in conn.execute(query)]


def credits_less_debits(
    conn: Connection, tenant_id: str, account: str, *, since: datetime | None, before: Place | None
) -> int:
    """Return what was credited less what was debited to an account, posted, from a time or a place on."""
    parts = []
    for entries in _entries(conn, tenant_id, account):
        where = _during(entries, since, None, None)
        if before is not None:
            where += [entries.c.event_at >= before.event_at, ~_before(entries, before)]
        parts.append(select(func.coalesce(func.sum(entries.c.credit_minor), 0)).where(*where).scalar_subquery())
    written, unwritten = parts
    return int(conn.execute(select(written + unwritten)).scalar_one())


def turnover(conn: Connection, tenant_id: str, account: str, since: datetime, until: datetime) -> tuple[int, int]:
    """Return what was debited and what was credited to an account, posted, in a period."""
    parts = []
    for entries in _entries(conn, tenant_id, account):
        minor = entries.c.credit_minor
        debited, credited = case((minor < 0, -minor), else_=0), case((minor > 0, minor), else_=0)
        figures = [func.coalesce(func.sum(side), 0) for side in (debited, credited)]
        parts.append(select(*figures).where(*_during(entries, since, until, None)))
    rows = conn.execute(union_all(*parts)).all()  # in one statement, so that no transfer is in both or in neither
    return sum(int(row[0]) for row in rows), sum(int(row[1]) for row in rows)


def hold_amounts(conn: Connection, tenant_id: str, ids: Collection[str]) -> dict[str, int]:
    """Return the amounts of these holds, by id."""
    query = select(transfers.c.transfer_id, transfers.c.amount_minor).where(
        transfers.c.tenant_id == tenant_id, transfers.c.transfer_id.in_(sorted(ids))
    )
    return {row.transfer_id: row.amount_minor for row in conn.execute(query)}


def by_reference(conn: Connection, tenant_id: str, reference: str) -> list[Transfer]:
    """Return the transfers that carry a reference, in the order they were decided."""
    query = (
        select(*_TRANSFER)
        .where(transfers.c.tenant_id == tenant_id, transfers.c.reference == reference)
        .order_by(transfers.c.number)
    )
    return [to_transfer(row) for row in conn.execute(query)]


def uneven_references(conn: Connection, tenant_id: str) -> list[tuple[str, int]]:
    """Return each reference that left something on a clearing account, with how much."""
    query = select(residues.c.reference, residues.c.residue_minor).where(residues.c.tenant_id == tenant_id)
    found = conn.execute(query.order_by(residues.c.reference, residues.c.account_id))
    return [(row[0], int(row[1])) for row in found]
