"""
What a batch reads and what it writes. One path for SQLite and PostgreSQL; `Rowset` alone knows which it is.

What else reads the ledger is in `history_repository` and `audit_repository`.
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, exists, select
from sqlalchemy.dialects import postgresql, sqlite

from backend.db.insert import insert_once
from backend.db.rowset import insert_each, run_each
from backend.kit.clock import epoch_ms, from_epoch_ms
from backend.ledger.memory import Memory
from backend.ledger.models import accounts, books, transfers
from backend.ledger.repository_statements import LEFT, MADE, MOVE_ONE, MOVED, NEW, WANTED, statements
from backend.ledger.rules import Account, Decision, Rows, Transfer, TransferKind, TransferRequest

_LONG_AGO = from_epoch_ms(0)
_NEVER_MS = 2**60
_ID = attrgetter("account_id")
_KIND = {kind.value: kind for kind in TransferKind}
_resolution = transfers.alias("resolution")
#: The statements that add residues, in their order.
RESIDUES = ("add residues", "drop residues")


@dataclass(frozen=True, slots=True)
class Books:
    """How far a tenant's numbering and expiry have come, as only its writer knows, and who wrote last."""

    last_number: int
    expired_to: datetime
    stamp: str
    credit_version: int
    #: Up to this transfer the lines are written; as it was when the lock was asked for.
    listed_number: int


def lock_writer(conn: Connection, tenant_id: str) -> Books:
    """
    Make this transaction the tenant's only ledger writer until it ends, and return how far its books have come.

    On SQLite the transaction already is: `Database.write` takes the file's write lock when it begins.
    """
    query = statements(conn.dialect.name)["books"]
    found = conn.execute(query, {"tenant": tenant_id}).one_or_none()
    if found is None:
        first = {"tenant_id": tenant_id, "last_number": 0, "expired_to": _LONG_AGO, "verified_number": 0}
        insert_once(conn, books, {**first, "stamp": "", "credit_version": 0})
        found = conn.execute(query, {"tenant": tenant_id}).one()
    return Books(*found)


def to_books(row: Sequence[str | None]) -> Books:
    """Return books from the columns of their row as PostgreSQL writes them."""
    last_number, expired_to, stamp, credit_version, listed_number = [value or "" for value in row]
    return Books(int(last_number), from_epoch_ms(int(expired_to)), stamp, int(credit_version), int(listed_number))


def set_books(conn: Connection, tenant_id: str, after: Books) -> None:
    """Store how far the books have come. The lock is held."""
    given = {
        "tenant": tenant_id,
        "new_last_number": after.last_number,
        "new_expired_to": after.expired_to,
        "new_stamp": after.stamp,
        "new_credit_version": after.credit_version,
    }
    conn.execute(statements(conn.dialect.name)["set books"], given)


def stamped(before: Books) -> Books:
    """Return the books with a stamp no writer ever left: every memory of them ends."""
    return replace(before, stamp=secrets.token_hex(8))


def _load(conn: Connection, name: str, tenant_id: str, keys: Collection[str]) -> Sequence[Any]:
    if not keys:
        return ()
    dialect = conn.dialect.name
    given = WANTED.given(dialect, [(key,) for key in sorted(keys)])
    return conn.execute(statements(dialect)[name], {"tenant": tenant_id, **given}).all()


def load_accounts(conn: Connection, tenant_id: str, ids: Collection[str]) -> dict[str, Account]:
    """Return the accounts with these ids that exist, by id."""
    return {row[0]: Account(*row) for row in _load(conn, "accounts", tenant_id, ids)}


def load_transfers(
    conn: Connection, tenant_id: str, ids: Collection[str]
) -> tuple[dict[str, Transfer], dict[str, str]]:
    """Return the transfers with these ids that exist, by id, and what resolved those of them that are holds."""
    stored, resolutions = {}, {}
    for row in _load(conn, "transfers", tenant_id, ids):
        transfer = to_transfer(row)
        stored[transfer.transfer_id] = transfer
        if row[-1] is not None:
            resolutions[transfer.transfer_id] = row[-1]
    return stored, resolutions


def load_rows(
    conn: Connection, tenant_id: str, requests: Sequence[TransferRequest], memory: Memory, *, trusting: bool
) -> Rows:
    """
    Return every stored row that deciding these requests reads; what is in memory is not read again.

    Trusting that the requests are new spares looking for transfers with their ids.
    """
    holds = {request.pending_id for request in requests if request.pending_id is not None}
    ids = {request.transfer_id for request in requests}
    stored = {key: hold for key in holds if (hold := memory.holds.get(key)) is not None}
    stored |= {key: memory.made[key] for key in (ids | holds) & memory.made.keys()}
    resolutions = {key: memory.resolutions[key] for key in holds & memory.resolutions.keys()}
    more, resolved = load_transfers(conn, tenant_id, (holds if trusting else ids | holds) - stored.keys())
    stored |= more
    resolutions |= resolved
    touched = {request.debit_account_id for request in requests}
    touched.update([request.credit_account_id for request in requests])
    for hold in stored.values():
        touched.add(hold.debit_account_id)
        touched.add(hold.credit_account_id)
    touched.discard("")
    known = {key: account for key in touched if (account := memory.accounts.get(key)) is not None}
    return Rows(known | load_accounts(conn, tenant_id, touched - known.keys()), stored, resolutions)


