"""The application: which address is answered by whom, limits, and what runs beside the requests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from firmware_sim.sandbox_provider.alipay import Alipay
from firmware_sim.sandbox_provider.control import Control
from firmware_sim.sandbox_provider.desk import Desk, Options
from firmware_sim.sandbox_provider.downloads import Downloads
from firmware_sim.sandbox_provider.unionpay import UnionPay
from firmware_sim.sandbox_provider.wechat import WeChat

_BODY_BYTES_MAX = 65_536


class _TooLarge(Exception):
    """A request's body is longer than any provider takes."""


class BodyLimit:
    """Refuses bodies beyond a limit, whatever their declared length."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        taken = 0

        async def limited() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > _BODY_BYTES_MAX:
                raise _TooLarge
            return message

        try:
            await self._app(scope, limited, send)
        except _TooLarge:
            await PlainTextResponse("body too large", 413)(scope, receive, send)


def build(secrets_dir: Path, state: Path, options: Options | None = None) -> Starlette:
    """Return the application over a secrets folder and a state file."""
    desk = Desk(secrets_dir, state, options or Options())
    downloads = Downloads(desk.clock)
    unionpay, alipay, wechat = UnionPay(desk), Alipay(desk, downloads), WeChat(desk, downloads)
    control = Control(desk)
    desk.notices.writers |= {"unionpay": unionpay, "alipay": alipay, "wechat": wechat}

    async def alipay_bill(request: Request) -> Response:
        found = downloads.fetch(request.query_params.get("token", ""))
        if found is None:
            return PlainTextResponse("no such file", 404)
        return Response(found.content, media_type="application/zip")

    @asynccontextmanager
    async def beside(_app: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(desk.notices.run()), asyncio.create_task(desk.watch())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            desk.store.close()

    numbered = "/wechat/v3/pay/transactions/out-trade-no/{number}"
    return Starlette(
        routes=[
            Route("/unionpay/gateway/api/backTransReq.do", unionpay.trans, methods=["POST"]),
            Route("/unionpay/gateway/api/queryTrans.do", unionpay.query, methods=["POST"]),
            Route("/unionpay/", unionpay.file, methods=["POST"]),
            Route("/unionpay", unionpay.file, methods=["POST"]),
            Route("/alipay/gateway.do", alipay.gateway, methods=["POST"]),
            Route("/alipay/bill", alipay_bill, methods=["GET"]),
            Route("/wechat/v3/pay/transactions/codepay", wechat.pay, methods=["POST"]),
            Route(numbered, wechat.query, methods=["GET"]),
            Route(f"{numbered}/reverse", wechat.reverse, methods=["POST"]),
            Route("/wechat/v3/refund/domestic/refunds", wechat.refund, methods=["POST"]),
            Route("/wechat/v3/refund/domestic/refunds/{number}", wechat.refund_query, methods=["GET"]),
            Route("/wechat/v3/bill/tradebill", wechat.bill, methods=["GET"]),
            Route("/wechat/v3/billdownload/file", wechat.download, methods=["GET"]),
            Route("/script", control.script, methods=["POST"]),
            Route("/orders", control.orders, methods=["GET"]),
            Route("/notify", control.notify, methods=["POST"]),
            Route("/adjustment", control.adjust, methods=["POST"]),
            Route("/clock", control.clock, methods=["POST"]),
        ],
        middleware=[Middleware(BodyLimit)],
        lifespan=beside,
    )
