"""The SQL that counts again: what all transfers, or those since the last checkpoint, make of the accounts' sums."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, FromClause, Select, case, exists, func, literal, or_, select, union_all, update
from sqlalchemy.dialects import postgresql, sqlite

from backend.ledger.listing_repository import POSTING
from backend.ledger.models import accounts, books, checkpoints, residues, transfers
from backend.ledger.rules import TransferKind

SUMS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
Sums = tuple[int, int, int, int]
_held = transfers.alias("held")
_resolution = transfers.alias("resolution")


def totals(conn: Connection, tenant_id: str) -> Sums:
    """Return the tenant's sums over all accounts."""
    query = select(*(func.coalesce(func.sum(accounts.c[name]), 0) for name in SUMS))
    return _sums(conn.execute(query.where(accounts.c.tenant_id == tenant_id)).one())


def running_sums(conn: Connection, tenant_id: str) -> dict[str, Sums]:
    """Return the running sums of all accounts, by id."""
    query = select(accounts.c.account_id, *(accounts.c[name] for name in SUMS)).where(accounts.c.tenant_id == tenant_id)
    return {row[0]: _sums(row[1:]) for row in conn.execute(query.order_by(accounts.c.account_id))}


def recount(conn: Connection, tenant_id: str) -> dict[str, Sums]:
    """Return what all transfers add up to, by account id."""
    resolved = exists().where(
        _resolution.c.tenant_id == transfers.c.tenant_id, _resolution.c.pending_id == transfers.c.transfer_id
    )
    held = case(((transfers.c.kind == TransferKind.PENDING.value) & ~resolved, transfers.c.amount_minor), else_=0)
    posted = case((transfers.c.kind.in_(POSTING), transfers.c.amount_minor), else_=0)
    counted: dict[str, list[int]] = {}
    for side, column in enumerate((transfers.c.debit_account_id, transfers.c.credit_account_id)):
        query = select(column, func.sum(held), func.sum(posted)).where(transfers.c.tenant_id == tenant_id)
        for row in conn.execute(query.group_by(column)):
            entry = counted.setdefault(row[0], [0, 0, 0, 0])
            entry[2 * side : 2 * side + 2] = [int(row[1]), int(row[2])]
    return {key: _sums(value) for key, value in counted.items()}


def recounted_residues(conn: Connection, tenant_id: str, kinds: Iterable[str]) -> dict[tuple[str, str], int]:
    """Return what is left by account and reference on accounts of these kinds, from all transfers."""
    left: dict[tuple[str, str], int] = {}
    for column, sign in ((transfers.c.credit_account_id, 1), (transfers.c.debit_account_id, -1)):
        query = (
            select(column, transfers.c.reference, func.sum(transfers.c.amount_minor))
            .join(accounts, (accounts.c.tenant_id == transfers.c.tenant_id) & (accounts.c.account_id == column))
            .where(transfers.c.tenant_id == tenant_id, transfers.c.kind.in_(POSTING), accounts.c.kind.in_(list(kinds)))
            .group_by(column, transfers.c.reference)
        )
        for row in conn.execute(query):
            left[row[0], row[1]] = left.get((row[0], row[1]), 0) + sign * int(row[2])
    return {key: minor for key, minor in left.items() if minor}


def kept_residues(conn: Connection, tenant_id: str) -> dict[tuple[str, str], int]:
    """Return what is kept as left, by account and reference."""
    query = select(residues.c.account_id, residues.c.reference, residues.c.residue_minor)
    return {(row[0], row[1]): int(row[2]) for row in conn.execute(query.where(residues.c.tenant_id == tenant_id))}


