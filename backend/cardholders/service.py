"""Use cases of the cardholders slice: people, their credentials, who presented one. Sign-in is in `sign_in`."""

import secrets
from dataclasses import fields
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, RowMapping

from backend.cardholders import repository, rules
from backend.cardholders import student_code as codes
from backend.cardholders.sign_in import (
    SignInExpired as SignInExpired,
)
from backend.cardholders.sign_in import (
    SignInRefused as SignInRefused,
)
from backend.cardholders.sign_in import (
    TooManyAttempts as TooManyAttempts,
)
from backend.cardholders.sign_in import (
    as_cardholder,
)
from backend.cardholders.sign_in import (
    sign_in as sign_in,
)
from backend.cardholders.sign_in import (
    sign_out as sign_out,
)
from backend.cardholders.sign_in import (
    signed_in as signed_in,
)
from backend.cardholders.types import (
    PERSON_CLASSES,
    ROLES,
)
from backend.cardholders.types import (
    Cardholder as Cardholder,
)
from backend.cardholders.types import (
    Credential as Credential,
)
from backend.cardholders.types import (
    ResolvedCredential as ResolvedCredential,
)
from backend.cardholders.types import (
    SignIn as SignIn,
)
from backend.cardholders.types import (
    StudentCode as StudentCode,
)
from backend.errors import BackendError, Conflict, Forbidden, NotFound
from backend.kit.ids import new_id
from backend.tenants import keys

_CODE_KID = 1
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


class CredentialUnknown(NotFound):
    """Nobody has this credential."""

    code = "credential_unknown"


class CredentialFrozen(Forbidden):
    """This credential is frozen."""

    code = "credential_frozen"


class CredentialNotValid(Forbidden):
    """This pass is not valid now."""

    code = "visitor_not_valid"


class CardholderInactive(Forbidden):
    """This person's use is frozen or closed."""

    code = "cardholder_inactive"


class CodeMalformed(BackendError):
    """This is not a student code."""

    code = "code_malformed"


class CodeExpired(Forbidden):
    """This code has expired; show a new one."""

    code = "code_expired"


class CodeReplayed(Conflict):
    """This code has been used; show a new one."""

    code = "code_replayed"


def _code_master(secrets_dir: Path) -> bytes:
    return keys.secret(secrets_dir, f"student-code-master-{_CODE_KID}")


def _card_pepper(secrets_dir: Path) -> bytes:
    return keys.secret(secrets_dir, "card-number-pepper")


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
    lookup = rules.card_lookup(pepper=_card_pepper(secrets_dir), tenant_id=tenant_id, number=number)
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
    row = _code_credential(conn, tenant_id, cardholder_id)
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


def _code_credential(conn: Connection, tenant_id: str, cardholder_id: str) -> RowMapping:
    for row in repository.find_credentials(conn, tenant_id, cardholder_id):
        if row["kind"] == "code":
            return row
    raise CredentialUnknown(f"cardholder {cardholder_id!r} has no code")


def _check_usable(row: RowMapping, person: Cardholder, now: datetime) -> None:
    if row["status"] != "active":
        raise CredentialFrozen
    if person.status != "active":
        raise CardholderInactive
    is_valid = rules.is_pass_valid(
        person_class=person.person_class,
        kind=row["kind"],
        not_before=row["not_before"],
        not_after=row["not_after"],
        uses_left=row["uses_left"],
        now=now,
    )
    if not is_valid:
        raise CredentialNotValid


def student_code(conn: Connection, secrets_dir: Path, tenant_id: str, cardholder_id: str, now: datetime) -> StudentCode:
    """
    Return the code a person's phone shows now; a new one once the one of this step has been used.

    :raises CredentialFrozen: if the code is frozen.
    :raises CardholderInactive: if the person is frozen or closed.
    :raises CredentialNotValid: if it is a visitor's and not valid now.
    """
    row = _code_credential(conn, tenant_id, cardholder_id)
    _check_usable(row, cardholder(conn, tenant_id, cardholder_id), now)
    step = codes.step_at(now)
    draw = (repository.last_draw(conn, tenant_id, row["credential_id"], step) + 1) % codes.DRAWS_PER_STEP
    text = codes.write(
        master=_code_master(secrets_dir),
        kid=_CODE_KID,
        tenant_id=tenant_id,
        credential=bytes.fromhex(row["lookup"]),
        step=step,
        draw=draw,
    )
    return StudentCode(text=text, expires_at=codes.expires_at(step))


def _find_card(conn: Connection, secrets_dir: Path, tenant_id: str, uid: str) -> RowMapping:
    number = rules.card_number(uid)
    if number is None:
        raise CredentialUnknown
    lookup = rules.card_lookup(pepper=_card_pepper(secrets_dir), tenant_id=tenant_id, number=number)
    row = repository.find_credential(conn, tenant_id, kind="uid", lookup=lookup)
    if row is None:
        raise CredentialUnknown
    return row


def _find_code(
    conn: Connection, secrets_dir: Path, tenant_id: str, text: str, now: datetime
) -> tuple[RowMapping, codes.ReadCode]:
    try:
        code = codes.read(text)
    except codes.UnreadableCode as error:
        raise CodeMalformed from error
    row = repository.find_credential(conn, tenant_id, kind="code", lookup=code.credential.hex())
    genuine = codes.is_genuine(code, master=_code_master(secrets_dir), tenant_id=tenant_id)
    if row is None or code.kid != _CODE_KID or not genuine:
        raise CredentialUnknown  # the same answer, after the same work, for a forged and for an unknown one
    if not codes.is_current(code.step, now):
        raise CodeExpired
    return row, code


def resolve(
    conn: Connection, secrets_dir: Path, tenant_id: str, *, kind: str, value: str, now: datetime
) -> ResolvedCredential:
    """
    Return who presented a credential. A code is thereby used; it takes a write transaction.

    :raises CredentialUnknown: if nobody has it, or the kind cannot be resolved.
    :raises CodeMalformed: if a code is not SC1 at all.
    :raises CodeExpired: if a code is too old or too new.
    :raises CodeReplayed: if a code has been used.
    :raises CredentialFrozen: if it is frozen.
    :raises CardholderInactive: if its holder is frozen or closed.
    :raises CredentialNotValid: if it is a visitor's pass outside its period or without uses left.
    """
    if kind not in rules.ASSURANCE:
        raise CredentialUnknown(f"credentials of kind {kind!r} are not known here")
    code: codes.ReadCode | None = None
    if kind == "uid":
        row = _find_card(conn, secrets_dir, tenant_id, value)
    else:
        row, code = _find_code(conn, secrets_dir, tenant_id, value, now)
    person = cardholder(conn, tenant_id, row["cardholder_id"])
    _check_usable(row, person, now)
    if code is not None:
        credential_id = row["credential_id"]
        oldest_step = codes.step_at(now) - codes.STEPS_LATE - codes.STEPS_EARLY - 1
        if not repository.insert_code_use(conn, tenant_id, credential_id, step=code.step, draw=code.draw, used_at=now):
            raise CodeReplayed
        repository.delete_code_uses(conn, tenant_id, credential_id, before_step=oldest_step)
    return ResolvedCredential(person, row["credential_id"], kind, row["assurance"])
