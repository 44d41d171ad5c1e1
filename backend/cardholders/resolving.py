"""Who presented a credential: a card by its number, a code by its signature; and the code a phone shows."""

from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, RowMapping

from backend.cardholders import repository, rules
from backend.cardholders import student_code as codes
from backend.cardholders.types import Cardholder, ResolvedCredential, StudentCode, as_cardholder
from backend.errors import BackendError, Conflict, Forbidden, NotFound
from backend.tenants import keys

_CODE_KID = 1


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


def card_pepper(secrets_dir: Path) -> bytes:
    """Return the key of the hash that card numbers are stored as."""
    return keys.secret(secrets_dir, "card-number-pepper")


def _holder(conn: Connection, tenant_id: str, cardholder_id: str) -> Cardholder:
    row = repository.find_cardholder(conn, tenant_id, cardholder_id=cardholder_id)
    assert row is not None, "a credential has a holder"
    return as_cardholder(row)


def code_credential(conn: Connection, tenant_id: str, cardholder_id: str) -> RowMapping:
    """
    Return the row of a person's code.

    :raises CredentialUnknown: if they have none.
    """
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
    row = code_credential(conn, tenant_id, cardholder_id)
    _check_usable(row, _holder(conn, tenant_id, cardholder_id), now)
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
    lookup = rules.card_lookup(pepper=card_pepper(secrets_dir), tenant_id=tenant_id, number=number)
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
    person = _holder(conn, tenant_id, row["cardholder_id"])
    _check_usable(row, person, now)
    if code is not None:
        credential_id = row["credential_id"]
        oldest_step = codes.step_at(now) - codes.STEPS_LATE - codes.STEPS_EARLY - 1
        if not repository.insert_code_use(conn, tenant_id, credential_id, step=code.step, draw=code.draw, used_at=now):
            raise CodeReplayed
        repository.delete_code_uses(conn, tenant_id, credential_id, before_step=oldest_step)
    return ResolvedCredential(person, row["credential_id"], kind, row["assurance"])
