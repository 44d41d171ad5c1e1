"""A student's money: purses and top-ups, a top-up that does not arrive, transfers, and leaving."""

import secrets
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from backend.cardholders.types import SignIn
from backend.errors import BackendError, NotFound
from backend.fleet import service as fleet
from backend.kit.clock import epoch_ms, from_epoch_ms
from backend.ledger.service import Place
from backend.payments import cases, credit_limits, leaver, people_rules, purse_transfers, returning
from backend.payments import service as payments
from backend.payments.capabilities import EXTERNAL_METHODS, MATRIX
from backend.payments.rules import SPEND_ORDER
from backend.payments.top_ups import REPORT_AFTER, TopUpUnknown
from backend.water_sessions import service as water_sessions
from backend.web.payer_codes import asks_code, code_of
from backend.web.rendering import say
from backend.web.routes import money_disputes
from backend.web.signed_in import Form, FormIncomplete, Here, SentForm, SignedIn

router = APIRouter(include_in_schema=False)
TOP_UP_CHOICES_MINOR = (1_000, 2_000, 5_000, 10_000)
_TOP_UP_SUGGESTED_MINOR = 2_000
_TOP_UP_MIN_MINOR = 100
_TOP_UP_MAX_MINOR = 50_000
_ENTRIES = 10
_PAGE = 30
_PENDING_LOOKED_THROUGH = 50
_MOVES_LOOKED_THROUGH = 20


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
    whole, _, cents = text.strip().removeprefix("¥").partition(".")
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


@dataclass(frozen=True, slots=True)
class _Typed:
    """What a form that was refused said; a payment code is never among it."""

    amount: str = str(_TOP_UP_SUGGESTED_MINOR)
    method: str = ""
    pair: str = ""
    yuan: str = ""


_NOTHING_TYPED = _Typed()


def _moved(conn: Connection, found: SignIn, transfer_id: str) -> purse_transfers.PurseTransfer | None:
    """Return the person's own transfer that the page was reached by, if any."""
    if not transfer_id:
        return None
    made = purse_transfers.transfers(
        conn, found.tenant_id, cardholder_id=found.cardholder.cardholder_id, limit=_MOVES_LOOKED_THROUGH
    )
    return next((each for each in made if each.transfer_id == transfer_id), None)


def _wallet_page(
    here: Here, request: Request, found: SignedIn, refusal: BackendError | None = None, typed: _Typed = _NOTHING_TYPED
) -> Response:
    tenant_id, cardholder_id = found.tenant_id, found.cardholder.cardholder_id
    asked_for = request.query_params
    methods = [method for method in EXTERNAL_METHODS if MATRIX[method].charge]
    with here.backend.db.read() as conn:
        outcome = _outcome(conn, found, asked_for.get("topup", ""))
        moved = _moved(conn, found, asked_for.get("moved", ""))
        purses = payments.purses(conn, tenant_id, cardholder_id)
        credit = credit_limits.credit(conn, tenant_id, cardholder_id)
        entries = payments.wallet_entries(conn, tenant_id, cardholder_id, _ENTRIES)
        live = water_sessions.live_of_cardholder(conn, tenant_id, cardholder_id)
        sticker = fleet.device(conn, tenant_id, live.device_id).sticker_token if live is not None else ""
        top_ups = payments.top_ups(conn, tenant_id, cardholder_id, _PENDING_LOOKED_THROUGH)
        backs = returning.returning(conn, tenant_id, cardholder_id)
        with_code = {method for method in methods if asks_code(conn, found, method)}
    return here.pages.render(
        request,
        "student/wallet.html",
        status=refusal.status if refusal is not None else 200,
        now=here.now,
        tab="wallet",
        purses=purses,
        available_minor=sum(purse.available_minor for purse in purses),
        held_minor=sum(purse.held_minor for purse in purses),
        credit=credit,
        entries=entries,
        shower=f"/w/{sticker}?s={live.water_session_id}" if live is not None else "",
        waiting=[each for each in top_ups if each.state == payments.TopUpState.CHECKING],
        backs=backs,
        choices=TOP_UP_CHOICES_MINOR,
        methods=methods,
        with_code=with_code,
        pairs=sorted(people_rules.pairs(tenant_id)),
        top_up_id=secrets.token_hex(12),
        transfer_id=secrets.token_hex(12),
        typed=typed,
        outcome=outcome,
        moved=moved,
        said=say(refusal, here.pages.language(request)) if refusal is not None else None,
    )


@router.get("/wallet")
def wallet(here: Here, request: Request, found: SignedIn) -> Response:
    """Show the purses, what is held, what is still to arrive, and the latest movements."""
    return _wallet_page(here, request, found)


@router.post("/wallet/top-up")
def top_up(here: Here, request: Request, found: SignedIn, form: SentForm) -> Response:
    """Top the wallet up once per form; the outcome is shown on the wallet page."""
    try:
        made = _top_up(here, found, form)
    except BackendError as refusal:
        typed = _Typed(amount=form.get("amount"), method=form.get("method"))
        return _wallet_page(here, request, found, refusal, typed)
    return RedirectResponse(f"/wallet?topup={made.top_up_id}", 303)


def _top_up(here: Here, found: SignedIn, form: Form) -> payments.TopUp:
    ctx, method = here.backend.context, form.need("method")
    with here.backend.db.read() as conn:
        is_asked = asks_code(conn, found, method)
    return payments.top_up(
        ctx.db,
        ctx.providers,
        found.tenant_id,
        found.cardholder.cardholder_id,
        method,
        parse_amount(form.need("amount")),
        form.need("top_up_id"),
        ctx.clock,
        payer_code=code_of(form, is_asked=is_asked),
    )


@router.post("/wallet/transfer")
def transfer(here: Here, request: Request, found: SignedIn, form: SentForm) -> Response:
    """Move money between two of the person's purses, once per form."""
    try:
        giver, _, taker = form.need("pair").partition(">")
        wanted = partial(
            purse_transfers.transfer,
            tenant_id=found.tenant_id,
            cardholder_id=found.cardholder.cardholder_id,
            from_purse=giver,
            to_purse=taker,
            amount_minor=parse_yuan(form.need("amount")),
            request_id=form.need("transfer_id"),
            now=here.now,
        )
        moved = payments.in_turn(here.backend.db, found.tenant_id, wanted)
    except BackendError as refusal:
        typed = _Typed(pair=form.get("pair"), yuan=form.get("amount")[:10])
        return _wallet_page(here, request, found, refusal, typed)
    return RedirectResponse(f"/wallet?moved={moved.transfer_id}", 303)


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


@router.get("/leave")
def leave(here: Here, request: Request, found: SignedIn) -> Response:
    """Show what a leaver would be paid, what stands in the way, and where to ask for it."""
    tenant_id, cardholder_id = found.tenant_id, found.cardholder.cardholder_id
    with here.backend.db.read() as conn:
        purses = payments.purses(conn, tenant_id, cardholder_id)
        own = {each.purse: purse_transfers.own_minor(conn, tenant_id, cardholder_id, each.purse) for each in purses}
        obstacles = leaver.obstacles(conn, tenant_id, cardholder_id, here.now)
        payouts = leaver.payouts(conn, tenant_id, cardholder_id=cardholder_id, limit=5)
        owed_minor = credit_limits.owed_minor(conn, tenant_id, cardholder_id)
    return here.pages.render(
        request,
        "student/leave.html",
        now=here.now,
        tab="me",
        purses=purses,
        own=own,
        total_minor=sum(own.values()),
        owed_minor=owed_minor,
        obstacles=obstacles,
        payouts=payouts,
    )


router.include_router(money_disputes.router)
