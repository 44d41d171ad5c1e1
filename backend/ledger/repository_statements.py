"""The statements of a batch, built once for each kind of database: building them takes longer than running them."""

from functools import cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    Update,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    select,
    true,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from backend.db import UtcDateTime
from backend.db.rowset import TEXT, WHOLE, Rowset
from backend.ledger.models import accounts, books, listings, residues, transfers
from backend.ledger.rules import Account, Transfer

ACCOUNT = tuple(accounts.c[name] for name in Account.__struct_fields__)
MOVING = ("debits_pending", "debits_posted", "credits_pending", "credits_posted", "version")
TRANSFER = tuple(transfers.c[name] for name in Transfer.__struct_fields__)
#: The columns of a new transfer, in the order of the table.
NEW = (*(column.name for column in transfers.columns),)
#: Of those, the ones that each new transfer of a batch may have its own of, with their types.
MADE = Rowset(
    "made",
    {
        "transfer_id": TEXT,
        "kind": TEXT,
        "debit_account_id": TEXT,
        "credit_account_id": TEXT,
        "amount_minor": WHOLE,
        "pending_id": TEXT,
        "expires_at": WHOLE,
        "event_at": WHOLE,
        "reference": TEXT,
        "memo": TEXT,
    },
)
WANTED = Rowset("wanted", {"key": TEXT})
MOVED = Rowset("moved", {"account_id": TEXT} | dict.fromkeys(MOVING, WHOLE))
#: The parameters of "move one", in their order.
MOVE_ONE = (*(f"new_{name}" for name in MOVING), "tenant", "moved_account_id")
LEFT = Rowset("left", {"account_id": TEXT, "reference": TEXT, "residue_minor": WHOLE})


_resolution = transfers.alias("resolution")


@cache
def statements(dialect: str) -> dict[str, Any]:
    """Return the batch's statements; building them takes longer than running them."""
    wanted = WANTED.table(dialect)
    tenant: BindParameter[str] = bindparam("tenant", type_=TEXT)
    left = LEFT.table(dialect)
    leaving = (postgresql if dialect == "postgresql" else sqlite).insert(residues)
    #: Whether the books carry this writer's stamp: what was sent ahead does nothing when its batch came to nothing.
    stands = exists().where(books.c.tenant_id == tenant, books.c.stamp == bindparam("new_stamp", type_=TEXT))
    leaving = leaving.from_select(
        ["tenant_id", *LEFT.columns],
        select(tenant.label("tenant_id"), *(left.c[name] for name in LEFT.columns)).where(stands),
    )
    listed = select(listings.c.listed_number).where(listings.c.tenant_id == tenant).scalar_subquery()
    of_hold = and_(
        _resolution.c.tenant_id == transfers.c.tenant_id, _resolution.c.pending_id == transfers.c.transfer_id
    )
    return {
        "books": select(
            books.c.last_number, books.c.expired_to, books.c.stamp, books.c.credit_version, func.coalesce(listed, 0)
        )
        .where(books.c.tenant_id == tenant)
        .with_for_update(),
        "set books": update(books)
        .where(books.c.tenant_id == tenant)
        .values(
            last_number=bindparam("new_last_number"),
            expired_to=bindparam("new_expired_to", type_=UtcDateTime()),
            stamp=bindparam("new_stamp"),
            credit_version=bindparam("new_credit_version"),
        ),
        "accounts": select(*ACCOUNT).where(
            accounts.c.tenant_id == tenant, accounts.c.account_id.in_(select(wanted.c.key))
        ),
        "transfers": select(*TRANSFER, _resolution.c.transfer_id.label("resolved_by"))
        .select_from(transfers.outerjoin(_resolution, of_hold))
        .where(transfers.c.tenant_id == tenant, transfers.c.transfer_id.in_(select(wanted.c.key))),
        "moved since": select(
            transfers.c.debit_account_id, transfers.c.credit_account_id, transfers.c.pending_id
        ).where(transfers.c.tenant_id == tenant, transfers.c.number > bindparam("number", type_=WHOLE)),
        "move one": update(accounts)
        .values({name: bindparam(f"new_{name}") for name in MOVING})
        .where(accounts.c.tenant_id == tenant, accounts.c.account_id == bindparam("moved_account_id")),
        "add residues": leaving.on_conflict_do_update(
            index_elements=["tenant_id", "account_id", "reference"],
            set_={"residue_minor": residues.c.residue_minor + leaving.excluded.residue_minor},
        ),
        "drop residues": delete(residues).where(
            residues.c.tenant_id == tenant,
            residues.c.residue_minor == 0,
            tuple_(residues.c.account_id, residues.c.reference).in_(select(left.c.account_id, left.c.reference)),
        ),
    } | ({"write": _writing(tenant)} if dialect == "postgresql" else {})


def _writing(tenant: BindParameter[str]) -> Update:
    """
    Return all that a batch writes as one statement, which does nothing unless the books carry the expected stamp.

    The lock is held. PostgreSQL only: SQLite writes from within our process, where statements cost nothing to send.
    """
    expected: BindParameter[str] = bindparam("expected_stamp", type_=TEXT)
    is_expected = and_(books.c.tenant_id == tenant, books.c.stamp == expected)
    door = select(books.c.last_number).where(is_expected).cte("door")
    made, moved = MADE.table("postgresql", place="place"), MOVED.table("postgresql")
    one_of_all = {
        "tenant_id": tenant,
        "number": door.c.last_number + made.c.place,
        "recorded_at": bindparam("recorded_at", type_=WHOLE),
    }
    rows = select(*(one_of_all[name] if name in one_of_all else made.c[name] for name in NEW))
    inserted = insert(transfers).from_select(list(NEW), rows.select_from(made.join(door, true()))).cte("inserted")
    changed = (
        update(accounts)
        .values({name: moved.c[name] for name in MOVING})
        .where(accounts.c.tenant_id == tenant, accounts.c.account_id == moved.c.account_id, exists(door.select()))
        .returning(accounts.c.version)
        .cte("changed")
    )
    all_moved = select(func.count()).select_from(changed).scalar_subquery() == bindparam("moved_count", type_=WHOLE)
    reached = books.c.last_number + bindparam("made_count", type_=WHOLE)
    at_most: BindParameter[int] = bindparam("expired_to_at_most", type_=WHOLE)
    return (
        update(books)
        .where(is_expected)
        .values(
            last_number=case((all_moved, reached)),  # else it is NULL, which may not be: nothing of this happens
            expired_to=func.least(type_coerce(books.c.expired_to, WHOLE), at_most),
            stamp=bindparam("new_stamp", type_=TEXT),
        )
        .add_cte(inserted)
    )
