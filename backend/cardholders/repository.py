"""SQL of the cardholders slice: people and their credentials. Sign-ins are in `repository_sign_ins`."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from backend.cardholders.models import cardholders, code_uses, credentials
from backend.db.insert import insert_once
from backend.db.keyed import rows_where


def find_cardholder(
    conn: Connection, tenant_id: str, *, cardholder_id: str | None = None, login: str | None = None
) -> RowMapping | None:
    """Return the row of a person by id or by login, if there is one."""
    assert (cardholder_id is None) != (login is None), "one of the two names a person"
    key = {"login": login} if cardholder_id is None else {"cardholder_id": cardholder_id}
    return rows_where(conn, cardholders, {"tenant_id": tenant_id, **key}).mappings().one_or_none()


def find_cardholders(conn: Connection, tenant_id: str) -> list[RowMapping]:
    """Return all people of a tenant by login."""
    statement = select(cardholders).where(cardholders.c.tenant_id == tenant_id).order_by(cardholders.c.login)
    return list(conn.execute(statement).mappings())


def insert_cardholder(conn: Connection, values: dict[str, Any]) -> bool:
    """Store a person once; return False if the id or the login is taken."""
    return insert_once(conn, cardholders, values)


def update_cardholder(conn: Connection, tenant_id: str, cardholder_id: str, **values: Any) -> bool:
    """Set columns of a person and return whether there is one."""
    where = (cardholders.c.tenant_id == tenant_id, cardholders.c.cardholder_id == cardholder_id)
    return bool(conn.execute(update(cardholders).where(*where).values(**values)).rowcount)


def insert_credential(conn: Connection, values: dict[str, Any]) -> None:
    """Store a credential."""
    conn.execute(insert(credentials).values(**values))


def find_credential(
    conn: Connection, tenant_id: str, *, credential_id: str | None = None, kind: str = "", lookup: str = ""
) -> RowMapping | None:
    """Return a credential's row by id, or by kind and lookup, if there is one."""
    key = {"kind": kind, "lookup": lookup} if credential_id is None else {"credential_id": credential_id}
    return rows_where(conn, credentials, {"tenant_id": tenant_id, **key}).mappings().one_or_none()


def find_credentials(conn: Connection, tenant_id: str, cardholder_id: str) -> list[RowMapping]:
    """Return a person's credentials, oldest first."""
    where = (credentials.c.tenant_id == tenant_id, credentials.c.cardholder_id == cardholder_id)
    statement = select(credentials).where(*where).order_by(credentials.c.created_at, credentials.c.credential_id)
    return list(conn.execute(statement).mappings())


def update_credential(conn: Connection, tenant_id: str, credential_id: str, **values: Any) -> bool:
    """Set columns of a credential and return whether there is one."""
    where = (credentials.c.tenant_id == tenant_id, credentials.c.credential_id == credential_id)
    return bool(conn.execute(update(credentials).where(*where).values(**values)).rowcount)


def take_use(conn: Connection, tenant_id: str, credential_id: str) -> bool:
    """Take one use of a credential that counts them, atomically; return False if none was left."""
    where = (
        credentials.c.tenant_id == tenant_id,
        credentials.c.credential_id == credential_id,
        credentials.c.uses_left.is_(None) | (credentials.c.uses_left > 0),
    )
    statement = update(credentials).where(*where).values(uses_left=credentials.c.uses_left - 1)
    return bool(conn.execute(statement).rowcount)


def insert_code_use(
    conn: Connection, tenant_id: str, credential_id: str, *, step: int, draw: int, used_at: datetime
) -> bool:
    """Mark a code as used, atomically; return False if it had been used."""
    values = {"tenant_id": tenant_id, "credential_id": credential_id, "step": step, "draw": draw, "used_at": used_at}
    return insert_once(conn, code_uses, values)


def delete_code_uses(conn: Connection, tenant_id: str, credential_id: str, *, before_step: int) -> None:
    """Forget a credential's used codes of steps that can never be accepted again."""
    where = (
        code_uses.c.tenant_id == tenant_id,
        code_uses.c.credential_id == credential_id,
        code_uses.c.step < before_step,
    )
    conn.execute(delete(code_uses).where(*where))


def last_draw(conn: Connection, tenant_id: str, credential_id: str, step: int) -> int:
    """Return the highest draw of a step that has been used, or -1."""
    where = (
        code_uses.c.tenant_id == tenant_id,
        code_uses.c.credential_id == credential_id,
        code_uses.c.step == step,
    )
    found = conn.execute(select(func.max(code_uses.c.draw)).where(*where)).scalar()
    return -1 if found is None else int(found)
