"""Answers enrollment requests, whichever way they came: over HTTP or as a file."""

from dataclasses import dataclass
from pathlib import Path

from backend.db import Database
from backend.fleet import device_ca, enrollment
from backend.kit.clock import Clock, epoch_ms
from backend.tenants import keys
from backend.tenants import service as tenants
from gateway.contract.provisioning import EnrollAnswer, EnrollRequest
from gateway.contract.signing import SignatureRefused, Signed, decode, public_text


@dataclass(frozen=True, slots=True)
class Desk:
    """What answering takes."""

    db: Database
    clock: Clock
    secrets_dir: Path
    broker_host: str
    broker_port: int


def answer(desk: Desk, signed: Signed, *, is_renewal: bool) -> EnrollAnswer:
    """
    Return what a gateway gets for its request: certificate, the broker's authority, whose commands it obeys.

    :raises TenantUnknown: if the request names no school of ours; and what `enrollment` raises.
    """
    now = desk.clock()
    try:
        tenant_id = decode(signed.payload, EnrollRequest).tenant
    except SignatureRefused as error:
        raise enrollment.GatewayKeyRefused(f"the request cannot be read: {error}") from error
    with desk.db.write() as conn:
        tenants.get(conn, tenant_id)  # or anybody could have authorities made
        authority = device_ca.device_authority(desk.secrets_dir, tenant_id, now)
        given = (enrollment.renew if is_renewal else enrollment.enroll)(conn, authority, signed, now)
    kid, key = keys.command_key(desk.secrets_dir, tenant_id)
    return EnrollAnswer(
        tenant=tenant_id,
        gateway=given.gateway_id,
        certificate_pem=given.certificate_pem,
        broker_ca_pem=device_ca.broker_authority(desk.secrets_dir, now).pem,
        not_after_ms=epoch_ms(given.not_after),
        command_keys={kid: public_text(key.public_key())},
        broker_host=desk.broker_host,
        broker_port=desk.broker_port,
    )
