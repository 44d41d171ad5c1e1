"""Disputes as finance sees them: the bill, what the meter says, who paid what; and the decision."""

import secrets
from typing import Literal

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from backend.cardholders.types import SignIn
from backend.errors import BackendError, NotFound
from backend.payments import cases, entry_checks, people_rules
from backend.settlement import service as settlement
from backend.water_sessions import disputing
from backend.web.finance_view import people
from backend.web.rendering import say
from backend.web.routes.finance import PAGE, After, Viewer, older
from backend.web.routes.finance_entries import PROPOSERS
from backend.web.routes.money import parse_yuan
from backend.web.signed_in import Form, FormIncomplete, Here, SentForm, Site, demand_role

router = APIRouter(prefix="/finance/disputes", include_in_schema=False)
DisputeState = Literal["", "open", "upheld", "refunded", "rejected"]


@router.get("")
def disputes(here: Here, request: Request, found: Viewer, state: DisputeState = "open", after: After = "") -> Response:
    """List disputes, a page at a time."""
    with here.backend.db.read() as conn:
        listed = disputing.disputes(conn, found.tenant_id, state=state or None, after=after, limit=PAGE)
        named = people(conn, found.tenant_id, [each.cardholder_id for each in listed])
        about = {each.dispute_id: cases.case_of(conn, found.tenant_id, "dispute", each.dispute_id) for each in listed}
    return here.pages.render(
        request,
        "staff/finance_disputes.html",
        now=here.now,
        nav="finance",
        part="disputes",
        disputes=listed,
        people=named,
        cases=about,
        state=state,
        after=after,
        older=older(listed, "dispute_id"),
    )


def _dispute_page(
    here: Site,
    request: Request,
    found: SignIn,
    dispute_id: str,
    *,
    refusal: BackendError | None = None,
    sent: Form | None = None,
) -> Response:
    language, tenant_id = here.pages.language(request), found.tenant_id
    with here.backend.db.read() as conn:
        dispute = disputing.dispute(conn, tenant_id, dispute_id)
        receipt = settlement.receipt(conn, tenant_id, dispute.water_session_id)
        evidence = disputing.evidence_of(receipt.session, dispute.reason)
        left_minor = max(entry_checks.refundable_minor(conn, tenant_id, dispute.auth_id), 0)
        named = people(conn, tenant_id, [dispute.cardholder_id, dispute.decided_by])
        earlier = disputing.disputes(conn, tenant_id, cardholder_id=dispute.cardholder_id, limit=PAGE)
    suggested = evidence["suggested_minor"]
    return here.pages.render(
        request,
        "staff/finance_dispute.html",
        status=refusal.status if refusal is not None else 200,
        now=here.now,
        nav="finance",
        part="disputes",
        dispute=dispute,
        receipt=receipt,
        session=receipt.session,
        left_minor=left_minor,
        suggested_minor=None if suggested is None else min(suggested, left_minor),
        earlier=[each for each in earlier if each.dispute_id != dispute_id],
        people=named,
        is_own_money=dispute.cardholder_id == found.cardholder.cardholder_id,
        may_decide=dispute.state == "open" and bool(found.cardholder.roles & people_rules.PROPOSERS),
        sent=sent or Form({}, {}),
        form_id=(sent.get("request_id") if sent else "") or secrets.token_hex(12),
        answer_chars=(people_rules.ANSWER_CHARS_MIN, people_rules.REASON_CHARS_MAX),
        said=say(refusal, language) if refusal is not None else None,
    )


@router.get("/{dispute_id}")
def dispute(here: Here, request: Request, found: Viewer, dispute_id: str) -> Response:
    """Show a dispute beside its bill and what the meter says."""
    return _dispute_page(here, request, found, dispute_id)


@router.post("/{dispute_id}")
def decide(here: Here, request: Request, found: Viewer, form: SentForm, dispute_id: str) -> Response:
    """Uphold a dispute with an amount that a second person approves, or reject it with words; once per form."""
    demand_role(found.cardholder, *PROPOSERS)
    wanted = form.need("do")
    if wanted not in ("uphold", "reject"):
        raise FormIncomplete(field="do")
    try:
        upheld_minor = parse_yuan(form.need("amount")) if wanted == "uphold" else 0
        with here.backend.db.write() as conn:
            disputing.decide_dispute(
                conn,
                tenant_id=found.tenant_id,
                dispute_id=dispute_id,
                upheld_minor=upheld_minor,
                answer=form.get("answer"),
                decided_by=found.cardholder.cardholder_id,
                entry_id=f"en_{form.need('request_id')}",
                now=here.now,
            )
    except NotFound:
        raise
    except BackendError as refusal:
        return _dispute_page(here, request, found, dispute_id, refusal=refusal, sent=form)
    return RedirectResponse(f"/finance/disputes/{dispute_id}", 303)
