"""The administrators' pages: acceptance protection grants with preview and second approval, and reconciliation runs."""

import hashlib
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from backend.cardholders import service as cardholders
from backend.cardholders.types import SignIn
from backend.errors import BackendError
from backend.fleet import service as fleet
from backend.kit.ids import new_id
from backend.protections import rules as protection_rules
from backend.protections import service as protections
from backend.reconciliation import service as reconciliation
from backend.tenants import service as tenants
from backend.web import words
from backend.web.charts.timeline import Period, timeline
from backend.web.intake import is_askable
from backend.web.overview import path_name
from backend.web.rendering import say
from backend.web.signed_in import Form, FormIncomplete, Here, SentForm, demand_role, require

router = APIRouter(prefix="/admin", include_in_schema=False)
Looking = Annotated[SignIn, Depends(require("admin", "approver"))]
Reconciling = Annotated[SignIn, Depends(require("finance", "admin"))]
SCENARIOS = ("hot_water", "access")
_DOCUMENT_CHARS_MAX = 20_000


def phase(grant: protection_rules.Grant, now: datetime) -> str:
    """Return what a grant is now: its status, and for an approved one whether its period is to come, on or over."""
    if grant.status != "approved":
        return grant.status
    if now < grant.active_from:
        return "scheduled"
    return "active" if now < grant.ends_at else "expired"


def parse_local(text: str, zone: ZoneInfo) -> datetime:
    """
    Return the moment of a local date and time as a form sends it.

    :raises FormIncomplete: if it is not one.
    """
    try:
        return datetime.fromisoformat(text).replace(tzinfo=zone)
    except ValueError as error:
        raise FormIncomplete(f"{text!r} is not a date and time") from error


def _local_text(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).strftime("%Y-%m-%dT%H:%M")


def _people(conn: Connection, tenant_id: str, ids: set[str]) -> dict[str, Any]:
    known = {person.cardholder_id: person for person in cardholders.cardholders(conn, tenant_id)}
    return {each: known.get(each) for each in ids}


def _page(
    here: Here, request: Request, found: SignIn, *, refusal: BackendError | None = None, sent: Form | None = None
) -> Response:
    now = here.now
    language = here.pages.language(request)
    query = request.query_params
    with here.backend.db.read() as conn:
        tenant = tenants.get(conn, found.tenant_id)
        grants = protections.list_all(conn, found.tenant_id)
        places = {place.place_id: place for place in fleet.places(conn, found.tenant_id)}
        people = _people(conn, found.tenant_id, {each.created_by for each in grants})
        evidence = {each.grant_id: protections.evidence(conn, found.tenant_id, each.grant_id) for each in grants}
        root = next((each.place_id for each in places.values() if each.parent_id is None), "")
        preview_place = query.get("place", root)
        preview_at, bad = now, refusal
        try:
            if query.get("at"):
                asked = parse_local(query["at"], tenant.time_zone)
                if not is_askable(asked):
                    raise FormIncomplete("the moment lies outside 1970 to 2100", field="at")
                preview_at = asked
            path = [each.place_id for each in fleet.place_path(conn, found.tenant_id, preview_place)]
        except BackendError as wrong:
            bad, path = wrong, [root]
        preview_class = query.get("class", "student")
        decisions = protections.options(
            conn,
            found.tenant_id,
            place_ids=path,
            scenario=query.get("scenario", "hot_water"),
            person_class=preview_class,
            at=preview_at,
        )
    named = {place_id: path_name(places, place_id, language) for place_id in places}
    periods = [
        Period(
            each.grant_id,
            words.word("method", each.brand, language) + " · " + named.get(each.place_id, each.place_id),
            each.active_from,
            each.ends_at,
            phase(each, now),
            words.word("grant", phase(each, now), language),
        )
        for each in grants
    ]
    return here.pages.render(
        request,
        "staff/protections.html",
        status=bad.status if bad is not None else 200,
        now=now,
        nav="protections",
        grants=grants,
        phase=lambda each: phase(each, now),
        is_termination_asked=lambda each: protections.is_termination_asked(each, now),
        people=people,
        evidence=evidence,
        places=named,
        drawn=timeline(periods, now=now),
        brands=[method for method in protection_rules.METHODS if method != protection_rules.WALLET],
        scenarios=SCENARIOS,
        modes=protection_rules.MODES,
        exemptions=protection_rules.EXEMPTIONS,
        sent=sent or Form({}, {}),
        decisions=decisions,
        preview={
            "place": preview_place,
            "class": preview_class,
            "scenario": query.get("scenario", "hot_water"),
            "at": _local_text(preview_at, tenant.time_zone),
        },
        said=say(bad, language) if bad is not None else None,
    )


