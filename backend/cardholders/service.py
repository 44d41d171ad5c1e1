"""Use cases of the cardholders slice: people, their credentials, who presented one. Sign-in is in `sign_in`."""

import secrets
from dataclasses import fields
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from backend.cardholders import repository, rules
from backend.cardholders.resolving import (
    CardholderInactive,
    CodeExpired,
    CodeMalformed,
    CodeReplayed,
    CredentialFrozen,
    CredentialNotValid,
    CredentialUnknown,
    card_pepper,
    code_credential,
    resolve,
    student_code,
)
from backend.cardholders.sign_in import SignInExpired, SignInRefused, TooManyAttempts, sign_in, sign_out, signed_in
from backend.cardholders.types import (
    PERSON_CLASSES,
    ROLES,
    Cardholder,
    Credential,
    ResolvedCredential,
    SignIn,
    StudentCode,
    as_cardholder,
)
from backend.errors import BackendError, Conflict, NotFound
from backend.kit.ids import new_id

__all__ = [
    "CardTaken",
    "CardUnreadable",
    "Cardholder",
    "CardholderInactive",
    "CardholderUnknown",
    "CodeExpired",
    "CodeMalformed",
    "CodeReplayed",
    "Credential",
    "CredentialFrozen",
    "CredentialNotValid",
    "CredentialUnknown",
    "LoginTaken",
    "ResolvedCredential",
    "SignIn",
    "SignInExpired",
    "SignInRefused",
    "StudentCode",
    "TooManyAttempts",
    "add_card",
    "add_cardholder",
    "cardholder",
    "cardholder_by_login",
    "cardholders",
    "consume_use",
    "credentials",
    "freeze_credential",
    "resolve",
    "set_status",
    "set_visitor_pass",
    "sign_in",
    "sign_out",
    "signed_in",
    "student_code",
    "unfreeze_credential",
]

_CREDENTIAL_FIELDS = tuple(field.name for field in fields(Credential))


class CardholderUnknown(NotFound):
    """No such person."""

    code = "cardholder_unknown"


class LoginTaken(Conflict):
    """This login or id belongs to someone already."""

    code = "login_taken"


class CardTaken(Conflict):
    """This card belongs to someone already."""

    code = "card_taken"


class CardUnreadable(BackendError):
    """A card's number is 4, 7 or 10 bytes in hex."""

    code = "card_unreadable"


def cardholder(conn: Connection, tenant_id: str, cardholder_id: str) -> Cardholder:
    """
    Return a person.

    :raises CardholderUnknown: if this tenant has none with this id.
    """
    row = repository.find_cardholder(conn, tenant_id, cardholder_id=cardholder_id)
    if row is None:
        raise CardholderUnknown(f"no cardholder {cardholder_id!r}")
    return as_cardholder(row)


def cardholder_by_login(conn: Connection, tenant_id: str, login: str) -> Cardholder:
    """
    Return a person by login.

    :raises CardholderUnknown: if this tenant has none with this login.
    """
    row = repository.find_cardholder(conn, tenant_id, login=login)
    if row is None:
        raise CardholderUnknown(f"no cardholder with login {login!r}")
    return as_cardholder(row)


def cardholders(conn: Connection, tenant_id: str) -> list[Cardholder]:
    """Return all people of a tenant by login."""
    return [as_cardholder(row) for row in repository.find_cardholders(conn, tenant_id)]


def _add_credential(
    conn: Connection, tenant_id: str, cardholder_id: str, *, kind: str, lookup: str, hint: str, now: datetime
) -> str:
    credential_id = new_id("cred")
    repository.insert_credential(
        conn,
        {
            "tenant_id": tenant_id,
            "credential_id": credential_id,
            "cardholder_id": cardholder_id,
            "kind": kind,
            "lookup": lookup,
            "hint": hint,
            "assurance": rules.ASSURANCE[kind],
            "status": "active",
            "created_at": now,
        },
    )
    return credential_id


