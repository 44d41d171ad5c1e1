"""Envelopes: births, health and taps come up signed by their gateway, acknowledgements go down signed by us."""

from typing import TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection

from backend.fleet import service as fleet
from backend.water_sessions.context import Context
from gateway.contract.messages import Acknowledged
from gateway.contract.signing import Signed, decode, public_from_text, sign, verify

T = TypeVar("T")


def key_of(conn: Connection, tenant_id: str, gateway_id: str) -> Ed25519PublicKey | None:
    """Return a known gateway's public key, or None."""
    try:
        return public_from_text(fleet.gateway(conn, tenant_id, gateway_id).public_key)
    except (fleet.GatewayUnknown, ValueError):
        return None


def opened(raw: bytes, *, gateway_id: str, key: Ed25519PublicKey, as_type: type[T]) -> T:
    """
    Return what a gateway signed.

    :raises SignatureRefused: if it is not readable, or not signed by this gateway's key.
    """
    return verify(decode(raw, Signed), keys={gateway_id: key}, as_type=as_type)


def acknowledgement(ctx: Context, tenant_id: str, *, epoch: str, acked_through: int) -> bytes:
    """Return an acknowledgement, signed with the tenant's command key, as it travels."""
    kid, key = ctx.signing(tenant_id)
    return msgspec.json.encode(sign(Acknowledged(epoch=epoch, acked_through=acked_through), key=key, kid=kid))