def _expected(tenant_id: str) -> FromClause:
    """Return each account's checkpoint plus what the transfers since then add to it."""
    new = (transfers.c.tenant_id == books.c.tenant_id) & (transfers.c.number > books.c.verified_number)
    posted = case((transfers.c.kind.in_(POSTING), transfers.c.amount_minor), else_=0)
    pending = case(
        (transfers.c.kind == TransferKind.PENDING.value, transfers.c.amount_minor),
        else_=-func.coalesce(_held.c.amount_minor, 0),
    )
    source = books.join(transfers, new).outerjoin(
        _held, (_held.c.tenant_id == transfers.c.tenant_id) & (_held.c.transfer_id == transfers.c.pending_id)
    )
    none = literal(0)
    parts: list[Select[tuple[object, ...]]] = [
        select(checkpoints.c.account_id, *(checkpoints.c[name] for name in SUMS)).where(
            checkpoints.c.tenant_id == tenant_id
        )
    ]
    for column, figures in (
        (transfers.c.debit_account_id, (pending, posted, none, none)),
        (transfers.c.credit_account_id, (none, none, pending, posted)),
    ):
        labeled = [figure.label(name) for figure, name in zip(figures, SUMS, strict=True)]
        parts.append(
            select(column.label("account_id"), *labeled).select_from(source).where(books.c.tenant_id == tenant_id)
        )
    rows = union_all(*parts).subquery("parts")
    summed = [func.sum(rows.c[name]).label(name) for name in SUMS]
    return select(rows.c.account_id, *summed).group_by(rows.c.account_id).subquery("expected")


def differing(conn: Connection, tenant_id: str) -> list[tuple[str, Sums, Sums]]:
    """Return the accounts whose running sums are not the checkpoint plus what came since: id, running, expected."""
    expected = _expected(tenant_id)
    mine = select(accounts).where(accounts.c.tenant_id == tenant_id).subquery("mine")
    running = [func.coalesce(mine.c[name], 0) for name in SUMS]
    counted = [func.coalesce(expected.c[name], 0) for name in SUMS]
    either = or_(*(one != other for one, other in zip(running, counted, strict=True)))
    joined = mine.outerjoin(expected, mine.c.account_id == expected.c.account_id)
    orphans = expected.outerjoin(mine, mine.c.account_id == expected.c.account_id)
    found = []
    for query in (
        select(mine.c.account_id, *running, *counted).select_from(joined).where(either),
        select(expected.c.account_id, *running, *counted)
        .select_from(orphans)
        .where(mine.c.account_id.is_(None), either),
    ):
        found += [(row[0], _sums(row[1:5]), _sums(row[5:9])) for row in conn.execute(query)]
    return sorted(found)


def verified_number(conn: Connection, tenant_id: str) -> int:
    """Return the number of the transfer up to which the checkpoints were counted."""
    query = select(books.c.verified_number).where(books.c.tenant_id == tenant_id)
    return int(conn.execute(query).scalar_one_or_none() or 0)


def last_number(conn: Connection, tenant_id: str) -> int:
    """Return the number of the newest transfer."""
    query = select(books.c.last_number).where(books.c.tenant_id == tenant_id)
    return int(conn.execute(query).scalar_one_or_none() or 0)


def set_checkpoints(conn: Connection, tenant_id: str) -> None:
    """Make the running sums the checkpoint. They were just counted again, and the writer's lock is held."""
    dialect = postgresql if conn.dialect.name == "postgresql" else sqlite
    there = checkpoints.alias("there")
    same = (there.c.tenant_id == accounts.c.tenant_id) & (there.c.account_id == accounts.c.account_id)
    changed = or_(there.c.account_id.is_(None), *(there.c[name] != accounts.c[name] for name in SUMS))
    source = (
        select(accounts.c.tenant_id, accounts.c.account_id, *(accounts.c[name] for name in SUMS))
        .select_from(accounts.outerjoin(there, same))
        .where(accounts.c.tenant_id == tenant_id, changed)
    )
    statement = dialect.insert(checkpoints).from_select(["tenant_id", "account_id", *SUMS], source)
    conn.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id", "account_id"], set_={name: statement.excluded[name] for name in SUMS}
        )
    )
    conn.execute(update(books).where(books.c.tenant_id == tenant_id).values(verified_number=books.c.last_number))


def _sums(values: Iterable[Any]) -> Sums:
    one, two, three, four = (int(value) for value in values)
    return one, two, three, four
