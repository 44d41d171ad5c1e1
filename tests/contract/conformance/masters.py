"""The gateway's bus as a client of a peer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.modbus.bus import Bus
from tests.contract.conformance.servers import Server


@asynccontextmanager
async def gateway_on(server: Server) -> AsyncIterator[Bus]:
    """Yield a bus on a line to a peer that answers."""
    bus = Bus(server.start())
    bus.start()
    try:
        yield bus
    finally:
        await bus.stop()
        server.stop()
