"""A student's money: purses and top-ups, a top-up that does not arrive, transfers, disputes, and leaving."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from backend.cardholders.types import SignIn
from backend.errors import BackendError, NotFound
from backend.kit.clock import epoch_ms, from_epoch_ms
from backend.ledger.service import Place
from backend.payments import cases, leaver, people_rules, purse_transfers
from backend.payments import service as payments
from backend.payments.capabilities import EXTERNAL_METHODS, MATRIX
from backend.payments.people_rules import DISPUTE_REASONS
from backend.payments.rules import SPEND_ORDER
from backend.payments.top_ups import REPORT_AFTER, TopUpUnknown
from backend.settlement import service as settlement
from backend.water_sessions import disputing
from backend.water_sessions import service as water_sessions
from backend.web.rendering import say
from backend.web.signed_in import FormIncomplete, Here, SentForm, SignedIn

router = APIRouter(include_in_schema=False)
TOP_UP_CHOICES_MINOR = (1_000, 2_000, 5_000, 10_000)
_TOP_UP_MIN_MINOR = 100
_TOP_UP_MAX_MINOR = 50_000
_ENTRIES = 10
_PAGE = 30
_PENDING_LOOKED_THROUGH = 50


class AmountInvalid(BackendError):
    """The amount lies outside what one top-up may be."""

    code = "amount_invalid"
    status = 422


def parse_amount(text: str) -> int:
    """
    Return fen from an amount in fen as a form sends it.

    :raises AmountInvalid: if it is not a whole number within the limits of one top-up.
    """
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise AmountInvalid
    amount = int(text)
    if not _TOP_UP_MIN_MINOR <= amount <= _TOP_UP_MAX_MINOR:
        raise AmountInvalid
    return amount


def parse_yuan(text: str) -> int:
    """
    Return fen from yuan as a person writes them: digits, and at most two more after a point.

    :raises FormIncomplete: if it is no positive amount.
    """
    whole, _, cents = text.strip().replace("¥", "").partition(".")
    digits = whole + cents.ljust(2, "0")
    if (
        not digits.isascii()
        or not digits.isdigit()
        or not whole
        or len(cents) > 2
        or len(digits) > 9
        or not int(digits)
    ):
        raise FormIncomplete("write an amount such as 12.50", field="amount")
    return int(digits)


def _own_top_up(conn: Connection, found: SignIn, top_up_id: str) -> payments.TopUp:
    """
    Return the person's own top-up.

    :raises backend.payments.top_ups.TopUpUnknown: if there is none, or it is another's.
    """
    made = payments.find_top_up(conn, found.tenant_id, top_up_id)
    if made.cardholder_id != found.cardholder.cardholder_id:
        raise TopUpUnknown(top_up_id=top_up_id)
    return made


def _outcome(conn: Connection, found: SignIn, top_up_id: str) -> str:
    """Return the state of the person's own top-up; empty for one that is not theirs or does not exist."""
    try:
        return _own_top_up(conn, found, top_up_id).state if top_up_id else ""
    except NotFound:
        return ""


def _wallet_page(here: Here, request: Request, found: SignedIn, refusal: BackendError | None = None) -> Response:
    tenant_id, cardholder_id = found.tenant_id, found.cardholder.cardholder_id
    with here.backend.db.read() as conn:
        outcome = _outcome(conn, found, request.query_params.get("topup", ""))
        purses = payments.purses(conn, tenant_id, cardholder_id)
        entries = payments.wallet_entries(conn, tenant_id, cardholder_id, _ENTRIES)
        live = water_sessions.live_of_cardholder(conn, tenant_id, cardholder_id)
        top_ups = payments.top_ups(conn, tenant_id, cardholder_id, _PENDING_LOOKED_THROUGH)
    return here.pages.render(
        request,
        "student/wallet.html",
        status=refusal.status if refusal is not None else 200,
        now=here.now,
        tab="wallet",
        purses=purses,
        available_minor=sum(purse.available_minor for purse in purses),
        held_minor=sum(purse.held_minor for purse in purses),
        entries=entries,
        live=live,
        waiting=[each for each in top_ups if each.state == payments.TopUpState.CHECKING],
        choices=TOP_UP_CHOICES_MINOR,
        methods=[MATRIX[method] for method in EXTERNAL_METHODS if MATRIX[method].charge],
        pairs=sorted(people_rules.pairs(tenant_id)),
        top_up_id=secrets.token_hex(12),
        transfer_id=secrets.token_hex(12),
        outcome=outcome,
        said=say(refusal, here.pages.language(request)) if refusal is not None else None,
    )


