"""
The API of money that people move: one's own purses, refunds and disputes; and what finance sees and decides.

Whoever writes mints `request_id` and repeats it when asking again: the same request moves money once, and the same id
with another body is refused. What finance proposes, a second person approves. Lists come newest first in pages: pass
the last page's `next` as `after`.
"""

from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query

from backend.cardholders import service as cardholders
from backend.cardholders.types import SignIn
from backend.payments import cases as case_book
from backend.payments import disputes as dispute_book
from backend.payments import leaver, people_rules, purse_transfers, returning, staff_entries
from backend.payments import service as payments
from backend.payments.cases import Case
from backend.payments.disputes import Dispute
from backend.payments.leaver import Payout
from backend.payments.purse_transfers import PurseTransfer
from backend.payments.returning import Returning
from backend.payments.service import Operation, Refund
from backend.payments.staff_entries import Entry
from backend.water_sessions import disputing
from backend.web.money_shapes import (
    DecisionBody,
    DisputeBody,
    EntryBody,
    HoldOut,
    NoteBody,
    ObstacleOut,
    OwnDispute,
    Page,
    PayoutAgainBody,
    PayoutBody,
    Problem,
    PurseOut,
    PursesOut,
    T,
    TransferBody,
)
from backend.web.signed_in import Here, SignedIn, require

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "Nobody is signed in"},
    403: {"model": Problem, "description": "The role does not allow this, or it needs a second person"},
    404: {"model": Problem, "description": "There is nothing of that name at this school"},
    409: {"model": Problem, "description": "It was decided, differs, or something stands in the way"},
    422: {"model": Problem, "description": "The request is not well formed"},
}

router = APIRouter(prefix="/api/v1", tags=["money"], responses=_PROBLEMS)
Viewer = Annotated[SignIn, Depends(require("finance", "approver", "admin"))]
Finance = Annotated[SignIn, Depends(require("finance"))]
Decider = Annotated[SignIn, Depends(require(*sorted(people_rules.APPROVERS)))]
Limit = Annotated[int, Query(ge=1, le=200)]
After = Annotated[str, Query(max_length=80, description="the `next` of the page before")]
Person = Annotated[str | None, Query(max_length=64)]
Name = Annotated[str, Path(max_length=80)]


def _page(items: list[T], key: str, limit: int) -> Page[T]:
    return Page(items=items, next=getattr(items[-1], key) if len(items) == limit else None)


# -- one's own -------------------------------------------------------------------------------------------------------


@router.get("/me/purses")
def purses(here: Here, found: SignedIn) -> PursesOut:
    """Return the person's purses, what of each is their own, and which transfers the school allows."""
    person = found.cardholder.cardholder_id
    with here.backend.db.read() as conn:
        listed = payments.purses(conn, found.tenant_id, person)
        own = {each.purse: purse_transfers.own_minor(conn, found.tenant_id, person, each.purse) for each in listed}
    allowed = [
        {"from_purse": giver, "to_purse": taker, "share": share}
        for (giver, taker), share in people_rules.pairs(found.tenant_id).items()
    ]
    return PursesOut(purses=[PurseOut(**asdict(each), own_minor=own[each.purse]) for each in listed], transfers=allowed)


@router.get("/me/purse-transfers")
def own_transfers(here: Here, found: SignedIn, after: After = "", limit: Limit = 50) -> Page[PurseTransfer]:
    """List the person's transfers between purses."""
    person = found.cardholder.cardholder_id
    with here.backend.db.read() as conn:
        listed = purse_transfers.transfers(conn, found.tenant_id, cardholder_id=person, after=after, limit=limit)
    return _page(listed, "transfer_id", limit)


@router.post("/me/purse-transfers", status_code=201)
def transfer(here: Here, found: SignedIn, body: TransferBody) -> PurseTransfer:
    """Move money between two of the person's purses, once per request id; held money stays where it is."""
    wanted = partial(
        purse_transfers.transfer,
        tenant_id=found.tenant_id,
        cardholder_id=found.cardholder.cardholder_id,
        from_purse=body.from_purse,
        to_purse=body.to_purse,
        amount_minor=body.amount_minor,
        request_id=body.request_id,
        now=here.now,
    )
    return payments.in_turn(here.backend.db, found.tenant_id, wanted)


@router.get("/me/refunds")
def own_refunds(here: Here, found: SignedIn, limit: Limit = 50) -> list[Refund]:
    """List what was given back to the person, newest first."""
    with here.backend.db.read() as conn:
        return payments.refunds(conn, found.tenant_id, cardholder_id=found.cardholder.cardholder_id, limit=limit)


@router.get("/me/returning")
def own_returning(here: Here, found: SignedIn) -> list[Returning]:
    """List what providers still have to give back to the person, deposits and their rests included, oldest first."""
    with here.backend.db.read() as conn:
        return returning.returning(conn, found.tenant_id, found.cardholder.cardholder_id)


