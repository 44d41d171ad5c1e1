"""The statements of a batch, built once for each kind of database: building them takes longer than running them."""

from functools import cache
from typing import Any

from sqlalchemy import BindParameter, and_, bindparam, delete, func, select, true, tuple_, update
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
    moved = MOVED.table(dialect)
    tenant: BindParameter[str] = bindparam("tenant", type_=TEXT)
    left = LEFT.table(dialect)
    leaving = (postgresql if dialect == "postgresql" else sqlite).insert(residues)
    leaving = leaving.from_select(
        ["tenant_id", *LEFT.columns],
        select(tenant.label("tenant_id"), *(left.c[name] for name in LEFT.columns)).where(true()),
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
        "move": update(accounts)
        .values({name: moved.c[name] for name in MOVING})
        .where(accounts.c.tenant_id == tenant, accounts.c.account_id == moved.c.account_id),
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
    }
