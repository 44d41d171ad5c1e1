"""All SQL of the ledger. One code path for SQLite and PostgreSQL; only the lock and `insert` know which it is."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, case, exists, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from backend.ledger.chart import CHART, account_id
from backend.ledger.models import accounts, transfers
from backend.ledger.rules import Account, Decision, Rows, Transfer, TransferKind, TransferRequest

_ACCOUNT_COLUMNS = [accounts.c[field.name] for field in fields(Account)]
_TRANSFER_COLUMNS = [transfers.c[field.name] for field in fields(Transfer)]
_POSTING = (TransferKind.SINGLE.value, TransferKind.POST.value)
_held = transfers.alias("held")
_resolution = transfers.alias("resolution")


def lock_writer(conn: Connection, tenant_id: str) -> None:
    """
    Make this transaction the tenant's only ledger writer until it ends.

    On SQLite the transaction already is: `Database.write` takes the file's write lock when it begins.
    """
    if conn.dialect.name == "postgresql":
        digest = hashlib.sha256(f"ledger:{tenant_id}".encode()).digest()
        conn.execute(select(func.pg_advisory_xact_lock(int.from_bytes(digest[:8], "big", signed=True))))


def create_account(conn: Connection, tenant_id: str, kind: str, owner_id: str) -> None:
    """Insert an account with empty sums; an account that is there already stays as it is."""
    rule = CHART[kind]
    values = {
        "tenant_id": tenant_id,
        "kind": kind,
        "owner_id": owner_id,
        **asdict(Account(account_id(kind, owner_id), rule.normal_side, rule.may_go_negative)),
    }
    if conn.dialect.name == "postgresql":
        conn.execute(postgresql.insert(accounts).values(values).on_conflict_do_nothing())
    else:
        conn.execute(sqlite.insert(accounts).values(values).on_conflict_do_nothing())


def load_accounts(conn: Connection, tenant_id: str, ids: Collection[str]) -> dict[str, Account]:
    """Return the accounts with these ids that exist, by id."""
    query = select(*_ACCOUNT_COLUMNS).where(accounts.c.tenant_id == tenant_id, accounts.c.account_id.in_(sorted(ids)))
    return {row.account_id: Account(*row) for row in conn.execute(query)}


def _transfer(row: Row[Any]) -> Transfer:
    values = dict(row._mapping)
    return Transfer(**{**values, "kind": TransferKind(values["kind"])})


def load_rows(conn: Connection, tenant_id: str, requests: Sequence[TransferRequest]) -> Rows:
    """Return every stored row that deciding these requests reads."""
    holds = {request.pending_id for request in requests if request.pending_id is not None}
    wanted = sorted({request.transfer_id for request in requests} | holds)
    query = select(*_TRANSFER_COLUMNS).where(transfers.c.tenant_id == tenant_id, transfers.c.transfer_id.in_(wanted))
    stored = {row.transfer_id: _transfer(row) for row in conn.execute(query)}
    resolutions: dict[str, str] = {}
    if holds:
        resolved = select(transfers.c.pending_id, transfers.c.transfer_id).where(
            transfers.c.tenant_id == tenant_id, transfers.c.pending_id.in_(sorted(holds))
        )
        resolutions = {row.pending_id: row.transfer_id for row in conn.execute(resolved)}
    touched = {request.debit_account_id for request in requests} | {request.credit_account_id for request in requests}
    for hold in stored.values():
        touched |= {hold.debit_account_id, hold.credit_account_id}
    return Rows(load_accounts(conn, tenant_id, touched - {""}), stored, resolutions)


_move = (
    update(accounts)
    .where(accounts.c.tenant_id == bindparam("key_tenant_id"), accounts.c.account_id == bindparam("key_account_id"))
    .values(
        {name: bindparam(f"new_{name}") for name in ("debits_pending", "debits_posted", "credits_pending")}
        | {"credits_posted": bindparam("new_credits_posted"), "version": bindparam("new_version")}
    )
)


def store(conn: Connection, tenant_id: str, decision: Decision) -> None:
    """Insert a decision's transfers and set the sums of the accounts they moved. The writer lock is held."""
    if not decision.transfers:
        return
    rows = [
        {"tenant_id": tenant_id, **asdict(transfer), "kind": transfer.kind.value} for transfer in decision.transfers
    ]
    conn.execute(insert(transfers), rows)
    conn.execute(
        _move,
        [
            {
                "key_tenant_id": tenant_id,
                "key_account_id": account.account_id,
                "new_debits_pending": account.debits_pending,
                "new_debits_posted": account.debits_posted,
                "new_credits_pending": account.credits_pending,
                "new_credits_posted": account.credits_posted,
                "new_version": account.version,
            }
            for account in decision.accounts
        ],
    )


