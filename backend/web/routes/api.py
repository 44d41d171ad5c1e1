"""The JSON API under /api/v1, with a bearer token from `POST /api/v1/sign-in`. Refusals speak both languages."""

from dataclasses import asdict, fields
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from backend.cardholders import service as cardholders
from backend.cardholders.types import SignIn
from backend.fleet import service as fleet
from backend.ledger import service as ledger
from backend.payments import service as payments
from backend.reconciliation import service as reconciliation
from backend.water_sessions import service as water_sessions
from backend.water_sessions.types import StartRequest, WaterSession
from backend.web.intake import Moment
from backend.web.outlet_page import outlet_of
from backend.web.overview import is_online
from backend.web.signed_in import Here, SignedIn, require

router = APIRouter(prefix="/api/v1", tags=["campustap"])
Staff = Annotated[SignIn, Depends(require("facilities", "admin", "finance"))]
Finance = Annotated[SignIn, Depends(require("finance", "admin"))]
_LIST_MAX = 10_000


class SignInBody(BaseModel):
    """Who wants a token."""

    tenant_id: str = Field(max_length=64)
    login: str = Field(max_length=128)
    password: str = Field(max_length=256)


class StartBody(BaseModel):
    """A start. The caller mints `request_id` and repeats it when it asks again."""

    request_id: str = Field(min_length=1, max_length=64)
    device_id: str = Field(max_length=64)
    method: str = Field(default="wallet", max_length=32)
    #: a one-time code shown by the payer; handed to the provider, kept nowhere
    payer_code: str = Field(default="", max_length=64, repr=False)


class StopBody(BaseModel):
    """A stop."""

    reason: str = Field(default="remote", pattern="^(remote|revoked)$")


def _plain(thing: Any) -> dict[str, Any]:
    return {
        field.name: (sorted(value) if isinstance(value := getattr(thing, field.name), frozenset) else value)
        for field in fields(thing)
    }


@router.post("/sign-in")
def sign_in(here: Here, body: SignInBody) -> dict[str, Any]:
    """Exchange login and password for a bearer token."""
    with here.backend.db.write() as conn:
        found = cardholders.sign_in(conn, body.tenant_id, body.login, body.password, here.now)
    return {"token": found.token, "expires_at": found.expires_at, "cardholder": _plain(found.cardholder)}


@router.get("/outlets")
def outlets(here: Here, found: Staff) -> list[dict[str, Any]]:
    """List the school's outlets with their state."""
    now = here.now
    with here.backend.db.read() as conn:
        gateways = {each.gateway_id: each for each in fleet.gateways(conn, found.tenant_id)}
        return [
            {
                **_plain(device),
                "is_online": is_online(device, gateways[device.gateway_id], now),
                "places": [place.place_id for place in outlet_of(conn, device).path],
            }
            for device in fleet.devices(conn, found.tenant_id, kind="outlet")
        ]


@router.post("/water-sessions", status_code=201)
def start(here: Here, found: SignedIn, body: StartBody) -> dict[str, Any]:
    """Start water for the signed-in person, once per request id."""
    request = StartRequest(
        tenant_id=found.tenant_id,
        request_id=body.request_id,
        device_id=body.device_id,
        cardholder_id=found.cardholder.cardholder_id,
        method=body.method,
        credential_kind="api",
    )
    return _plain(water_sessions.request_start(here.backend.context, request, payer_code=body.payer_code))


def _is_staff(found: SignIn) -> bool:
    return bool(found.cardholder.roles & {"facilities", "admin", "finance"})


def _visible(found: SignIn, session: WaterSession) -> WaterSession:
    if session.cardholder_id != found.cardholder.cardholder_id and not _is_staff(found):
        raise water_sessions.WaterSessionUnknown
    return session


@router.get("/water-sessions")
def receipts(
    here: Here,
    found: Staff,
    since: Moment | None = None,
    limit: Annotated[int, Query(ge=1, le=_LIST_MAX)] = 1_000,
) -> list[dict[str, Any]]:
    """List sessions that ended at or after a time, oldest first, with pulses, charge and capture."""
    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=here.now.tzinfo)
    with here.backend.db.read() as conn:
        return [_plain(each) for each in water_sessions.ended(conn, found.tenant_id, since=since)[:limit]]


@router.get("/water-sessions/live")
def live(here: Here, found: Staff) -> list[dict[str, Any]]:
    """List sessions that occupy an outlet now."""
    with here.backend.db.read() as conn:
        return [_plain(each) for each in water_sessions.live(conn, found.tenant_id)]


@router.get("/water-sessions/{water_session_id}")
def session(here: Here, found: SignedIn, water_session_id: str) -> dict[str, Any]:
    """Return one session: the person's own, or any for staff."""
    with here.backend.db.read() as conn:
        return _plain(_visible(found, water_sessions.session(conn, found.tenant_id, water_session_id)))


@router.post("/water-sessions/{water_session_id}/stop")
def stop(here: Here, found: SignedIn, water_session_id: str, body: StopBody | None = None) -> dict[str, Any]:
    """Ask for the end of a session; asking again changes nothing. Only staff revoke: from others it is `remote`."""
    with here.backend.db.read() as conn:
        _visible(found, water_sessions.session(conn, found.tenant_id, water_session_id))
    is_revoked = body is not None and body.reason == "revoked" and _is_staff(found)
    reason = "revoked" if is_revoked else "remote"
    person_id = found.cardholder.cardholder_id
    return _plain(
        water_sessions.request_stop(here.backend.context, found.tenant_id, water_session_id, person_id, reason)
    )


@router.get("/wallet")
def wallet(here: Here, found: SignedIn) -> dict[str, Any]:
    """Return the signed-in person's wallet."""
    with here.backend.db.read() as conn:
        return asdict(payments.wallet(conn, found.tenant_id, found.cardholder.cardholder_id))


@router.get("/ledger/sums")
def sums(here: Here, found: Finance) -> dict[str, Any]:
    """Return the ledger's sums and what the clearing accounts still hold per reference."""
    with here.backend.db.read() as conn:
        totals = ledger.sums(conn, found.tenant_id)
        residues = ledger.open_clearing(conn, found.tenant_id)
    return {**asdict(totals), "open_clearing": [{"reference": ref, "residue_minor": left} for ref, left in residues]}


@router.post("/reconciliations", status_code=201)
def reconcile(here: Here, found: Finance) -> dict[str, Any]:
    """Reconcile now and return the breaks."""
    with here.backend.db.write(snapshot=True) as conn:
        return asdict(reconciliation.run(conn, found.tenant_id, here.now))
