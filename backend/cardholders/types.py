"""What the cardholders slice hands out."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import RowMapping

#: What a person may do; a cardholder has any number of these.
ROLES = frozenset({"student", "facilities", "admin", "approver", "gate_desk", "finance"})
PERSON_CLASSES = frozenset({"student", "staff", "visitor"})


@dataclass(frozen=True, slots=True)
class Cardholder:
    """A person the school knows. `status` is active, frozen or closed."""

    tenant_id: str
    cardholder_id: str
    login: str
    name: str
    name_en: str
    person_class: str
    status: str
    roles: frozenset[str]


@dataclass(frozen=True, slots=True)
class Credential:
    """What a person is recognized by: `kind` uid (a card's number) or code (the phone's code, a visitor pass)."""

    tenant_id: str
    credential_id: str
    cardholder_id: str
    kind: str
    #: last digits of a card; empty for a code
    hint: str
    #: 0: can be copied (a card's number); 1: single-use code
    assurance: int
    #: active or frozen
    status: str
    frozen_at: datetime | None
    not_before: datetime | None
    not_after: datetime | None
    uses_left: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ResolvedCredential:
    """Who presented a credential, and how sure we are."""

    cardholder: Cardholder
    credential_id: str
    kind: str
    assurance: int


@dataclass(frozen=True, slots=True)
class StudentCode:
    """A code to be drawn as QR; it is refused from `expires_at` on, and after its first use."""

    text: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class SignIn:
    """A signed-in person. The token is known to their browser alone; we keep its hash."""

    token: str
    tenant_id: str
    cardholder: Cardholder
    expires_at: datetime


def as_cardholder(row: RowMapping) -> Cardholder:
    """Return the person a row describes."""
    return Cardholder(
        tenant_id=row["tenant_id"],
        cardholder_id=row["cardholder_id"],
        login=row["login"],
        name=row["name"],
        name_en=row["name_en"],
        person_class=row["person_class"],
        status=row["status"],
        roles=frozenset(row["roles"]),
    )