@router.get("/wallet")
def wallet(here: Here, request: Request, found: SignedIn) -> Response:
    """Show the purses, what is held, what is still to arrive, and the latest movements."""
    return _wallet_page(here, request, found)


@router.post("/wallet/top-up")
def top_up(here: Here, request: Request, found: SignedIn, form: SentForm) -> Response:
    """Top the wallet up once per form; the outcome is shown on the wallet page."""
    ctx = here.backend.context
    try:
        made = payments.top_up(
            ctx.db,
            ctx.providers,
            found.tenant_id,
            found.cardholder.cardholder_id,
            form.need("method"),
            parse_amount(form.need("amount")),
            form.need("top_up_id"),
            ctx.clock,
            payer_code=form.get("payer_code")[:64],
        )
    except BackendError as refusal:
        return _wallet_page(here, request, found, refusal)
    return RedirectResponse(f"/wallet?topup={made.top_up_id}", 303)


@router.post("/wallet/transfer")
def transfer(here: Here, request: Request, found: SignedIn, form: SentForm) -> Response:
    """Move money between two of the person's purses, once per form."""
    try:
        giver, _, taker = form.need("pair").partition(">")
        with here.backend.db.write() as conn:
            purse_transfers.transfer(
                conn,
                tenant_id=found.tenant_id,
                cardholder_id=found.cardholder.cardholder_id,
                from_purse=giver,
                to_purse=taker,
                amount_minor=parse_yuan(form.need("amount")),
                request_id=form.need("transfer_id"),
                now=here.now,
            )
    except BackendError as refusal:
        return _wallet_page(here, request, found, refusal)
    return RedirectResponse("/wallet", 303)


class PurseUnknown(NotFound):
    """There is no such purse."""

    code = "purse_unknown"


class PlaceUnreadable(NotFound):
    """The link to an older page is not one of ours."""

    code = "not_found"


def _parse_place(text: str) -> Place | None:
    """
    Return where an older page begins; None for the first page.

    :raises PlaceUnreadable: if it is no place.
    """
    if not text:
        return None
    at_ms, _, number = text.partition("_")
    if not all(part.isascii() and part.isdigit() and len(part) <= 15 for part in (at_ms, number)):
        raise PlaceUnreadable
    try:
        return Place(from_epoch_ms(int(at_ms)), int(number))
    except (OverflowError, ValueError) as error:
        raise PlaceUnreadable from error


@router.get("/wallet/purses/{purse}")
def movements(
    here: Here, request: Request, found: SignedIn, purse: str, before: Annotated[str, Query(max_length=40)] = ""
) -> Response:
    """Show a purse's movements with the balance after each, a page at a time."""
    if purse not in SPEND_ORDER:
        raise PurseUnknown
    place = _parse_place(before)
    with here.backend.db.read() as conn:
        entries = payments.purse_entries(
            conn, found.tenant_id, found.cardholder.cardholder_id, purse, _PAGE, before=place
        )
    older = entries[-1].place if len(entries) == _PAGE else None
    return here.pages.render(
        request,
        "student/purse.html",
        now=here.now,
        tab="wallet",
        purse=purse,
        entries=entries,
        is_first=place is None,
        older=f"{epoch_ms(older.event_at)}_{older.number}" if older else "",
    )


def _top_up_page(
    here: Here, request: Request, found: SignedIn, top_up_id: str, refusal: BackendError | None = None
) -> Response:
    with here.backend.db.read() as conn:
        made = _own_top_up(conn, found, top_up_id)
        asked = payments.question(conn, found.tenant_id, top_up_id)
        case = cases.case_of(conn, found.tenant_id, "top_up_missing", top_up_id)
    return here.pages.render(
        request,
        "student/top_up.html",
        status=refusal.status if refusal is not None else 200,
        now=here.now,
        tab="wallet",
        made=made,
        asked=asked,
        case=case,
        may_report=here.now - made.created_at >= REPORT_AFTER,
        report_at=made.created_at + REPORT_AFTER,
        said=say(refusal, here.pages.language(request)) if refusal is not None else None,
    )


@router.get("/wallet/top-ups/{top_up_id}")
def top_up_state(here: Here, request: Request, found: SignedIn, top_up_id: str) -> Response:
    """Show where a top-up is: what the provider was asked, when it is asked next, and what to do meanwhile."""
    return _top_up_page(here, request, found, top_up_id)


@router.post("/wallet/top-ups/{top_up_id}/ask")
def ask(here: Here, request: Request, found: SignedIn, form: SentForm, top_up_id: str) -> Response:
    """Ask the provider about a top-up now; nothing is ever charged by asking."""
    ctx = here.backend.context
    with here.backend.db.read() as conn:
        _own_top_up(conn, found, top_up_id)
    try:
        payments.ask_now(ctx.db, ctx.providers, found.tenant_id, top_up_id, clock=ctx.clock)
    except payments.AskedJustNow as refusal:
        return _top_up_page(here, request, found, top_up_id, refusal)
    return RedirectResponse(f"/wallet/top-ups/{top_up_id}", 303)