def refresh(conn: Connection, tenant_id: str, memory: Memory, before: Books) -> None:
    """Let a memory go on as one of these books, whoever wrote since its last batch. The lock is held."""

    def moved_since(number: int) -> Sequence[Any]:
        return conn.execute(statements(conn.dialect.name)["moved since"], {"tenant": tenant_id, "number": number}).all()

    memory.check(before.stamp, before.last_number, before.credit_version, moved_since)


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


def store(conn: Connection, tenant_id: str, before: Books, known: Rows, decision: Decision, stamp: str) -> None:
    """Insert a decision's transfers, number them, and set the sums of the accounts they moved. The lock is held."""
    if not decision.transfers:
        return
    open_accounts(conn, tenant_id, opened(known, decision))
    if conn.dialect.name == "postgresql":
        given = written(tenant_id, known, decision, before.stamp, stamp)
        done = conn.execute(statements("postgresql")["write"], given).rowcount
        assert done == 1, "the books changed under the writer's lock"
        return
    insert_each(conn, transfers, NEW, _rows(tenant_id, decision.transfers, before.last_number))
    _move_each(conn, tenant_id, _moved(known, decision))
    expired_to = from_epoch_ms(min(epoch_ms(before.expired_to), _expired_to_at_most(decision)))
    reached = before.last_number + len(decision.transfers)
    set_books(conn, tenant_id, replace(before, last_number=reached, expired_to=expired_to, stamp=stamp))


def written(tenant_id: str, known: Rows, decision: Decision, expected: str, stamp: str) -> dict[str, str | int]:
    """Return the parameters of the one statement that stores a decision, whose accounts are open, on PostgreSQL."""
    made, moved = decision.transfers, _moved(known, decision)
    millis = _millis(made)
    columns: list[list[str | int | None]] = [
        [one.transfer_id for one in made],
        [one.kind for one in made],
        [one.debit_account_id for one in made],
        [one.credit_account_id for one in made],
        [one.amount_minor for one in made],
        [one.pending_id for one in made],
        [millis[one.expires_at] for one in made],
        [millis[one.event_at] for one in made],
        [one.reference for one in made],
        [one.memo for one in made],
    ]
    sums = [(one.account_id, *_sums(one)) for one in moved]
    return {
        "tenant": tenant_id,
        "expected_stamp": expected,
        "new_stamp": stamp,
        "recorded_at": epoch_ms(made[0].recorded_at),
        "made_count": len(made),
        "moved_count": len(moved),
        "expired_to_at_most": _expired_to_at_most(decision),
        **MADE.arrays(columns),
        **MOVED.given("postgresql", sums),
    }


def opened(known: Rows, decision: Decision) -> list[Account]:
    """Return the accounts a decision moves that were never used."""
    return [one for one in decision.accounts if one.account_id not in known.accounts]


def _moved(known: Rows, decision: Decision) -> list[Account]:
    # In the order of their keys: neighbors share pages.
    return sorted((one for one in decision.accounts if one.account_id in known.accounts), key=_ID)


def _expired_to_at_most(decision: Decision) -> int:
    """Return up to when all holds are resolved at most, given the new ones, in milliseconds."""
    earliest = min((one.expires_at for one in decision.transfers if one.expires_at is not None), default=None)
    return _NEVER_MS if earliest is None else epoch_ms(earliest) - 1


def _move_each(conn: Connection, tenant_id: str, moved: Sequence[Account]) -> None:
    if not moved:
        return
    # SQLite cannot be told to look accounts up by the rows given: it would try all with all.
    each = [(*_sums(one), tenant_id, one.account_id) for one in moved]
    done = run_each(conn, statements("sqlite")["move one"], MOVE_ONE, each)
    assert done == len(moved), "an account went away under the writer's lock"


def _sums(one: Account) -> tuple[int, int, int, int, int]:
    return one.debits_pending, one.debits_posted, one.credits_pending, one.credits_posted, one.version


def _millis(made: Sequence[Transfer]) -> dict[datetime | None, int | None]:
    """Return each time of some transfers in milliseconds: there are few, and counting them is slow."""
    moments = {one.event_at for one in made} | {one.expires_at for one in made} | {one.recorded_at for one in made}
    return {moment: None if moment is None else epoch_ms(moment) for moment in moments}


def _rows(tenant_id: str, made: Sequence[Transfer], last_number: int) -> list[tuple[str | int | None, ...]]:
    millis = _millis(made)
    return [
        (
            tenant_id,
            one.transfer_id,
            number,
            one.kind.value,
            one.debit_account_id,
            one.credit_account_id,
            one.amount_minor,
            one.pending_id,
            millis[one.expires_at],
            millis[one.event_at],
            millis[one.recorded_at],
            one.reference,
            one.memo,
        )
        for number, one in enumerate(made, last_number + 1)
    ]


def add_residues(conn: Connection, tenant_id: str, left: Mapping[tuple[str, str], int], stamp: str) -> None:
    """Add what references left on clearing accounts to what they left before; what comes out even goes."""
    if not left:
        return
    dialect = conn.dialect.name
    for name in RESIDUES:
        conn.execute(statements(dialect)[name], residues_given(dialect, tenant_id, left, stamp))


def residues_given(dialect: str, tenant_id: str, left: Mapping[tuple[str, str], int], stamp: str) -> dict[str, str]:
    """Return the parameters of each of the statements that add residues to books with this stamp."""
    rows = [(account_id, reference, minor) for (account_id, reference), minor in left.items()]
    return {"tenant": tenant_id, "new_stamp": stamp, **LEFT.given(dialect, rows)}


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