def _own(dispute: Dispute) -> OwnDispute:
    return OwnDispute(**{name: getattr(dispute, name) for name in OwnDispute.model_fields})


@router.get("/me/disputes")
def own_disputes(here: Here, found: SignedIn, after: After = "", limit: Limit = 50) -> Page[OwnDispute]:
    """List the person's disputes with what was answered."""
    person = found.cardholder.cardholder_id
    with here.backend.db.read() as conn:
        listed = disputing.disputes(conn, found.tenant_id, cardholder_id=person, after=after, limit=limit)
    return _page([_own(each) for each in listed], "dispute_id", limit)


@router.post("/me/disputes", status_code=201)
def dispute(here: Here, found: SignedIn, body: DisputeBody) -> OwnDispute:
    """Dispute what a shower of the person's cost, within 30 days, once per request id."""
    wanted = partial(
        disputing.open_dispute,
        tenant_id=found.tenant_id,
        dispute_id=f"dp_{body.request_id}",
        water_session_id=body.water_session_id,
        cardholder_id=found.cardholder.cardholder_id,
        reason=body.reason,
        text=body.text,
        now=here.now,
    )
    return _own(payments.in_turn(here.backend.db, found.tenant_id, wanted))


# -- finance ---------------------------------------------------------------------------------------------------------


@router.get("/money/cases")
def cases(
    here: Here,
    found: Viewer,
    state: Literal["open", "closed"] | None = None,
    kind: Annotated[str | None, Query(max_length=32)] = None,
    after: After = "",
    limit: Limit = 50,
) -> Page[Case]:
    """List what a person must look at, with its evidence."""
    with here.backend.db.read() as conn:
        listed = case_book.cases(conn, found.tenant_id, state=state, kind=kind, after=after, limit=limit)
    return _page(listed, "case_id", limit)


@router.post("/money/cases/{case_id}/close")
def close_case(here: Here, found: Decider, case_id: Name, body: NoteBody) -> Case:
    """Close a case with words; who closed it is kept."""
    with here.backend.db.write() as conn:
        return case_book.close_case(
            conn,
            tenant_id=found.tenant_id,
            case_id=case_id,
            closed_by=found.cardholder.cardholder_id,
            note=body.note,
            now=here.now,
        )


@router.post("/money/cases/{case_id}/ask-again")
def ask_again(here: Here, found: Decider, case_id: Name) -> Operation:
    """Have the provider asked once more to do what it refused; the case closes by itself when it has."""
    with here.backend.db.write() as conn:
        return returning.ask_again(
            conn,
            tenant_id=found.tenant_id,
            case_id=case_id,
            asked_by=found.cardholder.cardholder_id,
            now=here.now,
        )


@router.get("/money/entries")
def entries(
    here: Here,
    found: Viewer,
    state: Literal["proposed", "executed", "rejected", "expired", "ended"] | None = None,
    cardholder_id: Person = None,
    after: After = "",
    limit: Limit = 50,
) -> Page[Entry]:
    """List entries by staff as they stand now."""
    with here.backend.db.read() as conn:
        listed = staff_entries.entries(
            conn, found.tenant_id, now=here.now, state=state, cardholder_id=cardholder_id, after=after, limit=limit
        )
    return _page(listed, "entry_id", limit)


@router.post("/money/entries", status_code=201)
def propose(here: Here, found: Finance, body: EntryBody) -> Entry:
    """Propose an entry; no money moves until a second person approves, and none after seven days."""
    with here.backend.db.write() as conn:
        return staff_entries.propose(
            conn,
            tenant_id=found.tenant_id,
            entry_id=f"en_{body.request_id}",
            proposed_by=found.cardholder.cardholder_id,
            now=here.now,
            **body.model_dump(exclude={"request_id"}),
        )


@router.post("/money/entries/{entry_id}/approve")
def approve(here: Here, found: Decider, entry_id: Name, body: NoteBody | None = None) -> Entry:
    """Approve an entry as a second person; its money moves now, once."""
    wanted = partial(
        staff_entries.approve,
        tenant_id=found.tenant_id,
        entry_id=entry_id,
        approved_by=found.cardholder.cardholder_id,
        note=body.note if body else "",
        now=here.now,
    )
    return payments.in_turn(here.backend.db, found.tenant_id, wanted)


@router.post("/money/entries/{entry_id}/reject")
def reject(here: Here, found: Decider, entry_id: Name, body: NoteBody) -> Entry:
    """Refuse an entry with words; its money never moves."""
    with here.backend.db.write() as conn:
        return staff_entries.reject(
            conn,
            tenant_id=found.tenant_id,
            entry_id=entry_id,
            rejected_by=found.cardholder.cardholder_id,
            note=body.note,
            now=here.now,
        )