def due_holds(conn: Connection, tenant_id: str, now: datetime, limit: int) -> list[str]:
    """Return the ids of unresolved holds that may be expired, oldest due first."""
    resolved = exists().where(
        _resolution.c.tenant_id == _held.c.tenant_id, _resolution.c.pending_id == _held.c.transfer_id
    )
    query = (
        select(_held.c.transfer_id)
        .where(_held.c.tenant_id == tenant_id, _held.c.expires_at <= now, ~resolved)
        .order_by(_held.c.expires_at, _held.c.transfer_id)
        .limit(limit)
    )
    return list(conn.execute(query).scalars())


def statement(conn: Connection, tenant_id: str, account: str, limit: int) -> list[Transfer]:
    """Return an account's newest transfers, newest first."""
    query = (
        select(*_TRANSFER_COLUMNS)
        .where(
            transfers.c.tenant_id == tenant_id,
            or_(transfers.c.debit_account_id == account, transfers.c.credit_account_id == account),
        )
        .order_by(transfers.c.recorded_at.desc(), transfers.c.transfer_id.desc())
        .limit(limit)
    )
    return [_transfer(row) for row in conn.execute(query)]


def hold_amounts(conn: Connection, tenant_id: str, ids: Collection[str]) -> dict[str, int]:
    """Return the amounts of these holds, by id."""
    query = select(transfers.c.transfer_id, transfers.c.amount_minor).where(
        transfers.c.tenant_id == tenant_id, transfers.c.transfer_id.in_(sorted(ids))
    )
    return {row.transfer_id: row.amount_minor for row in conn.execute(query)}


def by_reference(conn: Connection, tenant_id: str, reference: str) -> list[Transfer]:
    """Return the transfers that carry a reference, oldest first."""
    query = (
        select(*_TRANSFER_COLUMNS)
        .where(transfers.c.tenant_id == tenant_id, transfers.c.reference == reference)
        .order_by(transfers.c.recorded_at, transfers.c.transfer_id)
    )
    return [_transfer(row) for row in conn.execute(query)]


def sums(conn: Connection, tenant_id: str) -> tuple[int, int, int, int]:
    """Return the tenant's debits posted, credits posted, debits pending and credits pending, over all accounts."""
    names = ("debits_posted", "credits_posted", "debits_pending", "credits_pending")
    query = select(*(func.coalesce(func.sum(accounts.c[name]), 0) for name in names))
    row = conn.execute(query.where(accounts.c.tenant_id == tenant_id)).one()
    return int(row[0]), int(row[1]), int(row[2]), int(row[3])


def clearing_residues(conn: Connection, tenant_id: str) -> list[tuple[str, int]]:
    """Return each reference whose posted movements on clearing accounts do not cancel, with what is left."""
    clearing = select(accounts.c.account_id).where(
        accounts.c.tenant_id == tenant_id, accounts.c.kind == "payment_clearing"
    )
    credited = case((transfers.c.credit_account_id.in_(clearing), transfers.c.amount_minor), else_=0)
    debited = case((transfers.c.debit_account_id.in_(clearing), transfers.c.amount_minor), else_=0)
    residue: ColumnElement[int] = func.sum(credited - debited)
    query = (
        select(transfers.c.reference, residue)
        .where(transfers.c.tenant_id == tenant_id, transfers.c.kind.in_(_POSTING))
        .where(or_(transfers.c.credit_account_id.in_(clearing), transfers.c.debit_account_id.in_(clearing)))
        .group_by(transfers.c.reference)
        .having(residue != 0)
        .order_by(transfers.c.reference)
    )
    return [(row[0], int(row[1])) for row in conn.execute(query)]


def all_accounts(conn: Connection, tenant_id: str) -> list[Account]:
    """Return all accounts of a tenant, by id."""
    query = select(*_ACCOUNT_COLUMNS).where(accounts.c.tenant_id == tenant_id).order_by(accounts.c.account_id)
    return [Account(*row) for row in conn.execute(query)]


def recount(conn: Connection, tenant_id: str) -> dict[str, tuple[int, int, int, int]]:
    """
    Return every account's sums counted again from the transfers alone.

    By account id: debits pending, debits posted, credits pending, credits posted.
    """
    resolved = exists().where(
        _resolution.c.tenant_id == transfers.c.tenant_id, _resolution.c.pending_id == transfers.c.transfer_id
    )
    held = case(((transfers.c.kind == TransferKind.PENDING.value) & ~resolved, transfers.c.amount_minor), else_=0)
    posted = case((transfers.c.kind.in_(_POSTING), transfers.c.amount_minor), else_=0)
    counted: dict[str, list[int]] = {}
    for side, column in enumerate((transfers.c.debit_account_id, transfers.c.credit_account_id)):
        query = select(column, func.sum(held), func.sum(posted)).where(transfers.c.tenant_id == tenant_id)
        for row in conn.execute(query.group_by(column)):
            entry = counted.setdefault(row[0], [0, 0, 0, 0])
            entry[2 * side : 2 * side + 2] = [int(row[1]), int(row[2])]
    return {key: (value[0], value[1], value[2], value[3]) for key, value in counted.items()}
