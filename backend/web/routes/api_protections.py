"""The API of acceptance protection: draft, submit, approve by a second person, terminate, and preview any moment."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import AwareDatetime, BaseModel, Field

from backend.cardholders.types import SignIn
from backend.fleet import service as fleet
from backend.kit.ids import new_id
from backend.protections import service as protections
from backend.protections.rules import Grant
from backend.web.intake import Malformed, Moment
from backend.web.signed_in import Here, require

router = APIRouter(prefix="/api/v1/protections", tags=["campustap"])
Admin = Annotated[SignIn, Depends(require("admin", "approver"))]
Approver = Annotated[SignIn, Depends(require("approver"))]


class GrantBody(BaseModel):
    """A grant as drafted; the period is half-open and its times carry their zone."""

    grantor: str = Field(min_length=1, max_length=200)
    brand: str = Field(max_length=32)
    scenario: str = Field(default="hot_water", max_length=32)
    place_id: str = Field(max_length=64)
    active_from: AwareDatetime
    active_to: AwareDatetime
    mode: str = Field(default="exclusive", max_length=32)
    exemptions: list[str] = Field(default_factory=list, max_length=20)
    consideration: str = Field(default="", max_length=2_000)
    document_sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")


@router.get("")
def grants(here: Here, found: Admin) -> list[dict[str, Any]]:
    """List every grant of the school."""
    with here.backend.db.read() as conn:
        return [asdict(grant) for grant in protections.list_all(conn, found.tenant_id)]


@router.post("", status_code=201)
def draft(here: Here, found: Admin, body: GrantBody) -> dict[str, Any]:
    """Draft a grant; it refuses nobody until it is approved."""
    new = Grant(
        tenant_id=found.tenant_id,
        grant_id=new_id("gr"),
        created_by=found.cardholder.cardholder_id,
        exemptions=tuple(body.exemptions),
        **body.model_dump(exclude={"exemptions"}),
    )
    with here.backend.db.write() as conn:
        return asdict(protections.draft(conn, new, here.now))


@router.get("/preview")
def preview(
    here: Here, found: Admin, device_id: str, at: Moment | None = None, person_class: str = "student"
) -> dict[str, Any]:
    """Return what is accepted at an outlet at a moment, and why."""
    moment = at or here.now
    if moment.tzinfo is None:
        raise Malformed("the moment carries no zone", field="at")
    with here.backend.db.read() as conn:
        device = fleet.device(conn, found.tenant_id, device_id)
        path = [place.place_id for place in fleet.place_path(conn, found.tenant_id, device.place_id)]
        decisions = protections.options(
            conn, found.tenant_id, place_ids=path, scenario=device.scenario, person_class=person_class, at=moment
        )
    return {"at": moment, "methods": [asdict(decision) for decision in decisions]}


@router.post("/{grant_id}/submit")
def submit(here: Here, found: Admin, grant_id: str) -> dict[str, Any]:
    """Submit a draft for approval; a conflict with another exclusive grant is refused and named."""
    with here.backend.db.write() as conn:
        return asdict(protections.submit(conn, found.tenant_id, grant_id, found.cardholder.cardholder_id, here.now))


@router.post("/{grant_id}/approve")
def approve(here: Here, found: Approver, grant_id: str) -> dict[str, Any]:
    """Approve a submitted grant; never by whoever drafted it."""
    with here.backend.db.write() as conn:
        return asdict(protections.approve(conn, found.tenant_id, grant_id, found.cardholder.cardholder_id, here.now))


@router.post("/{grant_id}/terminate")
def terminate(here: Here, found: Admin, grant_id: str) -> dict[str, Any]:
    """Ask for the end of an approved grant or, as a second person, end it now; what it refused stays on record."""
    with here.backend.db.write() as conn:
        return asdict(protections.terminate(conn, found.tenant_id, grant_id, found.cardholder.cardholder_id, here.now))
