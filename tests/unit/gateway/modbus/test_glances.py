import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.modbus.bus import Bus, NoAnswer, Priority
from gateway.modbus.glances import Choice, Glance, Rounds, Sight, bits, packed, registers
from tests.patience import PATIENCE_S
from tests.unit.gateway.modbus.test_tcp import Peer, on_a_line, until

TICK_S = 0.005


def always(sight: Sight, priority: Priority = Priority.FLAGS) -> Choice:
    return lambda: (sight, priority)


def glancing(work: Callable[[Glance, Bus, Peer], Awaitable[None]], *, timeout_ms: int = 20_000) -> None:
    async def on_the_line(bus: Bus, peer: Peer) -> None:
        await work(Glance(bus, 1, Rounds(TICK_S)), bus, peer)

    on_a_line(on_the_line, timeout_ms=timeout_ms)


class TestRounds:
    def test_makes_calls_of_one_tick_together_and_those_of_others_later(self) -> None:
        async def work() -> None:
            rounds, made = Rounds(TICK_S), []
            first = rounds.now() + 2
            for number, tick in enumerate((first, first, first + 2)):
                rounds.at(tick, lambda tick, number=number: made.append((number, tick)))  # type: ignore[misc]
            async with asyncio.timeout(PATIENCE_S):
                while len(made) < 3:
                    await asyncio.sleep(0.001)
            assert made == [(0, first), (1, first), (2, first + 2)]

        asyncio.run(work())

    @pytest.mark.parametrize(("seconds", "ticks"), [(0.0, 1), (0.001, 1), (0.005, 1), (0.04, 8), (1.0, 200)])
    def test_counts_ticks_and_at_least_one(self, seconds: float, ticks: int) -> None:
        assert Rounds(TICK_S).ticks(seconds) == ticks


class TestPacked:
    @pytest.mark.parametrize(
        ("values", "data"),
        [([], b""), ([1], b"\1"), ([0, 1, 0, 0, 0, 0, 0, 1], b"\x82"), ([1] + [0] * 8, b"\1\0"), ([0] * 16, b"\0\0")],
    )
    def test_puts_the_first_bit_lowest(self, values: list[int], data: bytes) -> None:
        assert packed(values) == data


class TestGlance:
    def test_looks_until_there_is_news(self) -> None:
        async def work(glance: Glance, bus: Bus, peer: Peer) -> None:
            seen: list[bytes] = []

            def is_news(data: bytes) -> bool:
                seen.append(data)
                return len(seen) == 3

            await glance.start(TICK_S, always(registers(1, 100, 2, is_news)))
            assert seen == [b"\0\1\0\1"] * 3
            assert [pdu for _, _, pdu in peer.asked] == [b"\4\0\x64\0\2"] * 3

        glancing(work)

    def test_asks_each_time_what_to_look_at_and_how_urgent_that_is(self) -> None:
        async def work(glance: Glance, bus: Bus, peer: Peer) -> None:
            first = bits(1, 0, 16, lambda data: False)
            choices = iter([(first, Priority.SPARE), (registers(1, 7, 1, lambda data: False), Priority.HOT), None])
            peer.auto = False
            news = glance.start(TICK_S, lambda: next(choices))
            for answer in (b"\2\2\0\0", b"\4\2\0\0"):
                await until(lambda: len(peer.asked) == 1)
                tid, unit, _ = peer.asked.pop()
                peer.answer(tid, unit, answer)
            await news
            assert peer.asked == []

        glancing(work)

    def test_ends_with_what_was_wrong(self) -> None:
        async def work(glance: Glance, bus: Bus, peer: Peer) -> None:
            peer.auto = False
            with pytest.raises(NoAnswer):
                await glance.start(TICK_S, always(registers(1, 100, 2, lambda data: False)))

        glancing(work, timeout_ms=30)

    def test_takes_no_answer_of_another_length(self) -> None:
        async def work(glance: Glance, bus: Bus, peer: Peer) -> None:
            peer.auto = False
            news = glance.start(TICK_S, always(registers(1, 100, 2, lambda data: False)))
            await until(lambda: bool(peer.asked))
            peer.answer(*peer.asked[0][:2], b"\4\2\0\1")
            with pytest.raises(NoAnswer, match="2 bytes where 4 belong"):
                await news

        glancing(work)

    def test_hands_a_bug_to_whoever_waits_and_leaves_the_line_alone(self) -> None:
        async def work(glance: Glance, bus: Bus, peer: Peer) -> None:
            def broken(data: bytes) -> bool:
                raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await glance.start(TICK_S, always(registers(1, 100, 2, broken)))
            assert await bus.read_input(2, 0, 1, Priority.HOT) == [2]
            assert peer.connections == 1

        glancing(work)

    def test_ends_when_nobody_waits_any_more(self) -> None:
        async def work(glance: Glance, bus: Bus, peer: Peer) -> None:
            peer.auto = False
            judged: list[bytes] = []
            news = glance.start(TICK_S, always(registers(1, 100, 2, lambda data: bool(judged.append(data)))))
            await until(lambda: len(peer.asked) == 1)
            news.cancel()
            await asyncio.sleep(0)
            peer.answer(*peer.asked[0][:2], b"\4\4\0\1\0\1")
            peer.auto = True
            assert await bus.read_input(1, 0, 1, Priority.SLOW) == [1]
            assert (len(peer.asked), judged) == (2, [])

        glancing(work)

    def test_begins_anew_while_an_earlier_look_is_under_way(self) -> None:
        async def work(glance: Glance, bus: Bus, peer: Peer) -> None:
            peer.auto = False
            judged: list[bytes] = []
            forgotten = glance.start(TICK_S, always(registers(1, 100, 2, lambda data: False)))
            await until(lambda: len(peer.asked) == 1)
            forgotten.cancel()
            news = glance.start(TICK_S, always(bits(1, 0, 16, lambda data: judged.append(data) is None)))
            await asyncio.sleep(5 * TICK_S)  # the new look waits behind the old one by now, or comes after it
            peer.answer(*peer.asked[0][:2], b"\4\4\0\1\0\2")
            await until(lambda: len(peer.asked) == 2)
            peer.answer(*peer.asked[1][:2], b"\2\2\1\0")
            await news
            assert judged == [b"\1\0"]

        glancing(work)


class TestSpareTime:
    def test_is_no_load(self) -> None:
        async def work(glance: Glance, bus: Bus, peer: Peer) -> None:
            looks = iter([(registers(1, 100, 2, lambda data: False), Priority.SPARE)] * 5)

            await glance.start(TICK_S, lambda: next(looks, None))

            assert (bus.requests, bus.busy_s) == (5, 0.0)
            await bus.read_input(1, 0, 1, Priority.FLAGS)
            assert bus.busy_s > 0

        glancing(work)