def add_cardholder(conn: Connection, new: Cardholder, password: str, now: datetime) -> None:
    """
    Store a person with their password and give them a student code.

    :raises LoginTaken: if the id or the login is someone's already.
    """
    assert new.roles <= ROLES, f"unknown roles {sorted(new.roles - ROLES)}"
    assert new.person_class in PERSON_CLASSES, f"unknown person class {new.person_class!r}"
    values = {
        "tenant_id": new.tenant_id,
        "cardholder_id": new.cardholder_id,
        "login": new.login,
        "name": new.name,
        "name_en": new.name_en,
        "person_class": new.person_class,
        "status": new.status,
        "roles": sorted(new.roles),
        "password_hash": rules.password_hash(password, secrets.token_bytes(16)),
        "created_at": now,
    }
    if not repository.insert_cardholder(conn, values):
        raise LoginTaken(f"{new.login!r} is taken")
    lookup = secrets.token_hex(8)
    _add_credential(conn, new.tenant_id, new.cardholder_id, kind="code", lookup=lookup, hint="", now=now)


def add_card(
    conn: Connection, secrets_dir: Path, tenant_id: str, cardholder_id: str, uid_hex: str, now: datetime
) -> str:
    """
    Give a person a card by its number and return the credential's id. The number is stored as a keyed hash.

    :raises CardUnreadable: if it is not a card's number.
    :raises CardTaken: if it is another person's. The same person's again returns the credential there is.
    """
    number = rules.card_number(uid_hex)
    if number is None:
        raise CardUnreadable
    lookup = rules.card_lookup(pepper=card_pepper(secrets_dir), tenant_id=tenant_id, number=number)
    known = repository.find_credential(conn, tenant_id, kind="uid", lookup=lookup)
    if known is None:
        return _add_credential(conn, tenant_id, cardholder_id, kind="uid", lookup=lookup, hint=number[-4:], now=now)
    if known["cardholder_id"] != cardholder_id:
        raise CardTaken
    return str(known["credential_id"])


def set_status(conn: Connection, tenant_id: str, cardholder_id: str, status: str) -> None:
    """
    Make a person active, frozen or closed.

    :raises CardholderUnknown: if this tenant has none with this id.
    """
    assert status in ("active", "frozen", "closed"), status
    if not repository.update_cardholder(conn, tenant_id, cardholder_id, status=status):
        raise CardholderUnknown(f"no cardholder {cardholder_id!r}")


def set_visitor_pass(
    conn: Connection, tenant_id: str, cardholder_id: str, *, not_before: datetime, not_after: datetime, uses: int | None
) -> str:
    """Make a person's code a pass for a half-open period and so many uses (None: any); return the credential's id."""
    assert not_before < not_after, "a pass has a period"
    row = code_credential(conn, tenant_id, cardholder_id)
    repository.update_credential(
        conn, tenant_id, row["credential_id"], not_before=not_before, not_after=not_after, uses_left=uses
    )
    return str(row["credential_id"])


def credentials(conn: Connection, tenant_id: str, cardholder_id: str) -> list[Credential]:
    """Return a person's credentials, oldest first."""
    rows = repository.find_credentials(conn, tenant_id, cardholder_id)
    return [Credential(**{name: row[name] for name in _CREDENTIAL_FIELDS}) for row in rows]


def freeze_credential(conn: Connection, tenant_id: str, credential_id: str, now: datetime) -> None:
    """
    Make a credential refused everywhere from now on.

    :raises CredentialUnknown: if this tenant has none with this id.
    """
    if not repository.update_credential(conn, tenant_id, credential_id, status="frozen", frozen_at=now):
        raise CredentialUnknown(f"no credential {credential_id!r}")


def unfreeze_credential(conn: Connection, tenant_id: str, credential_id: str, now: datetime) -> None:
    """
    Make a frozen credential usable again.

    :raises CredentialUnknown: if this tenant has none with this id.
    """
    assert now.tzinfo is not None
    if not repository.update_credential(conn, tenant_id, credential_id, status="active", frozen_at=None):
        raise CredentialUnknown(f"no credential {credential_id!r}")


def consume_use(conn: Connection, tenant_id: str, credential_id: str) -> bool:
    """Take one use of a pass that counts them; return False if none was left."""
    return repository.take_use(conn, tenant_id, credential_id)
