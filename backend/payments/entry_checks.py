"""What an entry by staff must be before anybody is asked to agree to it: by whom, between which accounts, how much."""

import re

from sqlalchemy import Connection

from backend.cardholders import service as cardholders
from backend.errors import BackendError, Conflict, Forbidden
from backend.ledger import chart
from backend.payments import credit_limits, people_rules
from backend.payments import people_repository as repository
from backend.payments import service as payments
from backend.payments.capabilities import EXTERNAL_METHODS

_ID = re.compile(r"[A-Za-z0-9._-]{4,62}")
_METHOD_OWNERS = (*EXTERNAL_METHODS, people_rules.PAYOUT_OWNER)
#: What running showers lean on: money taken from there by hand would be missing when they settle.
CLEARING = "payment_clearing"


class StaffRoleMissing(Forbidden):
    """This step needs a role that the person lacks."""

    code = "role_missing"


def demand_staff(conn: Connection, tenant_id: str, person_id: str, roles: frozenset[str]) -> None:
    """
    Return nothing if an active person of the tenant has one of the roles.

    :raises StaffRoleMissing: otherwise.
    :raises backend.cardholders.service.CardholderUnknown: if the tenant has no such person.
    """
    person = cardholders.cardholder(conn, tenant_id, person_id)
    if person.status != "active" or not person.roles & roles:
        raise StaffRoleMissing(role=",".join(sorted(roles)))


class OwnMoney(Forbidden):
    """Nobody moves their own money as staff."""

    code = "own_money"


def check_distance(person_id: str, cardholder_id: str, *account_ids: str) -> None:
    """
    Return nothing if an entry touches no money of a person.

    :raises OwnMoney: if it is theirs, or one of its accounts is.
    """
    if person_id == cardholder_id or any(each.partition("/")[2] == person_id for each in account_ids):
        raise OwnMoney


class IdMalformed(BackendError):
    """An id is 4 to 62 letters, digits, hyphens, dots or underscores."""

    code = "request_id_malformed"
    status = 422


def check_id(text: str) -> None:
    """
    Return nothing if every database can hold an id and what is made of it.

    :raises IdMalformed: unless it is 4 to 62 letters, digits, hyphens, dots or underscores.
    """
    if not _ID.fullmatch(text):
        raise IdMalformed


class EntryAmountRefused(BackendError):
    """The amount is outside what one entry of this kind may move."""

    code = "entry_amount_refused"
    status = 422


def check_amount(kind: str, amount_minor: int) -> None:
    """
    Return nothing if one entry of a kind may move so much.

    :raises EntryAmountRefused: otherwise, naming the limits.
    """
    least, most = people_rules.LIMITS_MINOR[kind]
    if not least <= amount_minor <= most:
        raise EntryAmountRefused(amount_minor=amount_minor, minimum_minor=least, maximum_minor=most)


class ReasonTooShort(BackendError):
    """Say in 10 to 500 characters why."""

    code = "reason_too_short"
    status = 422


def check_reason(text: str) -> str:
    """
    Return the words without the space around them.

    :raises ReasonTooShort: unless they have 10 to 500 characters.
    """
    if not people_rules.is_reason(text):
        raise ReasonTooShort(chars_min=people_rules.REASON_CHARS_MIN, chars_max=people_rules.REASON_CHARS_MAX)
    return text.strip()


def check_note(text: str) -> str:
    """
    Return words that may be missing, without the space around them.

    :raises ReasonTooShort: if they have more than 500 characters.
    """
    if len(text.strip()) > people_rules.REASON_CHARS_MAX:
        raise ReasonTooShort(chars_min=0, chars_max=people_rules.REASON_CHARS_MAX)
    return text.strip()


