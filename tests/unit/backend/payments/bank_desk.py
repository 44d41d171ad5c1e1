"""The bank's side of payouts: days of the account that leavers are paid from, imported as the school's own."""

from collections.abc import Sequence
from datetime import date, timedelta

from backend.payments.bank_rules import reference
from backend.statements import service as statements
from tests.unit.backend.payments.office import Office
from tests.unit.backend.statements.writing import Said, bank

WAYS = {"付": "payout", "退": "payout_return", "收": "deposit"}
DESTINATION = "bank of ann 6222 0001"


def moved(way: str, entry_id: str, amount_minor: int, number: int = 1, *, named: str | None = None) -> tuple[str, ...]:
    """Return one movement: the way, what it names, the amount and the bank's number."""
    return way, reference(entry_id) if named is None else named, str(amount_minor), f"B{number:010d}"


def bring_day(office: Office, movements: Sequence[tuple[str, ...]], *, later: timedelta = timedelta()) -> date:
    """Import a day of the account, the day of the office's clock or a later one, as soon as it is over."""
    at = office.now + later + timedelta(hours=8)
    wall = at.replace(tzinfo=None)
    rows = [
        Said(WAYS[way], named, "", number, -int(amount) if way == "付" else int(amount), 0, wall, way)
        for way, named, amount, number in movements
    ]
    with office.db.write() as conn:
        statements.import_file(
            conn,
            tenant_id=office.tenant_id,
            method="bank",
            day=at.date(),
            name="account.csv",
            data=bank(rows, day=at.date()),
            now=office.now + later + timedelta(days=1),
        )
    return at.date()


def pay_by_bank(office: Office, amount_minor: int = 1_003, *, person: str = "ann", payout_id: str = "po_1") -> None:
    """Let somebody leave with what they have, by bank, agreed by two."""
    office.give("wallet", amount_minor, f"ch_{person}")
    office.payout(payout_id, cardholder_id=f"ch_{person}", channel="bank", destination=DESTINATION)
    office.approve(f"{payout_id}.1")
