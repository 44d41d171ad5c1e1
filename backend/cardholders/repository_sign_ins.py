"""SQL of the cardholders slice: sign-ins and the attempts that failed."""

from datetime import datetime

from sqlalchemy import Connection, RowMapping, delete, func, insert, select

from backend.cardholders.models import failed_sign_ins, sign_ins


def insert_sign_in(
    conn: Connection,
    tenant_id: str,
    token_sha256: str,
    cardholder_id: str,
    *,
    created_at: datetime,
    expires_at: datetime,
) -> None:
    """Store a sign-in and forget the tenant's expired ones."""
    conn.execute(delete(sign_ins).where(sign_ins.c.tenant_id == tenant_id, sign_ins.c.expires_at <= created_at))
    conn.execute(
        insert(sign_ins).values(
            tenant_id=tenant_id,
            token_sha256=token_sha256,
            cardholder_id=cardholder_id,
            created_at=created_at,
            expires_at=expires_at,
        )
    )


def find_sign_in(conn: Connection, token_sha256: str, now: datetime) -> RowMapping | None:
    """Return a sign-in that has not expired. The token is random and global; the row says which tenant it is of."""
    where = (sign_ins.c.token_sha256 == token_sha256, sign_ins.c.expires_at > now)
    return conn.execute(select(sign_ins).where(*where)).mappings().one_or_none()


def delete_sign_in(conn: Connection, token_sha256: str) -> None:
    """End a sign-in."""
    conn.execute(delete(sign_ins).where(sign_ins.c.token_sha256 == token_sha256))


def delete_sign_ins_of(conn: Connection, tenant_id: str, cardholder_id: str) -> None:
    """End all sign-ins of a person."""
    conn.execute(delete(sign_ins).where(sign_ins.c.tenant_id == tenant_id, sign_ins.c.cardholder_id == cardholder_id))


def insert_attempt(conn: Connection, tenant_id: str, attempt_id: str, login: str, at: datetime) -> None:
    """Store an attempt, which counts as failed until it is forgotten."""
    conn.execute(
        insert(failed_sign_ins).values(tenant_id=tenant_id, attempt_id=attempt_id, login=login, attempted_at=at)
    )


def count_failures(conn: Connection, tenant_id: str, login: str, after: datetime) -> int:
    """Return how many attempts on a login failed after an instant."""
    where = (
        failed_sign_ins.c.tenant_id == tenant_id,
        failed_sign_ins.c.login == login,
        failed_sign_ins.c.attempted_at > after,
    )
    return int(conn.execute(select(func.count()).select_from(failed_sign_ins).where(*where)).scalar_one())


def delete_failures(conn: Connection, tenant_id: str, *, login: str | None, until: datetime) -> None:
    """Forget failures up to an instant, of one login or of all."""
    statement = delete(failed_sign_ins).where(
        failed_sign_ins.c.tenant_id == tenant_id, failed_sign_ins.c.attempted_at <= until
    )
    conn.execute(statement if login is None else statement.where(failed_sign_ins.c.login == login))
