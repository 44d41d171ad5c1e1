"""
The SQL that executes a batch: three statements read what it touches, two or three write what was decided.

One path for SQLite and PostgreSQL; `rowset` alone knows which it is. What else reads the ledger is in `history` and
`audit`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from msgspec import Struct
from sqlalchemy import BindParameter, Connection, and_, bindparam, delete, exists, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from backend.db import UtcDateTime
from backend.db.insert import insert_once
from backend.kit.clock import epoch_ms, from_epoch_ms
from backend.ledger.models import accounts, books, residues, transfers
from backend.ledger.rowset import TEXT, WHOLE, packed, rowset
from backend.ledger.rules import Account, Decision, Rows, Transfer, TransferKind, TransferRequest

_LONG_AGO = from_epoch_ms(0)
_ACCOUNT = tuple(accounts.c[name] for name in Account.__struct_fields__)
_MOVING = ("debits_pending", "debits_posted", "credits_pending", "credits_posted", "version")
_HOLD = tuple(transfers.c[name] for name in Transfer.__struct_fields__)
_resolution = transfers.alias("resolution")
_KIND = {kind.value: kind for kind in TransferKind}


@dataclass(frozen=True, slots=True)
class Books:
    """How far a tenant's numbering and expiry have come, as only its writer knows."""

    last_number: int
    expired_to: datetime


class _Key(Struct):
    key: str


class _TransferRow(Struct):
    """A transfer as it is stored, without the tenant; times are milliseconds."""

    transfer_id: str
    number: int
    kind: str
    debit_account_id: str
    credit_account_id: str
    amount_minor: int
    pending_id: str | None
    expires_at: int | None
    event_at: int
    recorded_at: int
    reference: str
    memo: str


_TRANSFER_TYPES = {
    name: WHOLE if name in ("number", "amount_minor", "expires_at", "event_at", "recorded_at") else TEXT
    for name in _TransferRow.__struct_fields__
}
_ACCOUNT_TYPES = {"account_id": TEXT} | dict.fromkeys(_MOVING, WHOLE)


@cache
def _statements(dialect: str) -> dict[str, Any]:
    """Return the batch's statements; building them takes longer than running them."""
    wanted = rowset(dialect, "wanted", {"key": TEXT})
    new = rowset(dialect, "new", _TRANSFER_TYPES)
    moved = rowset(dialect, "moved", _ACCOUNT_TYPES)
    tenant: BindParameter[str] = bindparam("tenant", type_=TEXT)
    of_hold = and_(
        _resolution.c.tenant_id == transfers.c.tenant_id, _resolution.c.pending_id == transfers.c.transfer_id
    )
    return {
        "accounts": select(*_ACCOUNT).select_from(
            wanted.join(accounts, (accounts.c.tenant_id == tenant) & (accounts.c.account_id == wanted.c.key))
        ),
        "transfers": select(*_HOLD, _resolution.c.transfer_id.label("resolved_by")).select_from(
            wanted.join(
                transfers, (transfers.c.tenant_id == tenant) & (transfers.c.transfer_id == wanted.c.key)
            ).outerjoin(_resolution, of_hold)
        ),
        "insert": insert(transfers).from_select(
            ["tenant_id", *_TRANSFER_TYPES],
            select(tenant.label("tenant_id"), *(new.c[name] for name in _TRANSFER_TYPES)),
        ),
        "move": update(accounts)
        .values({name: moved.c[name] for name in _MOVING})
        .where(accounts.c.tenant_id == tenant, accounts.c.account_id == moved.c.account_id),
    }


def lock_writer(conn: Connection, tenant_id: str) -> Books:
    """
    Make this transaction the tenant's only ledger writer until it ends, and return how far its books have come.

    On SQLite the transaction already is: `Database.write` takes the file's write lock when it begins.
    """
    query = select(books.c.last_number, books.c.expired_to).where(books.c.tenant_id == tenant_id).with_for_update()
    found = conn.execute(query).one_or_none()
    if found is None:
        first = {"tenant_id": tenant_id, "last_number": 0, "expired_to": _LONG_AGO, "verified_number": 0}
        insert_once(conn, books, first)
        found = conn.execute(query).one()
    return Books(found.last_number, found.expired_to)


def load_accounts(conn: Connection, tenant_id: str, ids: Collection[str]) -> dict[str, Account]:
    """Return the accounts with these ids that exist, by id."""
    statement = _statements(conn.dialect.name)["accounts"]
    found = conn.execute(statement, {"tenant": tenant_id, "wanted": packed([_Key(key) for key in ids])})
    return {row[0]: Account(*row) for row in found}


def load_rows(conn: Connection, tenant_id: str, requests: Sequence[TransferRequest]) -> Rows:
    """Return every stored row that deciding these requests reads."""
    wanted = {request.transfer_id for request in requests}
    wanted.update([request.pending_id for request in requests if request.pending_id is not None])
    statement = _statements(conn.dialect.name)["transfers"]
    stored: dict[str, Transfer] = {}
    resolutions: dict[str, str] = {}
    for row in conn.execute(statement, {"tenant": tenant_id, "wanted": packed([_Key(key) for key in wanted])}):
        transfer = to_transfer(row)
        stored[transfer.transfer_id] = transfer
        if row[-1] is not None:
            resolutions[transfer.transfer_id] = row[-1]
    touched = {request.debit_account_id for request in requests}
    touched.update([request.credit_account_id for request in requests])
    for hold in stored.values():
        touched.add(hold.debit_account_id)
        touched.add(hold.credit_account_id)
    touched.discard("")
    return Rows(load_accounts(conn, tenant_id, touched), stored, resolutions)