def check_owner(conn: Connection, tenant_id: str, cardholder_id: str, *, credit_minor: int) -> None:
    """
    Return nothing if the money may be this person's; who has left gets nothing (`credit_minor`) but what they owe.

    :raises backend.cardholders.service.CardholderUnknown: if the tenant has no such person.
    :raises backend.cardholders.service.CardholderInactive: if they have left and more would come in than they owe.
    """
    person = cardholders.cardholder(conn, tenant_id, cardholder_id)
    if person.status == "closed" and credit_minor > credit_limits.owed_minor(conn, tenant_id, cardholder_id):
        raise cardholders.CardholderInactive


class EntryAccountRefused(BackendError):
    """An entry runs between two different accounts of the chart, owned by people or methods of this school."""

    code = "entry_account_refused"
    status = 422


def check_accounts(conn: Connection, tenant_id: str, debit_account_id: str, credit_account_id: str) -> None:
    """
    Return nothing if an entry may run between two accounts.

    :raises EntryAccountRefused: naming the account that is not this school's, or is named twice.
    """
    for account_id in (debit_account_id, credit_account_id):
        if not _is_account(conn, tenant_id, account_id):
            raise EntryAccountRefused(account_id=account_id)
    if debit_account_id == credit_account_id:
        raise EntryAccountRefused(account_id=debit_account_id)


def _is_account(conn: Connection, tenant_id: str, account_id: str) -> bool:
    """Return whether an account is, or may become, one of a school's: of its chart, and owned by one of its own."""
    rule = chart.rule_of(account_id)
    if rule is None:
        return False
    kind, _, owner = account_id.partition("/")
    if kind == CLEARING:
        return False
    if not owner:
        return rule.owner == "school"
    if rule.owner == "cardholder":
        is_fund = kind in people_rules.FUND_KINDS and owner == people_rules.FUND_OWNER
        return is_fund or _is_person(conn, tenant_id, owner)
    return rule.owner == "method" and owner in _METHOD_OWNERS


def _is_person(conn: Connection, tenant_id: str, cardholder_id: str) -> bool:
    try:
        cardholders.cardholder(conn, tenant_id, cardholder_id)
    except cardholders.CardholderUnknown:
        return False
    return True


def refundable_minor(conn: Connection, tenant_id: str, auth_id: str) -> int:
    """
    Return how much of an authorization was captured and neither given back, nor owed, nor about to be.

    :raises backend.payments.service.AuthorizationUnknown: if there is none.
    """
    left = payments.refundable_minor(conn, tenant_id, auth_id)
    waiting = repository.find_by(
        conn, repository.staff_entries, tenant_id, kind="refund", subject_id=auth_id, state="proposed"
    )
    return left - sum(int(row["amount_minor"]) for row in waiting)


class NotRefundable(Conflict):
    """So much cannot be given back: it was not captured, or it was given back already."""

    code = "not_refundable"


def check_refund(conn: Connection, tenant_id: str, cardholder_id: str, auth_id: str, amount_minor: int) -> None:
    """
    Return nothing if so much of an authorization can be given back to a person.

    :raises backend.payments.service.AuthorizationUnknown: if there is none.
    :raises NotRefundable: if it is another's, or not so much is left of what was captured.
    """
    found = payments.authorization(conn, tenant_id, auth_id)
    left = refundable_minor(conn, tenant_id, auth_id)
    if found.cardholder_id != cardholder_id or amount_minor > left:
        raise NotRefundable(auth_id=auth_id, left_minor=max(left, 0))


class PayoutNotWaiting(Conflict):
    """There is no such payout waiting to be paid."""

    code = "payout_not_waiting"


def check_payout(
    conn: Connection, tenant_id: str, cardholder_id: str, payout_id: str, entry_id: str, amount_minor: int
) -> None:
    """
    Return nothing if a payout waits for this entry.

    :raises PayoutNotWaiting: if it is another person's, of another amount, or waits for no such entry.
    """
    row = repository.find(conn, repository.payouts, tenant_id, payout_id)
    named = (cardholder_id, amount_minor, entry_id, "waiting")
    if row is None or (row["cardholder_id"], row["amount_minor"], row["entry_id"], row["state"]) != named:
        raise PayoutNotWaiting(payout_id=payout_id)