@router.get("/protections")
def show(here: Here, request: Request, found: Looking) -> Response:
    """Show all grants, the form for a new one, and what is accepted at a chosen moment."""
    return _page(here, request, found)


@router.post("/protections")
def draft(here: Here, request: Request, found: Looking, form: SentForm) -> Response:
    """Store a new grant as a draft."""
    demand_role(found.cardholder, "admin")
    try:
        with here.backend.db.write() as conn:
            zone = tenants.get(conn, found.tenant_id).time_zone
            document = form.get("document")[:_DOCUMENT_CHARS_MAX]
            new = protections.Grant(
                tenant_id=found.tenant_id,
                grant_id=new_id("pg"),
                grantor=form.need("grantor")[:200],
                brand=form.need("brand"),
                scenario=form.need("scenario"),
                place_id=form.need("place"),
                active_from=parse_local(form.need("active_from"), zone),
                active_to=parse_local(form.need("active_to"), zone),
                mode=form.need("mode"),
                exemptions=tuple(form.every("exemption")),
                consideration=form.get("consideration")[:500],
                document_sha256=hashlib.sha256(document.encode()).hexdigest() if document else "",
                created_by=found.cardholder.cardholder_id,
            )
            protections.draft(conn, new, here.now)
    except BackendError as refusal:
        return _page(here, request, found, refusal=refusal, sent=form)
    return RedirectResponse("/admin/protections", 303)


_STEPS = {
    "submit": (("admin",), protections.submit),
    "approve": (("approver",), protections.approve),
    "terminate": (("admin", "approver"), protections.terminate),
}


@router.post("/protections/{grant_id}")
def step(here: Here, request: Request, found: Looking, form: SentForm, grant_id: str) -> Response:
    """Submit or approve a grant, or ask for its end and, as a second person, end it."""
    wanted = form.need("do")
    if wanted not in _STEPS:
        raise FormIncomplete(field="do")
    roles, act = _STEPS[wanted]
    demand_role(found.cardholder, *roles)
    try:
        with here.backend.db.write() as conn:
            act(conn, found.tenant_id, grant_id, found.cardholder.cardholder_id, here.now)
    except BackendError as refusal:
        return _page(here, request, found, refusal=refusal)
    return RedirectResponse("/admin/protections", 303)


@router.get("/reconciliation")
def runs(here: Here, request: Request, found: Reconciling, run: str = "") -> Response:
    """Show past runs and the breaks of one of them."""
    with here.backend.db.read() as conn:
        listed = reconciliation.runs(conn, found.tenant_id)
        chosen = run or (listed[0].run_id if listed else "")
        breaks = reconciliation.breaks(conn, found.tenant_id, chosen) if chosen else []
        is_known = any(each.run_id == chosen for each in listed)
        late = reconciliation.late(conn, found.tenant_id, chosen) if is_known else []
    return here.pages.render(
        request,
        "staff/reconciliation.html",
        now=here.now,
        nav="reconciliation",
        runs=listed,
        chosen=chosen,
        breaks=breaks,
        late=late,
    )


@router.post("/reconciliation")
def run_now(here: Here, found: Reconciling, form: SentForm) -> Response:
    """Reconcile now and show the result."""
    assert form.get("form_token")
    with here.backend.db.write(snapshot=True) as conn:
        made = reconciliation.run(conn, found.tenant_id, here.now)
    return RedirectResponse(f"/admin/reconciliation?run={made.run_id}", 303)