def to_transfer(row: Sequence[Any]) -> Transfer:
    """Return a transfer from the columns of its struct, in the struct's order."""
    transfer_id, kind, debit, credit, amount, pending, expires, event, recorded, reference, memo = row[:11]
    return Transfer(
        transfer_id=transfer_id,
        kind=_KIND[kind],
        debit_account_id=debit,
        credit_account_id=credit,
        amount_minor=amount,
        pending_id=pending,
        expires_at=expires,
        event_at=event,
        recorded_at=recorded,
        reference=reference,
        memo=memo,
    )


def open_accounts(conn: Connection, tenant_id: str, opened: Sequence[Account]) -> None:
    """Insert accounts as they are; one that is there already stays as it is."""
    if not opened:
        return
    keyed = [account.account_id.partition("/") for account in opened]
    rows = [
        {name: getattr(account, name) for name in Account.__struct_fields__}
        | {"tenant_id": tenant_id, "kind": kind, "owner_id": owner_id}
        for account, (kind, _, owner_id) in zip(opened, keyed, strict=True)
    ]
    dialect = postgresql if conn.dialect.name == "postgresql" else sqlite
    conn.execute(dialect.insert(accounts).on_conflict_do_nothing(), rows)


def store(conn: Connection, tenant_id: str, before: Books, known: Rows, decision: Decision) -> None:
    """Insert a decision's transfers, number them, and set the sums of the accounts they moved. The lock is held."""
    if not decision.transfers:
        return
    statements = _statements(conn.dialect.name)
    rows = [
        _TransferRow(
            one.transfer_id,
            number,
            one.kind.value,
            one.debit_account_id,
            one.credit_account_id,
            one.amount_minor,
            one.pending_id,
            None if one.expires_at is None else epoch_ms(one.expires_at),
            epoch_ms(one.event_at),
            epoch_ms(one.recorded_at),
            one.reference,
            one.memo,
        )
        for number, one in enumerate(decision.transfers, before.last_number + 1)
    ]
    conn.execute(statements["insert"], {"tenant": tenant_id, "new": packed(rows)})
    open_accounts(conn, tenant_id, [one for one in decision.accounts if one.account_id not in known.accounts])
    moved = [one for one in decision.accounts if one.account_id in known.accounts]
    done = conn.execute(statements["move"], {"tenant": tenant_id, "moved": packed(moved)})
    assert done.rowcount == len(moved), "an account went away under the writer's lock"
    earliest = min((row.expires_at for row in rows if row.expires_at is not None), default=None)
    expired_to = before.expired_to
    if earliest is not None and earliest <= epoch_ms(expired_to):
        expired_to = from_epoch_ms(earliest - 1)
    set_books(conn, tenant_id, Books(before.last_number + len(rows), expired_to))


def set_books(conn: Connection, tenant_id: str, after: Books) -> None:
    """Store how far the books have come. The lock is held."""
    conn.execute(
        update(books)
        .where(books.c.tenant_id == bindparam("tenant"))
        .values(last_number=bindparam("number"), expired_to=bindparam("to", type_=UtcDateTime())),
        {"tenant": tenant_id, "number": after.last_number, "to": after.expired_to},
    )


def add_residues(conn: Connection, tenant_id: str, left: Mapping[tuple[str, str], int]) -> None:
    """Add what references left on clearing accounts to what they left before; what comes out even goes."""
    for (account_id, reference), minor in left.items():
        one = (
            residues.c.tenant_id == tenant_id,
            residues.c.account_id == account_id,
            residues.c.reference == reference,
        )
        there = conn.execute(select(residues.c.residue_minor).where(*one)).scalar_one_or_none()
        if there is None:
            key = {"tenant_id": tenant_id, "account_id": account_id, "reference": reference}
            conn.execute(insert(residues).values(**key, residue_minor=minor))
        elif there + minor == 0:
            conn.execute(delete(residues).where(*one))
        else:
            conn.execute(update(residues).where(*one).values(residue_minor=there + minor))


def due_holds(
    conn: Connection, tenant_id: str, after: datetime, now: datetime, limit: int
) -> list[tuple[str, datetime]]:
    """Return the unresolved holds that may be expired, and since when, oldest due first."""
    resolved = exists().where(
        _resolution.c.tenant_id == transfers.c.tenant_id, _resolution.c.pending_id == transfers.c.transfer_id
    )
    query = (
        select(transfers.c.transfer_id, transfers.c.expires_at)
        .where(
            transfers.c.tenant_id == tenant_id,
            transfers.c.expires_at > after,
            transfers.c.expires_at <= now,
            ~resolved,
        )
        .order_by(transfers.c.expires_at, transfers.c.number)
        .limit(limit)
    )
    return [(row[0], row[1]) for row in conn.execute(query)]
