"""
Writes the lines of transfers: where each stands in the statements of its two accounts.

A line's place is at random among all lines, so writing it is dearer than all else about a transfer. Done for many
transfers at once, in the order of the lines, it is cheaper, and nobody has to wait for it: until then statements find
the newest transfers by their numbers (`history_repository`).
"""

from typing import Any

from sqlalchemy import BigInteger, Connection, Insert, bindparam, case, insert, select, union_all, update

from backend.db.insert import insert_once
from backend.ledger.models import books, lines, listings, transfers
from backend.ledger.rules import TransferKind

POSTING = (TransferKind.SINGLE.value, TransferKind.POST.value)
#: This many transfers without lines cost a statement next to nothing.
UNLISTED_MAX = 256
#: What one call lists at most: some milliseconds of work, and more than a batch can add.
LIST_MAX = 4_096


def list_new(conn: Connection, tenant_id: str, limit: int = LIST_MAX) -> int:
    """
    Write the lines of the oldest transfers that have none, and return how many transfers are then left without.

    Whoever else lists meanwhile waits; whoever executes transfers does not.
    """
    where = listings.c.tenant_id == tenant_id
    query = select(listings.c.listed_number).where(where).with_for_update()
    listed = conn.execute(query).scalar_one_or_none()
    if listed is None:
        insert_once(conn, listings, {"tenant_id": tenant_id, "listed_number": 0})
        listed = conn.execute(query).scalar_one()
    last = conn.execute(select(books.c.last_number).where(books.c.tenant_id == tenant_id)).scalar_one_or_none() or 0
    reached = min(last, listed + limit)
    if reached > listed:
        conn.execute(_LISTING, {"tenant": tenant_id, "listed": listed, "reached": reached})
        conn.execute(update(listings).where(where).values(listed_number=reached))
    return int(last - reached)


def _listing() -> Insert:
    """Return the statement that writes the lines of a range of numbers, in the order in which they will stand."""
    posted = case((transfers.c.kind.in_(POSTING), transfers.c.amount_minor), else_=0)
    sides: list[Any] = [
        select(
            transfers.c.tenant_id,
            column.label("account_id"),
            transfers.c.event_at,
            transfers.c.number,
            (sign * posted).label("credit_minor"),
        ).where(
            transfers.c.tenant_id == bindparam("tenant"),
            transfers.c.number > bindparam("listed", type_=BigInteger()),
            transfers.c.number <= bindparam("reached", type_=BigInteger()),
        )
        for column, sign in ((transfers.c.credit_account_id, 1), (transfers.c.debit_account_id, -1))
    ]
    both = union_all(*sides).subquery("both")
    ordered = select(both).order_by(both.c.account_id, both.c.event_at, both.c.number)
    return insert(lines).from_select([column.name for column in lines.columns], ordered)


_LISTING = _listing()
