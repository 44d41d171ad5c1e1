"""A serial line that flips bits, and loses, delays and doubles answers: loud failures, no wrong value or opening."""

import asyncio
import logging
from collections.abc import Iterator

import pytest

from gateway.config import Line
from gateway.modbus import functions
from gateway.modbus.bus import Bus, NoAnswer, Priority
from tests.contract.conformance.wire import crc
from tests.patience import PATIENCE_S
from tests.soak.__main__ import soak
from tests.soak.noise import Mishaps


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the library from writing down every frame that did not fit."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


class TestSoak:
    def test_at_a_bit_error_rate_of_one_in_ten_thousand_nothing_is_silently_wrong(self) -> None:
        run = asyncio.run(soak(seed=1, mishaps=Mishaps(bit_error=1e-4), steps=700))

        assert run.wrong == []
        assert run.line.counts["frames damaged"] > 15
        assert run.server.bad_frames > 0
        assert sum(run.bus.unit(unit).crc_errors for unit in run.outlets.benches) > 0
        assert run.done["open"] > 10
        assert run.done["read_block"] > 100

    def test_answers_that_are_lost_late_and_doubled_are_never_taken_for_others(self) -> None:
        mishaps = Mishaps(bit_error=1e-4, lost=0.02, late=0.03, doubled=0.03, late_s=0.15)

        run = asyncio.run(soak(seed=2, mishaps=mishaps, steps=300))

        assert run.wrong == []
        assert min(run.line.counts[what] for what in ("lost", "late", "doubled")) > 0

    def test_a_worse_line_is_louder_and_still_not_wrong(self) -> None:
        run = asyncio.run(soak(seed=3, mishaps=Mishaps(bit_error=1e-3), steps=60))

        assert run.wrong == []
        assert run.loud.total() > 0


class LateUnit:
    """Answers each register with its own address; the first answer only when it is let go."""

    def __init__(self) -> None:
        self.held: list[tuple[asyncio.StreamWriter, bytes]] = []
        self.hold = True
        self.links = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.links += 1
        try:
            while True:
                request = await reader.readexactly(8)
                address, count = int.from_bytes(request[2:4], "big"), int.from_bytes(request[4:6], "big")
                body = (
                    request[:2] + bytes([2 * count]) + b"".join((address + n).to_bytes(2, "big") for n in range(count))
                )
                if self.hold:
                    self.held.append((writer, body + crc(body)))
                    continue
                for late_writer, late in self.held[:1]:
                    late_writer.write(late)
                self.held = []
                await asyncio.sleep(0.02)  # the late one comes by itself
                writer.write(body + crc(body))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


class TestLateAnswer:
    def test_is_not_taken_for_the_answer_to_the_next_question(self) -> None:
        async def run() -> None:
            unit = LateUnit()
            server = await asyncio.start_server(unit.serve, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            bus = Bus(Line(line_id="l1", transport="rtu_tcp", host="127.0.0.1", port=port, timeout_ms=60))
            bus.start()
            with pytest.raises(NoAnswer):
                await functions.read(bus, 1, "input", 100, 2, Priority.HOT)
            unit.hold = False

            async with asyncio.timeout(PATIENCE_S):
                while True:
                    try:
                        read = await functions.read(bus, 1, "input", 500, 2, Priority.HOT)
                        break
                    except NoAnswer:
                        continue

            assert read == [500, 501]
            await bus.stop()
            server.close()
            await server.wait_closed()

        asyncio.run(run())