@router.post("/wallet/top-ups/{top_up_id}/report")
def report(here: Here, request: Request, found: SignedIn, form: SentForm, top_up_id: str) -> Response:
    """Ask finance to look at a top-up that does not arrive; asking again changes nothing."""
    try:
        with here.backend.db.write() as conn:
            _own_top_up(conn, found, top_up_id)
            payments.report_missing(conn, found.tenant_id, top_up_id, here.now)
    except payments.ReportTooEarly as refusal:
        return _top_up_page(here, request, found, top_up_id, refusal)
    return RedirectResponse(f"/wallet/top-ups/{top_up_id}", 303)


def _dispute_page(
    here: Here, request: Request, found: SignedIn, water_session_id: str, refusal: BackendError | None = None
) -> Response:
    with here.backend.db.read() as conn:
        receipt = settlement.receipt(conn, found.tenant_id, water_session_id)
        if receipt.session.cardholder_id != found.cardholder.cardholder_id:
            raise water_sessions.WaterSessionUnknown
        about = disputing.disputes(conn, found.tenant_id, cardholder_id=found.cardholder.cardholder_id, limit=200)
    mine = [each for each in about if each.water_session_id == water_session_id]
    is_closed = all(each.state in ("refunded", "rejected") for each in mine)
    return here.pages.render(
        request,
        "student/dispute.html",
        status=refusal.status if refusal is not None else 200,
        now=here.now,
        tab="history",
        receipt=receipt,
        session=receipt.session,
        disputes=mine,
        may_open=receipt.session.state == "settled" and (receipt.session.captured_minor or 0) > 0 and is_closed,
        reasons=DISPUTE_REASONS,
        text_chars_max=people_rules.DISPUTE_TEXT_CHARS_MAX,
        request_id=secrets.token_hex(12),
        said=say(refusal, here.pages.language(request)) if refusal is not None else None,
    )


@router.get("/history/{water_session_id}/dispute")
def dispute(here: Here, request: Request, found: SignedIn, water_session_id: str) -> Response:
    """Show what was said about a bill, or the form to say that it is wrong."""
    return _dispute_page(here, request, found, water_session_id)


@router.post("/history/{water_session_id}/dispute")
def open_dispute(here: Here, request: Request, found: SignedIn, form: SentForm, water_session_id: str) -> Response:
    """Dispute a bill once per form."""
    try:
        with here.backend.db.write() as conn:
            disputing.open_dispute(
                conn,
                tenant_id=found.tenant_id,
                dispute_id=f"dp_{form.need('dispute_id')[:40]}",
                water_session_id=water_session_id,
                cardholder_id=found.cardholder.cardholder_id,
                reason=form.need("reason"),
                text=form.get("text"),
                now=here.now,
            )
    except NotFound:
        raise
    except disputing.NotYourSession as error:
        raise water_sessions.WaterSessionUnknown from error
    except BackendError as refusal:
        return _dispute_page(here, request, found, water_session_id, refusal)
    return RedirectResponse(f"/history/{water_session_id}/dispute", 303)


@router.get("/disputes")
def disputes(here: Here, request: Request, found: SignedIn) -> Response:
    """List the person's disputes with what came of them, newest first."""
    with here.backend.db.read() as conn:
        listed = disputing.disputes(conn, found.tenant_id, cardholder_id=found.cardholder.cardholder_id, limit=_PAGE)
    return here.pages.render(request, "student/disputes.html", now=here.now, tab="history", disputes=listed)


@router.get("/leave")
def leave(here: Here, request: Request, found: SignedIn) -> Response:
    """Show what a leaver would be paid, what stands in the way, and where to ask for it."""
    tenant_id, cardholder_id = found.tenant_id, found.cardholder.cardholder_id
    with here.backend.db.read() as conn:
        purses = payments.purses(conn, tenant_id, cardholder_id)
        own = {each.purse: purse_transfers.own_minor(conn, tenant_id, cardholder_id, each.purse) for each in purses}
        obstacles = leaver.obstacles(conn, tenant_id, cardholder_id, here.now)
        payouts = leaver.payouts(conn, tenant_id, cardholder_id=cardholder_id, limit=5)
    return here.pages.render(
        request,
        "student/leave.html",
        now=here.now,
        tab="me",
        purses=purses,
        own=own,
        total_minor=sum(own.values()),
        obstacles=obstacles,
        payouts=payouts,
    )
