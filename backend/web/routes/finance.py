"""Finance at a glance: what is held, what is unknown, open cases; the cases themselves, refunds, and both as files."""

import logging
from collections.abc import Callable, Iterator
from typing import Annotated, Literal, TypeVar

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from backend.cardholders.types import SignIn
from backend.errors import BackendError, NotFound
from backend.payments import cases as case_book
from backend.payments import people_rules, proving, returning, staff_entries, standing
from backend.payments import service as payments
from backend.payments.cases import Case
from backend.web import csv_export, words
from backend.web.charts.bars import spark
from backend.web.finance_view import facts, last_days, people, statement_days
from backend.web.rendering import say
from backend.web.signed_in import Here, SentForm, Site, demand_role, require

log = logging.getLogger(__name__)
router = APIRouter(prefix="/finance", include_in_schema=False)
Viewer = Annotated[SignIn, Depends(require("finance", "approver", "admin"))]
#: The `after` of a list: the id of the last row of the page before.
After = Annotated[str, Query(max_length=80)]
CaseState = Literal["", "open", "closed"]
RefundState = Literal["", "requested", "done", "refused"]

PAGE = 50
DECIDERS = tuple(sorted(people_rules.APPROVERS))
_HOLDS, _UNKNOWNS, _CASES, _ENTRIES, _DAYS = 30, 50, 8, 8, 5
_CHART_WIDTH, _CHART_HEIGHT = 480, 96
_EXPORT_PAGE = 500
_EXPORT_ROWS_MAX = 100_000
T = TypeVar("T")


def older(rows: list[T], key: str, limit: int = PAGE) -> str:
    """Return where the page after these rows begins; empty if they are the last."""
    return str(getattr(rows[-1], key)) if len(rows) == limit else ""


@router.get("")
def overview(here: Here, request: Request, found: Viewer) -> Response:
    """Show what is held and for how long, what is unknown, open cases, waiting entries, and the last statements."""
    now, tenant_id = here.now, found.tenant_id
    local = now.astimezone(request.state.zone)
    with here.backend.db.read() as conn:
        ages = standing.holds_by_age(conn, tenant_id, now)
        holds = standing.oldest_holds(conn, tenant_id, _HOLDS)
        unknowns = payments.unknowns(conn, tenant_id)
        totals = standing.open_cases(conn, tenant_id)
        cases = case_book.cases(conn, tenant_id, state="open", limit=_CASES)
        waiting = standing.waiting_entries(conn, tenant_id, now)
        entries = staff_entries.entries(conn, tenant_id, now=now, state="proposed", limit=_ENTRIES)
        owed = standing.unpaid_refunds(conn, tenant_id)
        proof = proving.last(conn, tenant_id)
        days = statement_days(conn, tenant_id, last_days(local, _DAYS))
        named = people(conn, tenant_id, [each.cardholder_id for each in entries])
    by_method: dict[str, list[payments.Operation]] = {}
    for each in unknowns[:_UNKNOWNS]:
        by_method.setdefault(each.method, []).append(each)
    return here.pages.render(
        request,
        "staff/finance_overview.html",
        now=now,
        nav="finance",
        part="overview",
        ages=ages,
        bars=spark([each.amount_minor for each in ages], width=_CHART_WIDTH, height=_CHART_HEIGHT),
        holds=holds,
        held=standing.Sum(sum(each.count for each in ages), sum(each.amount_minor for each in ages)),
        unknowns=by_method,
        unknown=standing.Sum(len(unknowns), sum(each.amount_minor for each in unknowns)),
        unknowns_shown=min(len(unknowns), _UNKNOWNS),
        totals=totals,
        open_cases=standing.Sum(sum(each.count for each in totals), sum(each.amount_minor for each in totals)),
        cases=cases,
        waiting=waiting,
        entries=entries,
        people=named,
        owed=owed,
        proof=proof,
        days=days,
    )


# -- cases -----------------------------------------------------------------------------------------------------------


@router.get("/cases")
def cases(
    here: Here, request: Request, found: Viewer, state: CaseState = "open", kind: str = "", after: After = ""
) -> Response:
    """List cases, a page at a time, filtered by state and kind."""
    kinds = sorted(case_book.KINDS)
    with here.backend.db.read() as conn:
        listed = case_book.cases(
            conn,
            found.tenant_id,
            state=state or None,
            kind=kind if kind in kinds else None,
            after=after,
            limit=PAGE,
        )
    return here.pages.render(
        request,
        "staff/finance_cases.html",
        now=here.now,
        nav="finance",
        part="cases",
        cases=listed,
        kinds=kinds,
        state=state,
        kind=kind,
        after=after,
        older=older(listed, "case_id"),
    )


def _case_page(
    here: Site, request: Request, found: SignIn, case_id: str, *, refusal: BackendError | None = None, note: str = ""
) -> Response:
    language = here.pages.language(request)
    with here.backend.db.read() as conn:
        about = case_book.case(conn, found.tenant_id, case_id)
        named = people(conn, found.tenant_id, [about.closed_by, str(about.evidence.get("cardholder_id", ""))])
        is_askable = returning.may_ask_again(conn, about)
    return here.pages.render(
        request,
        "staff/finance_case.html",
        status=refusal.status if refusal is not None else 200,
        now=here.now,
        nav="finance",
        part="cases",
        case=about,
        facts=facts(about.kind, about.evidence, language),
        people=named,
        may_ask=is_askable and bool(found.cardholder.roles & people_rules.APPROVERS),
        may_close=about.state == "open" and bool(found.cardholder.roles & people_rules.APPROVERS),
        note=note,
        note_chars=(case_book.NOTE_CHARS_MIN, case_book.NOTE_CHARS_MAX),
        said=say(refusal, language) if refusal is not None else None,
    )


