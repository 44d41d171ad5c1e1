"""The SQL that tells what happened: statements of an account by the time things happened, transfers of a reference."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, union_all

from backend.ledger.models import residues, transfers
from backend.ledger.repository import to_transfer
from backend.ledger.rules import Transfer, TransferKind

_TRANSFER = [transfers.c[name] for name in Transfer.__struct_fields__]
POSTING = (TransferKind.SINGLE.value, TransferKind.POST.value)


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a statement: at this time, after the transfer of this number."""

    event_at: datetime
    number: int


def _before(place: Place) -> ColumnElement[bool]:
    return or_(
        transfers.c.event_at < place.event_at,
        and_(transfers.c.event_at == place.event_at, transfers.c.number < place.number),
    )


def lines(
    conn: Connection,
    tenant_id: str,
    account: str,
    limit: int,
    before: Place | None,
    since: datetime | None,
    until: datetime | None,
) -> list[tuple[int, Transfer]]:
    """Return an account's transfers with their numbers, newest first; each side is read from its own index."""

    def side(column: ColumnElement[str]) -> Select[tuple[object, ...]]:
        query = select(transfers.c.number, *_TRANSFER).where(transfers.c.tenant_id == tenant_id, column == account)
        if since is not None:
            query = query.where(transfers.c.event_at >= since)
        if until is not None:
            query = query.where(transfers.c.event_at < until)
        if before is not None:
            query = query.where(transfers.c.event_at <= before.event_at, _before(before))
        newest = query.order_by(transfers.c.event_at.desc(), transfers.c.number.desc()).limit(limit).subquery()
        return select(newest)

    both = union_all(side(transfers.c.debit_account_id), side(transfers.c.credit_account_id)).subquery()
    found = conn.execute(select(both).order_by(both.c.event_at.desc(), both.c.number.desc()).limit(limit))
    return [(row[0], to_transfer(row[1:])) for row in found]


def credits_less_debits(
    conn: Connection, tenant_id: str, account: str, *, since: datetime | None, before: Place | None
) -> int:
    """Return what was credited less what was debited to an account, posted, from a time or a place on."""
    total = 0
    for column, sign in ((transfers.c.credit_account_id, 1), (transfers.c.debit_account_id, -1)):
        query = select(func.coalesce(func.sum(transfers.c.amount_minor), 0)).where(
            transfers.c.tenant_id == tenant_id, column == account, transfers.c.kind.in_(POSTING)
        )
        if since is not None:
            query = query.where(transfers.c.event_at >= since)
        if before is not None:
            query = query.where(transfers.c.event_at >= before.event_at, ~_before(before))
        total += sign * int(conn.execute(query).scalar_one())
    return total


def turnover(conn: Connection, tenant_id: str, account: str, since: datetime, until: datetime) -> tuple[int, int]:
    """Return what was debited and what was credited to an account, posted, in a period."""
    found = []
    for column in (transfers.c.debit_account_id, transfers.c.credit_account_id):
        query = select(func.coalesce(func.sum(transfers.c.amount_minor), 0)).where(
            transfers.c.tenant_id == tenant_id,
            column == account,
            transfers.c.kind.in_(POSTING),
            transfers.c.event_at >= since,
            transfers.c.event_at < until,
        )
        found.append(int(conn.execute(query).scalar_one()))
    return found[0], found[1]


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
