"""The relay does to messages what a bad line does, and nothing else."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest

from firmware_sim.scenarios.mqtt_frames import PUBLISH, take
from firmware_sim.scenarios.uplink import UplinkRelay, Weather
from tests.unit.firmware_sim.scenarios.test_mqtt_frames import publish

WITHIN_S = 20


class Broker:
    """A far end that keeps what it hears and answers each PUBLISH of quality 1."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = bytearray()
        while chunk := await reader.read(4_096):
            data += chunk
            while (packet := take(data)) is not None:
                self.heard.append(packet.raw)
                number = packet.packet_id()
                if packet.kind == PUBLISH and number is not None:
                    writer.write(b"\x40\x02" + number.to_bytes(2, "big"))
        writer.close()


@contextmanager
def relaying(port: int, **weather: object) -> Iterator[UplinkRelay]:
    relay = UplinkRelay(broker_port=port, seed=1, weather=Weather(**weather))  # type: ignore[arg-type]
    relay.start()
    try:
        yield relay
    finally:
        relay.stop()


def talk(words: Callable[[UplinkRelay, Broker], Awaitable[None]], **weather: object) -> Broker:
    """Let a client talk to a broker through a relay; return the broker."""

    async def conversation() -> Broker:
        broker = Broker()
        server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
        with relaying(server.sockets[0].getsockname()[1], **weather) as relay:
            async with asyncio.timeout(WITHIN_S):
                await words(relay, broker)
        server.close()
        return broker

    return asyncio.run(conversation())


async def until(look: Callable[[], bool]) -> None:
    while not look():
        await asyncio.sleep(0.01)


class TestUplinkRelay:
    def test_hands_everything_on_both_ways_in_good_weather(self) -> None:
        sent = [publish(bytes([number]) * 300, packet_id=number) for number in range(1, 20)]

        async def words(relay: UplinkRelay, broker: Broker) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
            writer.write(b"".join(sent))
            answers = await reader.readexactly(4 * len(sent))
            writer.close()
            assert answers == b"".join(b"\x40\x02" + number.to_bytes(2, "big") for number in range(1, 20))

        assert talk(words).heard == sent

    def test_sends_twice_but_the_sender_hears_one_answer(self) -> None:
        async def words(relay: UplinkRelay, broker: Broker) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
            for number in range(1, 6):
                writer.write(publish(b"x", packet_id=number))
            answers = await reader.readexactly(20)
            await until(lambda: len(broker.heard) == 10)
            writer.write(b"\xc0\x00")
            await until(lambda: broker.heard[-1] == b"\xc0\x00")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await reader.readexactly(1)
            writer.close()
            assert [answers[at + 3] for at in range(0, 20, 4)] == [1, 2, 3, 4, 5]
            assert relay.tally.duplicated == 5

        heard = talk(words, duplicate=1.0).heard
        assert heard[1][0] == heard[0][0] | 0x08

    def test_loses_quality_zero_and_breaks_the_line_under_quality_one(self) -> None:
        async def words(relay: UplinkRelay, broker: Broker) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
            writer.write(publish(b"x", quality=0) + b"\xc0\x00")
            await until(lambda: broker.heard == [b"\xc0\x00"])
            writer.write(publish(b"x"))
            assert await _ends(reader)
            assert (relay.tally.dropped, relay.tally.broken) == (1, 1)

        talk(words, lose=1.0)

    def test_cuts_at_once_and_lets_nobody_in_until_it_is_mended(self) -> None:
        async def words(relay: UplinkRelay, broker: Broker) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
            writer.write(b"\xc0\x00")
            await until(lambda: len(broker.heard) == 1)
            relay.change(cut=True)
            assert await _ends(reader)
            reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
            assert await _ends(reader)
            relay.change(cut=False)
            reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
            writer.write(b"\xc0\x00")
            await until(lambda: len(broker.heard) == 2)
            writer.close()
            assert relay.tally.refused == 1

        talk(words)

    def test_survives_nonsense_and_a_dead_broker(self) -> None:
        async def words(relay: UplinkRelay, broker: Broker) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
            writer.write(b"\x00" * 64)
            assert await _ends(reader)

        talk(words)
        with relaying(1) as relay:

            async def knock() -> bool:
                reader, _ = await asyncio.open_connection("127.0.0.1", relay.port)
                async with asyncio.timeout(WITHIN_S):
                    return await _ends(reader)

            assert asyncio.run(knock())


async def _ends(reader: asyncio.StreamReader) -> bool:
    """Return whether the other side hung up."""
    try:
        return await reader.read(1) == b""
    except ConnectionError:
        return True