@router.get("/cases/{case_id}")
def case(here: Here, request: Request, found: Viewer, case_id: str) -> Response:
    """Show a case with its evidence."""
    return _case_page(here, request, found, case_id)


@router.post("/cases/{case_id}")
def close_case(here: Here, request: Request, found: Viewer, form: SentForm, case_id: str) -> Response:
    """Close a case with words."""
    demand_role(found.cardholder, *DECIDERS)
    try:
        with here.backend.db.write() as conn:
            case_book.close_case(
                conn,
                tenant_id=found.tenant_id,
                case_id=case_id,
                closed_by=found.cardholder.cardholder_id,
                note=form.get("note"),
                now=here.now,
            )
    except NotFound:
        raise
    except BackendError as refusal:
        return _case_page(here, request, found, case_id, refusal=refusal, note=form.get("note"))
    return RedirectResponse(f"/finance/cases/{case_id}", 303)


@router.post("/cases/{case_id}/ask-again")
def ask_again(here: Here, request: Request, found: Viewer, form: SentForm, case_id: str) -> Response:
    """Have the provider asked once more to give back what it refused."""
    demand_role(found.cardholder, *DECIDERS)
    try:
        with here.backend.db.write() as conn:
            returning.ask_again(
                conn,
                tenant_id=found.tenant_id,
                case_id=case_id,
                asked_by=found.cardholder.cardholder_id,
                now=here.now,
            )
    except returning.CaseNotAskable as refusal:
        return _case_page(here, request, found, case_id, refusal=refusal)
    return RedirectResponse(f"/finance/cases/{case_id}", 303)


# -- refunds ---------------------------------------------------------------------------------------------------------


@router.get("/refunds")
def refunds(here: Here, request: Request, found: Viewer, state: RefundState = "", after: After = "") -> Response:
    """List refunds, a page at a time; one that its provider refused is still owed."""
    with here.backend.db.read() as conn:
        listed = standing.refunds(conn, found.tenant_id, state=state or None, after=after, limit=PAGE)
        named = people(conn, found.tenant_id, [each.cardholder_id for each in listed])
    return here.pages.render(
        request,
        "staff/finance_refunds.html",
        now=here.now,
        nav="finance",
        part="refunds",
        refunds=listed,
        people=named,
        state=state,
        after=after,
        older=older(listed, "refund_id"),
    )


# -- as files --------------------------------------------------------------------------------------------------------


def _all(read: Callable[[str], list[T]], key: str) -> Iterator[T]:
    """Yield a list page by page; each page is read on its own, so that no transaction stays open while it is sent."""
    after = ""
    for _ in range(_EXPORT_ROWS_MAX // _EXPORT_PAGE):
        rows = read(after)
        yield from rows
        after = older(rows, key, _EXPORT_PAGE)
        if not after:
            return


def _header(language: str, *names: str) -> list[str]:
    return [words.word("column", name, language) for name in names]


@router.get("/cases.csv")
def cases_file(
    here: Here, request: Request, found: Viewer, state: CaseState = "", kind: Annotated[str, Query(max_length=32)] = ""
) -> Response:
    """Send the cases of a filter as a file."""
    language, formats = here.pages.language(request), here.pages.formats(request)
    kinds = kind if kind in case_book.KINDS else None

    def read(after: str) -> list[Case]:
        with here.backend.db.read() as conn:
            return case_book.cases(
                conn, found.tenant_id, state=state or None, kind=kinds, after=after, limit=_EXPORT_PAGE
            )

    log.info("cases exported", extra={"by": found.cardholder.cardholder_id, "state": state, "kind": kinds or ""})
    names = ("number", "kind", "state", "amount", "times_seen", "subject", "opened_at", "closed_at", "closed_by")
    rows = (
        (
            each.case_id,
            words.word("case", each.kind, language),
            words.word("case_state", each.state, language),
            csv_export.yuan(each.amount_minor),
            each.times_seen,
            each.subject_id,
            formats.moment(each.created_at),
            formats.moment(each.closed_at) if each.closed_at else "",
            each.closed_by,
            each.note,
            "; ".join(f"{fact.name}: {fact.text}" for fact in facts(each.kind, each.evidence, language)),
        )
        for each in _all(read, "case_id")
    )
    name = f"cases-{formats.date(here.now)}.csv"
    return csv_export.answer(name, _header(language, *names, "note", "evidence"), rows)


@router.get("/refunds.csv")
def refunds_file(here: Here, request: Request, found: Viewer, state: RefundState = "") -> Response:
    """Send the refunds of a filter as a file."""
    language, formats = here.pages.language(request), here.pages.formats(request)

    def read(after: str) -> list[payments.Refund]:
        with here.backend.db.read() as conn:
            return standing.refunds(conn, found.tenant_id, state=state or None, after=after, limit=_EXPORT_PAGE)

    log.info("refunds exported", extra={"by": found.cardholder.cardholder_id, "state": state})
    names = ("number", "authorization", "water_session", "person", "method", "amount", "state", "reason", "created_at")
    rows = (
        (
            each.refund_id,
            each.auth_id,
            each.water_session_id,
            each.cardholder_id,
            words.word("method", each.method, language),
            csv_export.yuan(each.amount_minor),
            words.word("refund_state", each.state, language),
            words.word("answer", each.reason, language) if each.reason else "",
            formats.moment(each.created_at),
        )
        for each in _all(read, "refund_id")
    )
    return csv_export.answer(f"refunds-{formats.date(here.now)}.csv", _header(language, *names), rows)
