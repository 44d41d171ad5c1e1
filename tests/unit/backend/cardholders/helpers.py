"""People for cardholder tests."""

from sqlalchemy import Connection

from backend.cardholders import service
from backend.cardholders.types import Cardholder
from tests.factories import NOW

TENANT = "gxu"
PASSWORD = "correct horse"
UID = "04A2B3C4D5E6F7"


def person(cardholder_id: str = "ch_1", *, login: str = "s001", person_class: str = "student") -> Cardholder:
    """Return an active person."""
    return Cardholder(
        tenant_id=TENANT,
        cardholder_id=cardholder_id,
        login=login,
        name="王一鸣",
        name_en="Yiming Wang",
        person_class=person_class,
        status="active",
        roles=frozenset({"student"}),
    )


def add(conn: Connection, new: Cardholder | None = None) -> Cardholder:
    """Store a person and return them."""
    new = new or person()
    service.add_cardholder(conn, new, PASSWORD, NOW)
    return new
