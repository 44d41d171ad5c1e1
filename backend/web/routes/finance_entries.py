"""Entries by staff and payouts to leavers: proposed by somebody of finance, decided by somebody else."""

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from backend.cardholders.types import SignIn
from backend.errors import BackendError, NotFound
from backend.payments import bank_rules, credit_limits, leaver, people_rules, staff_entries
from backend.payments import service as payments
from backend.payments.leaver import Payout
from backend.payments.people_rules import Obstacle
from backend.payments.staff_entries import Entry
from backend.water_sessions import service as water_sessions
from backend.web.finance_view import account_choices, account_words, chosen_account, find_person, people, why
from backend.web.rendering import say
from backend.web.routes.finance import DECIDERS, PAGE, After, Viewer, older
from backend.web.routes.money import parse_yuan
from backend.web.signed_in import Form, FormIncomplete, Here, SentForm, Site, demand_role

router = APIRouter(prefix="/finance/entries", include_in_schema=False)
PROPOSERS = tuple(sorted(people_rules.PROPOSERS))
EntryState = Literal["", "proposed", "executed", "rejected", "expired", "ended"]
EntryKind = Literal["cash_top_up", "manual", "refund", "payout", "credit_limit"]
KINDS = ("cash_top_up", "refund", "manual", "payout", "credit_limit")
_PAYOUTS = 20
_NOTHING = re.compile(r"¥?0{1,7}([.]0{1,2})?", re.ASCII)


@router.get("")
def entries(here: Here, request: Request, found: Viewer, state: EntryState = "", after: After = "") -> Response:
    """List entries as they stand now, and payouts that must be proposed again."""
    now, tenant_id = here.now, found.tenant_id
    with here.backend.db.read() as conn:
        listed = staff_entries.entries(conn, tenant_id, now=now, state=state or None, after=after, limit=PAGE)
        payable = leaver.payouts(conn, tenant_id, state="payable", limit=_PAYOUTS)
        owing = leaver.payouts(conn, tenant_id, state="owes", limit=_PAYOUTS)
        owed = {each.payout_id: credit_limits.owed_minor(conn, tenant_id, each.cardholder_id) for each in owing}
        ids = [each.cardholder_id for each in listed] + [each.proposed_by for each in listed]
        ids += [each.cardholder_id for each in (*payable, *owing)]
        named = people(conn, tenant_id, ids)
    return here.pages.render(
        request,
        "staff/finance_entries.html",
        now=now,
        nav="finance",
        part="entries",
        entries=listed,
        payable=payable,
        owing=owing,
        owed=owed,
        why={each.entry_id: why(each.reason, here.pages.language(request)) for each in listed},
        people=named,
        may_propose=bool(found.cardholder.roles & people_rules.PROPOSERS),
        state=state,
        after=after,
        older=older(listed, "entry_id"),
    )


# -- proposing -------------------------------------------------------------------------------------------------------


def _propose_page(
    here: Site,
    request: Request,
    found: SignIn,
    kind: str,
    *,
    sent: Form | None = None,
    refusal: BackendError | None = None,
    obstacles: tuple[Obstacle, ...] = (),
    payout_id: str = "",
) -> Response:
    language = here.pages.language(request)
    with here.backend.db.read() as conn:
        again = leaver.find_payout(conn, found.tenant_id, payout_id) if payout_id else None
        person = people(conn, found.tenant_id, [again.cardholder_id])[again.cardholder_id] if again else None
    sent = sent or Form({}, {})
    least, most = people_rules.LIMITS_MINOR[kind]
    return here.pages.render(
        request,
        "staff/finance_propose.html",
        status=refusal.status if refusal is not None else 200,
        now=here.now,
        nav="finance",
        part="entries",
        kind=kind,
        kinds=KINDS,
        limits=(least, most),
        accounts=[(each, account_words(each, language, {})) for each in account_choices()],
        channels=tuple(people_rules.CHANNELS),
        again=again,
        person_again=person,
        sent=sent,
        form_id=sent.get("request_id") or secrets.token_hex(12),
        obstacles=obstacles,
        reason_chars=(people_rules.REASON_CHARS_MIN, people_rules.REASON_CHARS_MAX),
        said=say(refusal, language) if refusal is not None else None,
        bad_field=str((refusal.details or {}).get("field", "")) if refusal is not None else "",
    )


