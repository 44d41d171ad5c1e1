"""Signing in with a password: limited per login, kept as the hash of a random token, ended after 12 hours."""

import secrets
from datetime import datetime

from sqlalchemy import Connection

from backend.cardholders import repository, repository_sign_ins, rules
from backend.cardholders.types import SignIn, as_cardholder
from backend.errors import BackendError
from backend.kit.ids import new_id

_LOGIN_CHARS_MAX = 100
_PASSWORD_CHARS_MAX = 1_000
#: What a password is compared with when nobody has the login, so that both take as long.
_NOBODY = rules.password_hash("nobody", b"nobody-has-this.")


class SignInRefused(BackendError):
    """Login and password do not fit."""

    code = "sign_in_refused"
    status = 401


class TooManyAttempts(SignInRefused):
    """Too many wrong passwords; wait a quarter of an hour."""

    code = "too_many_attempts"
    status = 429


class SignInExpired(BackendError):
    """Please sign in again."""

    code = "sign_in_expired"
    status = 401


def sign_in(conn: Connection, tenant_id: str, login: str, password: str, now: datetime) -> SignIn:
    """
    Return a new sign-in. Call it alone in a write transaction: the attempt is committed before the password is looked
    at, so that many at once cannot outrun the limit and nobody waits for the database while a hash is computed.

    :raises TooManyAttempts: after 5 wrong passwords within 15 minutes, right password or not.
    :raises SignInRefused: alike for an unknown login, a wrong password and a person who is frozen or closed.
    """
    login = login.strip()[:_LOGIN_CHARS_MAX]
    since = now - rules.FAILURE_WINDOW
    if repository_sign_ins.count_failures(conn, tenant_id, login, since) >= rules.FAILURES_MAX:
        raise TooManyAttempts
    row = repository.find_cardholder(conn, tenant_id, login=login)
    repository_sign_ins.delete_failures(conn, tenant_id, login=None, until=since)
    repository_sign_ins.insert_attempt(conn, tenant_id, new_id("att"), login, now)
    conn.commit()
    fits = rules.is_password(password[:_PASSWORD_CHARS_MAX], _NOBODY if row is None else row["password_hash"])
    if row is None or not fits or row["status"] != "active":
        raise SignInRefused
    repository_sign_ins.delete_failures(conn, tenant_id, login=login, until=now)
    token = secrets.token_urlsafe(32)
    expires_at = now + rules.SIGN_IN_LIFE
    repository_sign_ins.insert_sign_in(
        conn, tenant_id, rules.token_hash(token), row["cardholder_id"], created_at=now, expires_at=expires_at
    )
    return SignIn(token, tenant_id, as_cardholder(row), expires_at)


def signed_in(conn: Connection, token: str, now: datetime) -> SignIn:
    """
    Return whose sign-in a token is.

    :raises SignInExpired: if it is unknown, ended or expired, or the person is no longer active.
    """
    found = repository_sign_ins.find_sign_in(conn, rules.token_hash(token), now)
    if found is None:
        raise SignInExpired
    row = repository.find_cardholder(conn, found["tenant_id"], cardholder_id=found["cardholder_id"])
    if row is None or row["status"] != "active":
        raise SignInExpired
    return SignIn(token, found["tenant_id"], as_cardholder(row), found["expires_at"])


def sign_out(conn: Connection, token: str, now: datetime) -> None:
    """End a sign-in; ending one that has ended changes nothing."""
    assert now.tzinfo is not None
    repository_sign_ins.delete_sign_in(conn, rules.token_hash(token))


def set_password(conn: Connection, tenant_id: str, cardholder_id: str, password: str) -> None:
    """Give a person a new password and end all their sign-ins."""
    stored = rules.password_hash(password, secrets.token_bytes(16))
    assert repository.update_cardholder(conn, tenant_id, cardholder_id, password_hash=stored), "no such cardholder"
    repository_sign_ins.delete_sign_ins_of(conn, tenant_id, cardholder_id)
