"""The gateway's bus against servers that know nothing of ours, over TCP and on a serial line."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from gateway.modbus import functions
from gateway.modbus.bus import Bus, Declined, NoAnswer, Priority
from tests.contract.conformance.masters import gateway_on
from tests.contract.conformance.servers import UNIT, LibmodbusServer, ModbusTkServer, Server
from tests.patience import PATIENCE_S

T = TypeVar("T")
HOT = Priority.HOT
PEERS = [(peer, transport) for peer in ("libmodbus", "modbus_tk") for transport in ("tcp", "serial")]
pytestmark = pytest.mark.parametrize(("peer", "transport"), PEERS, ids=["-".join(pair) for pair in PEERS])


def on_a_line(
    peers: dict[str, Path], peer: str, transport: str, work: Callable[[Bus, Server], Awaitable[None]]
) -> None:
    server = LibmodbusServer(peers["server"], transport) if peer == "libmodbus" else ModbusTkServer(transport)

    async def run() -> None:
        typed: Server = server
        async with gateway_on(typed) as bus:
            await work(bus, typed)

    asyncio.run(run())


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Return the answer to what may be asked again, however slow the machine is."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(NoAnswer):
                return await ask()


async def refused_with(ask: Callable[[], Awaitable[object]]) -> int:
    """Return the exception code of an answer."""
    with pytest.raises(Declined) as caught:
        await patiently(ask)
    return caught.value.exception_code


class TestBus:
    def test_reads_each_table_to_the_greatest_length(self, peers: dict[str, Path], peer: str, transport: str) -> None:
        async def work(bus: Bus, _: Server) -> None:
            assert await patiently(lambda: bus.read_input(UNIT, 0, 3, HOT)) == [65_535, 65_534, 65_533]
            assert await patiently(lambda: bus.read_input(UNIT, 7, 125, HOT)) == [65_535 - n for n in range(7, 132)]
            assert await patiently(lambda: bus.read_holding(UNIT, 1_875, 125, HOT)) == list(range(1_875, 2_000))
            thirds = [int(n % 3 == 0) for n in range(2_000)]
            assert await patiently(lambda: bus.read_discrete(UNIT, 0, 2_000, HOT)) == thirds
            assert await patiently(lambda: functions.read(bus, UNIT, "coil", 1, 13, HOT)) == thirds[1:14]

        on_a_line(peers, peer, transport, work)

    def test_writes_what_is_then_read(self, peers: dict[str, Path], peer: str, transport: str) -> None:
        async def work(bus: Bus, _: Server) -> None:
            words, bits = [60_000 + n for n in range(123)], [n % 5 == 0 for n in range(1_968)]

            await patiently(lambda: bus.write(UNIT, 10, words, HOT))
            await patiently(lambda: functions.write_register(bus, UNIT, 200, 0xBEEF, HOT))
            await patiently(lambda: functions.write_coils(bus, UNIT, 3, bits, HOT))
            await patiently(lambda: functions.write_coil(bus, UNIT, 0, False, HOT))

            assert await patiently(lambda: bus.read_holding(UNIT, 10, 123, HOT)) == words
            assert await patiently(lambda: bus.read_holding(UNIT, 199, 3, HOT)) == [199, 0xBEEF, 201]
            assert await patiently(lambda: functions.read(bus, UNIT, "coil", 3, 1_968, HOT)) == [
                int(bit) for bit in bits
            ]
            assert await patiently(lambda: functions.read(bus, UNIT, "coil", 0, 2, HOT)) == [0, 0]
            await patiently(lambda: functions.mask_register(bus, UNIT, 200, 0x0F0F, 0x0000, HOT))
            assert await patiently(lambda: bus.read_holding(UNIT, 200, 1, HOT)) == [0xBEEF & 0xF0F0]

        on_a_line(peers, peer, transport, work)

    def test_writes_and_reads_in_one_transaction(self, peers: dict[str, Path], peer: str, transport: str) -> None:
        async def work(bus: Bus, server: Server) -> None:
            words = [50_000 + n for n in range(121)]

            read = await patiently(
                lambda: bus.write_read(
                    UNIT, write_address=300, values=words, read_address=298, read_count=125, priority=HOT
                )
            )

            before = list(range(300, 421))
            assert read == [298, 299, *(words if server.writes_first else before), 421, 422]
            assert await patiently(lambda: bus.read_holding(UNIT, 300, 121, HOT)) == words

        on_a_line(peers, peer, transport, work)

    def test_says_which_exception_a_unit_answers(self, peers: dict[str, Path], peer: str, transport: str) -> None:
        async def work(bus: Bus, _: Server) -> None:
            assert await refused_with(lambda: bus.read_input(UNIT, 1_999, 2, HOT)) == 2
            assert await refused_with(lambda: bus.read_discrete(UNIT, 5_000, 1, HOT)) == 2
            assert await refused_with(lambda: bus.write(UNIT, 1_999, [1, 2], HOT)) == 2
            assert await refused_with(lambda: functions.write_coil(bus, UNIT, 4_000, True, HOT)) == 2
            assert bus.unit(UNIT).failures == 0
            assert await patiently(lambda: bus.read_input(UNIT, 0, 1, HOT)) == [65_535]

        on_a_line(peers, peer, transport, work)
