"""What finance's pages are drawn from: evidence in words, people by login or number, the accounts a form offers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from backend.cardholders import service as cardholders
from backend.cardholders.types import Cardholder
from backend.kit.money import format_minor
from backend.ledger import chart
from backend.payments import people_rules
from backend.payments.capabilities import EXTERNAL_METHODS
from backend.payments.entry_checks import CLEARING
from backend.statements import service as statements
from backend.statements.types import StatementFile, Summary
from backend.web import words
from backend.web.signed_in import FormIncomplete

#: In place of an owner: whoever the form names.
PERSON = "*"
_SHOWN_CHARS_MAX = 400
_GROUPS = {
    "method": "method",
    "stop_reason": "stop",
    "said_by": "said_by",
    "evidence": "reading",
    "usage_note": "reading",
    "answer": "answer",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of evidence: what it is, what it says, and whether it is a code rather than words."""

    name: str
    text: str
    is_code: bool


def _written(kind: str, key: str, value: Any, language: str) -> tuple[str, bool]:
    if value is None or value == "":
        return "–", False
    if key.endswith("_minor"):
        return format_minor(int(value)), False
    if key.endswith("_ml"):
        return f"{int(value) / 1000:,.1f}", False
    if key.endswith("_decidegc"):
        return f"{int(value) / 10:.1f}°", False
    if key == "duration_s":
        return f"{int(value) // 60}:{int(value) % 60:02d}", False
    if key == "kind":
        return words.word("operation", value, language), False
    if key == "reason":
        return words.word("dispute_reason" if kind == "dispute" else "answer", value, language), False
    if key == "state":
        return words.word("authorization" if value != "checking" else "top_up", value, language), False
    if key == "reasons":
        counted = sorted(value.items(), key=lambda each: (-each[1], each[0]))
        return "; ".join(f"{words.word('answer', reason, language)} ×{count}" for reason, count in counted), False
    if key in _GROUPS:
        return words.word(_GROUPS[key], value, language), False
    text = str(value)
    return text[:_SHOWN_CHARS_MAX], key != "text" and not isinstance(value, int)


def facts(kind: str, evidence: Mapping[str, Any], language: str) -> list[Fact]:
    """Return a case's evidence as it is read: names and values in words, amounts and litres with their units."""
    return [
        Fact(words.word("evidence", key, language), *_written(kind, key, value, language))
        for key, value in evidence.items()
    ]


def why(reason: str, language: str) -> str:
    """Return an entry's reason; one that a decided dispute gave it begins in the reader's language."""
    first, _, rest = reason.partition(" ")
    return f"{words.word('case', 'dispute', language)} {rest}" if first == "dispute" and rest else reason


def people(conn: Connection, tenant_id: str, ids: Iterable[str]) -> dict[str, Cardholder | None]:
    """Return people by id; None for one who is not there."""
    found: dict[str, Cardholder | None] = {}
    for cardholder_id in set(ids) - {""}:
        try:
            found[cardholder_id] = cardholders.cardholder(conn, tenant_id, cardholder_id)
        except cardholders.CardholderUnknown:
            found[cardholder_id] = None
    return found


def find_person(conn: Connection, tenant_id: str, text: str) -> Cardholder:
    """
    Return the person of a login, or of a number.

    :raises backend.cardholders.service.CardholderUnknown: if the school has neither.
    """
    try:
        return cardholders.cardholder_by_login(conn, tenant_id, text)
    except cardholders.CardholderUnknown:
        return cardholders.cardholder(conn, tenant_id, text)


def account_choices() -> list[str]:
    """Return the accounts a manual entry may name; the owner of a person's own is `*` until the form is read."""
    found = []
    for kind, rule in chart.CHART.items():
        if kind == CLEARING:
            continue
        if rule.owner == "school":
            found.append(kind)
        elif rule.owner == "method":
            found += [f"{kind}/{method}" for method in EXTERNAL_METHODS]
            found += [f"{kind}/{people_rules.PAYOUT_OWNER}"] if kind == "refunds_payable" else []
        elif rule.owner == "cardholder":
            found.append(f"{kind}/{PERSON}")
            found += [f"{kind}/{people_rules.FUND_OWNER}"] if kind in people_rules.FUND_KINDS else []
    return found


def account_words(account_id: str, language: str, owners: Mapping[str, Cardholder | None]) -> str:
    """Return an account's id in words, its owner by name."""
    kind, _, owner = account_id.partition("/")
    named = words.word("account", kind, language)
    if not owner:
        return named
    person = owners.get(owner)
    if owner == PERSON:
        whose = words.word("account", "person", language)
    elif person is not None:
        whose = person.name_en if language == "en" and person.name_en else person.name
    elif owner in (people_rules.FUND_OWNER, people_rules.PAYOUT_OWNER):
        whose = words.word("account", owner, language)
    else:
        whose = words.word("method", owner, language)
    return f"{named} · {whose}"


def chosen_account(choice: str, cardholder_id: str) -> str:
    """
    Return the account that a form's choice stands for.

    :raises FormIncomplete: if it is none of those offered, or is a person's and none is named.
    """
    if choice not in account_choices():
        raise FormIncomplete(f"{choice!r} is no account to choose", field="account")
    kind, _, owner = choice.partition("/")
    if owner != PERSON:
        return choice
    if not cardholder_id:
        raise FormIncomplete("the account is a person's: name one", field="person")
    return chart.account_id(kind, cardholder_id)


@dataclass(frozen=True, slots=True)
class StatementDay:
    """What was imported for a day: for each method the file in force with its sums, and files it replaced."""

    day: date
    summaries: tuple[Summary, ...]
    replaced: tuple[StatementFile, ...]


def statement_days(conn: Connection, tenant_id: str, days: list[date]) -> list[StatementDay]:
    """Return what was imported for some days, in their order."""
    files = [file for file in statements.files(conn, tenant_id) if file.replaced_at is not None]
    return [
        StatementDay(
            day,
            tuple(statements.summary(conn, tenant_id, method, day) for method in statements.METHODS),
            tuple(file for file in files if file.day == day),
        )
        for day in days
    ]


def last_days(now: datetime, count: int) -> list[date]:
    """Return the days before the local day of a moment, the newest first."""
    return [now.date() - timedelta(days=number) for number in range(1, count + 1)]
