"""The API of gateways: how they enroll and renew, and what staff see of them. What they ask is signed by their key."""

from dataclasses import asdict
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from backend.cardholders.types import SignIn
from backend.fleet import births, configurations, enrollment_answers
from backend.fleet import service as fleet
from backend.web.signed_in import Here, Site, require
from gateway.contract.signing import Signed

router = APIRouter(prefix="/api/v1/gateways", tags=["campustap"])
Staff = Annotated[SignIn, Depends(require("facilities", "admin"))]


class SignedBody(BaseModel):
    """A request as the gateway signed it."""

    kid: str = Field(max_length=64)
    payload: str = Field(max_length=20_000)
    signature: str = Field(max_length=200)


def _answer(here: Site, body: SignedBody, *, is_renewal: bool) -> dict[str, Any]:
    config = here.backend.config
    desk = enrollment_answers.Desk(
        db=here.backend.db,
        clock=here.backend.context.clock,
        secrets_dir=config.secrets_dir,
        broker_host=config.broker_host,
        broker_port=config.broker_port,
    )
    signed = Signed(kid=body.kid, payload=body.payload, signature=body.signature)
    answer: dict[str, Any] = msgspec.to_builtins(enrollment_answers.answer(desk, signed, is_renewal=is_renewal))
    return answer


@router.post("/enroll")
def enroll(here: Here, body: SignedBody) -> dict[str, Any]:
    """Exchange a claim code and a certificate request for a certificate, once."""
    return _answer(here, body, is_renewal=False)


@router.post("/renew")
def renew(here: Here, body: SignedBody) -> dict[str, Any]:
    """Give an enrolled gateway its next certificate."""
    return _answer(here, body, is_renewal=True)


@router.get("")
def gateways(here: Here, found: Staff) -> list[dict[str, Any]]:
    """List the school's gateways with their certificate, configuration and twins."""
    with here.backend.db.read() as conn:
        cares = births.cares(conn, found.tenant_id)
        rows = []
        for gateway in fleet.gateways(conn, found.tenant_id):
            care = cares.get(gateway.gateway_id, births.GatewayCare(found.tenant_id, gateway.gateway_id))
            wanted = configurations.desired(conn, found.tenant_id, gateway.gateway_id)
            desired = {"configuration_desired": wanted.version if wanted else 0}
            rows.append({**asdict(gateway), **asdict(care), **desired})
        return rows