@router.get("/new")
def new(
    here: Here,
    request: Request,
    found: Viewer,
    kind: EntryKind = "cash_top_up",
    payout: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """Show the form for an entry of a kind, or for a payout to be proposed again."""
    demand_role(found.cardholder, *PROPOSERS)
    return _propose_page(here, request, found, "payout" if payout else kind, payout_id=payout)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Whose money an entry moves, between which accounts, and what it is about."""

    cardholder_id: str
    debit_account_id: str = ""
    credit_account_id: str = ""
    subject_id: str = ""


def _wanted(conn: Connection, tenant_id: str, kind: str, form: Form) -> _Wanted:
    """Return what a form asks for, its person and its accounts found."""
    if kind == "refund":
        number = form.need("bill")
        auth_id = water_sessions.session(conn, tenant_id, number).auth_id if number.startswith("ws_") else number
        return _Wanted(payments.authorization(conn, tenant_id, auth_id).cardholder_id, subject_id=auth_id)
    login = form.get("person") if kind == "manual" else form.need("person")
    cardholder_id = find_person(conn, tenant_id, login).cardholder_id if login else ""
    if kind != "manual":
        return _Wanted(cardholder_id)
    debit = chosen_account(form.need("debit"), cardholder_id)
    credit = chosen_account(form.need("credit"), cardholder_id)
    return _Wanted(cardholder_id, debit, credit, form.get("about")[:64])


def _amount(kind: str, form: Form) -> int:
    """
    Return the amount that a form names; only a credit may be of nothing, which ends it.

    :raises FormIncomplete: if it is no amount.
    """
    text = form.need("amount")
    return 0 if kind == credit_limits.KIND and _NOTHING.fullmatch(text.strip()) else parse_yuan(text)


def _end(form: Form, zone: ZoneInfo) -> datetime | None:
    """
    Return the end of the local day that a form names, if it names one.

    :raises FormIncomplete: if it is no day.
    """
    text = form.get("until")
    if not text:
        return None
    try:
        day = date.fromisoformat(text) + timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise FormIncomplete(f"{text[:16]!r} is no day", field="until") from error
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _propose(conn: Connection, here: Site, request: Request, found: SignIn, kind: str, form: Form) -> str:
    """Return the id of the entry that a form proposes."""
    wanted = _wanted(conn, found.tenant_id, kind, form)
    return staff_entries.propose(
        conn,
        tenant_id=found.tenant_id,
        entry_id=f"en_{form.need('request_id')}",
        kind=kind,
        cardholder_id=wanted.cardholder_id,
        amount_minor=_amount(kind, form),
        reason=form.get("reason"),
        proposed_by=found.cardholder.cardholder_id,
        now=here.now,
        ends_at=_end(form, request.state.zone) if kind == credit_limits.KIND else None,
        debit_account_id=wanted.debit_account_id,
        credit_account_id=wanted.credit_account_id,
        subject_id=wanted.subject_id,
    ).entry_id


def _pay_out(conn: Connection, here: Site, found: SignIn, form: Form) -> str:
    """Return the id of the entry that pays a leaver; empty if there was nothing to pay."""
    channel, destination, reason = form.need("channel"), form.get("destination"), form.get("reason")
    proposed_by = found.cardholder.cardholder_id
    if form.get("payout"):
        return leaver.propose_again(
            conn,
            tenant_id=found.tenant_id,
            payout_id=form.get("payout"),
            entry_id=f"en_{form.need('request_id')}",
            channel=channel,
            destination=destination,
            reason=reason,
            proposed_by=proposed_by,
            now=here.now,
        ).entry_id
    return leaver.payout(
        conn,
        tenant_id=found.tenant_id,
        payout_id=f"po_{form.need('request_id')}",
        cardholder_id=find_person(conn, found.tenant_id, form.need("person")).cardholder_id,
        channel=channel,
        destination=destination,
        reason=reason,
        proposed_by=proposed_by,
        now=here.now,
    ).entry_id


def _obstacles(here: Site, tenant_id: str, form: Form) -> tuple[Obstacle, ...]:
    with here.backend.db.read() as conn:
        person = find_person(conn, tenant_id, form.need("person"))
        return tuple(leaver.obstacles(conn, tenant_id, person.cardholder_id, here.now))


@router.post("")
def propose(here: Here, request: Request, found: Viewer, form: SentForm) -> Response:
    """Propose an entry or a payout, once per form; no money moves until a second person approves."""
    demand_role(found.cardholder, *PROPOSERS)
    kind = form.need("kind")
    if kind not in KINDS:
        raise FormIncomplete(f"{kind[:16]!r} is no kind of entry", field="kind")
    obstacles: tuple[Obstacle, ...] = ()
    try:
        with here.backend.db.write() as conn:
            if kind == "payout":
                made = _pay_out(conn, here, found, form)
            else:
                made = _propose(conn, here, request, found, kind, form)
    except leaver.PayoutUnknown:
        raise
    except BackendError as refusal:
        if isinstance(refusal, leaver.PayoutBlocked):
            obstacles = _obstacles(here, found.tenant_id, form)
        return _propose_page(
            here,
            request,
            found,
            kind,
            sent=form,
            refusal=refusal,
            obstacles=obstacles,
            payout_id=form.get("payout") if kind == "payout" else "",
        )
    return RedirectResponse(f"/finance/entries/{made}" if made else "/finance/entries", 303)


# -- deciding --------------------------------------------------------------------------------------------------------


def _goes_by_bank(entry: Entry) -> bool:
    """Return whether an entry orders a bank transfer that somebody must make now."""
    by_bank = entry.kind == "payout" and entry.credit_account_id == people_rules.CHANNELS["bank"]
    return by_bank and entry.state == "executed"


def _payout_of(conn: Connection, entry: Entry) -> Payout | None:
    """Return the payout that an entry pays; None if it pays none, or if the payout goes by another entry now."""
    if entry.kind != "payout":
        return None
    found = leaver.find_payout(conn, entry.tenant_id, entry.subject_id)
    return found if found.entry_id == entry.entry_id else None


def _entry_page(
    here: Site, request: Request, found: SignIn, entry_id: str, *, refusal: BackendError | None = None, note: str = ""
) -> Response:
    language, person = here.pages.language(request), found.cardholder
    with here.backend.db.read() as conn:
        entry = staff_entries.entry(conn, found.tenant_id, entry_id, here.now)
        payout = _payout_of(conn, entry)
        owners = [each.partition("/")[2] for each in (entry.debit_account_id, entry.credit_account_id)]
        named = people(conn, found.tenant_id, [entry.cardholder_id, entry.proposed_by, entry.decided_by, *owners])
    is_open = entry.state == "proposed"
    return here.pages.render(
        request,
        "staff/finance_entry.html",
        status=refusal.status if refusal is not None else 200,
        now=here.now,
        nav="finance",
        part="entries",
        entry=entry,
        why=why(entry.reason, language),
        payout=payout,
        people=named,
        debit=account_words(entry.debit_account_id, language, named) if entry.debit_account_id else "",
        credit=account_words(entry.credit_account_id, language, named) if entry.credit_account_id else "",
        bank_number=bank_rules.reference(entry_id) if _goes_by_bank(entry) else "",
        is_own=entry.proposed_by == person.cardholder_id,
        is_own_money=person.cardholder_id in (entry.cardholder_id, *owners),
        may_approve=is_open and bool(person.roles & people_rules.APPROVERS),
        may_reject=is_open and bool(person.roles & (people_rules.APPROVERS | people_rules.PROPOSERS)),
        note=note,
        reason_chars=(people_rules.REASON_CHARS_MIN, people_rules.REASON_CHARS_MAX),
        said=say(refusal, language) if refusal is not None else None,
    )


@router.get("/{entry_id}")
def entry(here: Here, request: Request, found: Viewer, entry_id: str) -> Response:
    """Show an entry with what it would move, and who may decide it."""
    return _entry_page(here, request, found, entry_id)


@router.post("/{entry_id}")
def decide(here: Here, request: Request, found: Viewer, form: SentForm, entry_id: str) -> Response:
    """Approve an entry as a second person, or refuse it with words; the same again changes nothing."""
    demand_role(found.cardholder, *DECIDERS)
    wanted, note, by = form.need("do"), form.get("note"), found.cardholder.cardholder_id
    if wanted not in ("approve", "reject"):
        raise FormIncomplete(field="do")
    try:
        about: dict[str, Any] = {"tenant_id": found.tenant_id, "entry_id": entry_id, "note": note, "now": here.now}
        if wanted == "approve":
            work = partial(staff_entries.approve, **about, approved_by=by)
        else:
            work = partial(staff_entries.reject, **about, rejected_by=by)
        payments.in_turn(here.backend.db, found.tenant_id, work)
    except NotFound:
        raise
    except BackendError as refusal:
        return _entry_page(here, request, found, entry_id, refusal=refusal, note=note)
    return RedirectResponse(f"/finance/entries/{entry_id}", 303)
