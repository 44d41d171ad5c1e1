"""Sends gateways the configurations they should have and have not heard of."""

from dataclasses import dataclass

import msgspec

from backend.fleet import configurations
from backend.fleet.configurations import Configuration
from backend.water_sessions.context import Context
from gateway.contract.provisioning import configuration_topic

EVERY_S = 2.0
EXPIRY_S = 30


@dataclass(frozen=True, slots=True)
class Waiting:
    """A configuration ready to be published."""

    topic: str
    payload: bytes
    of: Configuration


def waiting(ctx: Context) -> list[Waiting]:
    """Return what is to be published now."""
    now = ctx.clock()
    with ctx.db.read() as conn:
        due = configurations.due(conn, now)
    return [
        Waiting(
            configuration_topic(each.tenant_id, each.gateway_id),
            msgspec.json.encode(configurations.document(each, ctx.signing(each.tenant_id), now)),
            each,
        )
        for each in due
    ]


def sent(ctx: Context, one: Waiting) -> None:
    """Note that one was handed to the broker."""
    with ctx.db.write() as conn:
        configurations.mark_sent(conn, one.of, ctx.clock())
