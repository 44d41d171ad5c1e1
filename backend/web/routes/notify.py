"""
Where payment providers tell us what became of orders.

No sign-in and no form token: a message proves itself by the provider's signature over its raw bytes, and nothing
follows from one that does not.
"""

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from backend.errors import NotFound
from backend.payments import service as payments
from backend.payments.capabilities import EXTERNAL_METHODS
from backend.tenants import service as tenants
from backend.web.intake import TooLarge
from backend.web.signed_in import Here, Site

router = APIRouter(prefix="/notify", include_in_schema=False)
#: Far more than any provider sends.
NOTIFICATION_BYTES_MAX = 64 * 1024


@router.post("/{method}/{tenant_id}")
async def take(here: Here, request: Request, method: str, tenant_id: str) -> Response:
    """Take one message and answer it in the provider's own words."""
    body = await request.body()
    if len(body) > NOTIFICATION_BYTES_MAX:
        raise TooLarge
    return await run_in_threadpool(_take, here, method, tenant_id, dict(request.headers), body)


def _take(here: Site, method: str, tenant_id: str, headers: dict[str, str], body: bytes) -> Response:
    ctx = here.backend.context
    if method not in EXTERNAL_METHODS:
        raise NotFound
    with ctx.db.read() as conn:
        tenants.get(conn, tenant_id)
    ack = payments.take_notification(
        ctx.db, ctx.providers, method=method, tenant_id=tenant_id, headers=headers, body=body, clock=ctx.clock
    )
    return Response(ack.body, ack.status, media_type=ack.content_type)
