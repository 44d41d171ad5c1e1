"""Providers' daily files: which days are in, what they say, and one more brought by hand."""

from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from backend.cardholders.types import SignIn
from backend.errors import BackendError, NotFound
from backend.payments import people_rules
from backend.statements import proposals
from backend.statements import service as statements
from backend.statements.proposals import ProposedFile
from backend.statements.types import StatementFile, StatementRefused
from backend.web.finance_view import last_days, people, statement_days
from backend.web.rendering import say
from backend.web.routes.finance import DECIDERS, Viewer
from backend.web.routes.finance_entries import PROPOSERS
from backend.web.signed_in import Form, FormIncomplete, Here, SentForm, Site, demand_role, require
from backend.web.uploads import Upload, upload_of

router = APIRouter(prefix="/finance/statements", include_in_schema=False)
#: The largest body that may bring a file: a day of a large school, unpacked, and some room.
UPLOAD_BYTES_MAX = 32 * 1024 * 1024
UPLOADS = {"/finance/statements": UPLOAD_BYTES_MAX}
_DAYS = 14
# Roles come first: a file is read only for whoever may bring one.
Importer = Annotated[SignIn, Depends(require(*PROPOSERS))]
SentFile = Annotated[Upload, Depends(upload_of)]


def _parse_day(text: str) -> date:
    """
    Return the day of a form.

    :raises FormIncomplete: if it is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise FormIncomplete(f"{text[:16]!r} is not a date", field="day") from error


def _page(
    here: Site, request: Request, found: SignIn, *, refusal: BackendError | None = None, sent: Form | None = None
) -> Response:
    query = request.query_params
    language = here.pages.language(request)
    local = here.now.astimezone(request.state.zone)
    newest = local.date()
    bad = refusal
    try:
        if query.get("before"):
            newest = min(newest, max(statements.EARLIEST + timedelta(days=_DAYS), _parse_day(query["before"])))
    except FormIncomplete as wrong:
        bad = bad or wrong
    days = [newest - timedelta(days=number) for number in range(1, _DAYS + 1)]
    with here.backend.db.read() as conn:
        listed = statement_days(conn, found.tenant_id, days)
        waiting = proposals.waiting(conn, found.tenant_id)
        named = people(conn, found.tenant_id, [each.brought_by for each in waiting])
    refused = refusal if isinstance(refusal, StatementRefused) else None
    return here.pages.render(
        request,
        "staff/finance_statements.html",
        status=bad.status if bad is not None else 200,
        now=here.now,
        nav="finance",
        part="statements",
        days=listed,
        waiting=waiting,
        people=named,
        may_decide=bool(found.cardholder.roles & people_rules.APPROVERS),
        older=days[-1].isoformat(),
        is_first=newest == local.date(),
        yesterday=last_days(local, 1)[0].isoformat(),
        methods=statements.METHODS,
        may_import=bool(found.cardholder.roles & set(PROPOSERS)),
        sent=sent or Form({}, {}),
        done={name: query.get(name, "")[:16] for name in ("method", "day", "did")},
        refused=refused.details if refused is not None else None,
        mebibytes_max=UPLOAD_BYTES_MAX // (1024 * 1024),
        said=say(bad, language) if bad is not None and refused is None else None,
    )


@router.get("")
def show(here: Here, request: Request, found: Viewer) -> Response:
    """Show the files of two weeks with what they come to."""
    return _page(here, request, found)


@router.post("")
def bring(here: Here, request: Request, found: Importer, sent: SentFile) -> Response:
    """Read a file and let it wait for a second person; one that is known already changes nothing."""
    form = sent.form
    try:
        day = _parse_day(form.need("day"))
        if not statements.EARLIEST <= day <= here.now.date() + timedelta(days=1):
            raise FormIncomplete("no file is of such a day", field="day")
        if not sent.name or not sent.data:
            raise FormIncomplete("choose a file", field="file")
        method = form.need("method")
        provider = here.backend.context.providers.get(method)
        with here.backend.db.write() as conn:
            file = proposals.bring(
                conn,
                tenant_id=found.tenant_id,
                method=method,
                day=day,
                name=sent.name,
                data=sent.data,
                brought_by=found.cardholder.cardholder_id,
                now=here.now,
                merchant_no=provider.merchant_no(found.tenant_id) if provider is not None else "",
            )
    except BackendError as refusal:
        return _page(here, request, found, refusal=refusal, sent=form)
    return _done("waiting" if isinstance(file, ProposedFile) else "known", file)


def _done(did: str, file: ProposedFile | StatementFile) -> Response:
    return RedirectResponse(f"/finance/statements?did={did}&method={file.method}&day={file.day.isoformat()}", 303)


@router.post("/{proposal_id}")
def decide(here: Here, request: Request, found: Viewer, form: SentForm, proposal_id: str) -> Response:
    """Import a file as its second person, or refuse it; who brought it may take it back."""
    demand_role(found.cardholder, *DECIDERS)
    decider, wanted = found.cardholder.cardholder_id, form.need("do")
    if wanted not in ("approve", "reject"):
        raise FormIncomplete(field="do")
    file: ProposedFile | StatementFile
    try:
        with here.backend.db.write() as conn:
            at = {"tenant_id": found.tenant_id, "proposal_id": proposal_id}
            if wanted == "approve":
                file = proposals.approve(conn, approved_by=decider, now=here.now, **at)
            else:
                file = proposals.reject(conn, rejected_by=decider, now=here.now, **at)
    except NotFound:
        raise
    except BackendError as refusal:
        return _page(here, request, found, refusal=refusal)
    return _done("imported" if wanted == "approve" else "rejected", file)
