"""The tenant's turn, taken together: what arrives at the same time for one school is done in one transaction."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from backend.db import Database
from backend.ledger import service as ledger
from backend.outbox import service as outbox

T = TypeVar("T")


def _begin(tenant_id: str) -> Callable[[Connection], None]:
    """Return what takes both of a tenant's locks, in their order, before any savepoint could give one back."""

    def begin(conn: Connection) -> None:
        outbox.take_turn(conn, tenant_id)
        ledger.lock(conn, tenant_id)

    return begin


def in_turn(db: Database, tenant_id: str, work: Callable[[Connection], T]) -> T:
    """Return what work returns, done once in the tenant's turn together with what others wait to do in it."""
    return db.together(tenant_id, work, begin=_begin(tenant_id))