@router.get("/money/disputes")
def disputes(
    here: Here,
    found: Viewer,
    state: Literal["open", "upheld", "refunded", "rejected"] | None = None,
    cardholder_id: Person = None,
    after: After = "",
    limit: Limit = 50,
) -> Page[Dispute]:
    """List disputes; what the meter says is in each one's case."""
    with here.backend.db.read() as conn:
        listed = dispute_book.disputes(
            conn, found.tenant_id, state=state, cardholder_id=cardholder_id, after=after, limit=limit
        )
    return _page(listed, "dispute_id", limit)


@router.post("/money/disputes/{dispute_id}/decide")
def decide(here: Here, found: Finance, dispute_id: Name, body: DecisionBody) -> Dispute:
    """Decide a dispute: an amount proposes a refund that a second person approves, zero rejects it with words."""
    with here.backend.db.write() as conn:
        return disputing.decide_dispute(
            conn,
            tenant_id=found.tenant_id,
            dispute_id=dispute_id,
            upheld_minor=body.upheld_minor,
            answer=body.answer,
            decided_by=found.cardholder.cardholder_id,
            entry_id=f"en_{body.request_id}",
            now=here.now,
        )


@router.get("/money/refunds")
def refunds(
    here: Here,
    found: Viewer,
    cardholder_id: Person = None,
    auth_id: Annotated[str | None, Query(max_length=64)] = None,
    limit: Limit = 50,
) -> list[Refund]:
    """List refunds, newest first; one that its provider refused is still owed and is a case."""
    with here.backend.db.read() as conn:
        return payments.refunds(conn, found.tenant_id, cardholder_id=cardholder_id, auth_id=auth_id, limit=limit)


@router.get("/money/holds")
def holds(here: Here, found: Viewer, limit: Limit = 200) -> list[HoldOut]:
    """List authorizations that hold money now, oldest first, with their age."""
    now = here.now
    with here.backend.db.read() as conn:
        held = payments.holds(conn, found.tenant_id, limit)
    return [
        HoldOut(
            **{name: getattr(each, name) for name in HoldOut.model_fields if name != "age_s"},
            age_s=int((now - each.created_at).total_seconds()),
        )
        for each in held
    ]


@router.get("/money/unknowns")
def unknowns(here: Here, found: Viewer) -> list[Operation]:
    """List what providers were asked and have not settled, refused, or never answered, oldest first."""
    with here.backend.db.read() as conn:
        return payments.unknowns(conn, found.tenant_id)


@router.get("/money/leavers/{cardholder_id}/obstacles")
def obstacles(here: Here, found: Viewer, cardholder_id: Name) -> list[ObstacleOut]:
    """List what stands in the way of paying somebody out; nothing when they can be paid."""
    with here.backend.db.read() as conn:
        cardholders.cardholder(conn, found.tenant_id, cardholder_id)
        listed = leaver.obstacles(conn, found.tenant_id, cardholder_id, here.now)
    return [ObstacleOut(kind=each.kind, subject_id=each.subject_id) for each in listed]


@router.get("/money/payouts")
def payouts(
    here: Here,
    found: Viewer,
    state: Literal["waiting", "payable", "paid", "owes"] | None = None,
    cardholder_id: Person = None,
    after: After = "",
    limit: Limit = 50,
) -> Page[Payout]:
    """List payouts to leavers."""
    with here.backend.db.read() as conn:
        listed = leaver.payouts(
            conn, found.tenant_id, state=state, cardholder_id=cardholder_id, after=after, limit=limit
        )
    return _page(listed, "payout_id", limit)


@router.post("/money/payouts", status_code=201)
def payout(here: Here, found: Finance, body: PayoutBody) -> Payout:
    """Close a leaver and their purses and propose to pay them the whole rest; a second person approves its entry."""
    with here.backend.db.write() as conn:
        return leaver.payout(
            conn,
            tenant_id=found.tenant_id,
            payout_id=f"po_{body.request_id}",
            proposed_by=found.cardholder.cardholder_id,
            now=here.now,
            **body.model_dump(exclude={"request_id"}),
        )


@router.post("/money/payouts/{payout_id}/propose-again")
def propose_again(here: Here, found: Finance, payout_id: Name, body: PayoutAgainBody) -> Payout:
    """Propose a payout again that was refused or forgotten."""
    with here.backend.db.write() as conn:
        return leaver.propose_again(
            conn,
            tenant_id=found.tenant_id,
            payout_id=payout_id,
            entry_id=f"en_{body.request_id}",
            proposed_by=found.cardholder.cardholder_id,
            now=here.now,
            **body.model_dump(exclude={"request_id"}),
        )
