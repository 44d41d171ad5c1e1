"""
Reads that are made again and again, without a task for each: most of what a gateway finds is that nothing has changed.

Whoever watches a unit says what to look at next and what would be news. Until there is news it sleeps, and a look costs
a question, an answer and a comparison. Looks of one line come due together, and leave in one packet where the line
allows several requests under way.
"""

import asyncio
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.modbus.bus import Bus, BusError, NoAnswer, Priority
from gateway.modbus.frames import TcpAnswer
from gateway.modbus.requests import Answer, Call, Request


class Rounds:
    """The times at which the looks of one line come due, so and so many seconds apart."""

    def __init__(self, tick_s: float) -> None:
        self._tick_s = tick_s
        self._due: dict[int, list[Callable[[int], None]]] = {}

    def ticks(self, seconds: float) -> int:
        """Return how many ticks a time is, at least one."""
        return max(1, round(seconds / self._tick_s))

    def now(self) -> int:
        """Return the tick that has begun last."""
        return int(asyncio.get_running_loop().time() / self._tick_s)

    def at(self, tick: int, call: Callable[[int], None]) -> None:
        """Make a call, with the tick, when that begins."""
        calls = self._due.get(tick)
        if calls is not None:
            calls.append(call)
            return
        self._due[tick] = [call]
        asyncio.get_running_loop().call_at(tick * self._tick_s, self._begin, tick)

    def _begin(self, tick: int) -> None:
        for call in self._due.pop(tick):
            call(tick)


@dataclass(frozen=True, slots=True)
class Sight:
    """One read, and what tells news in the bytes of its answer: registers big-endian, bits as Modbus packs them."""

    call: Call
    size_bytes: int
    is_news: Callable[[bytes], bool]


def registers(unit: int, address: int, count: int, is_news: Callable[[bytes], bool]) -> Sight:
    """Return a sight of input registers."""
    return Sight(lambda c: c.read_input_registers(address, count=count, device_id=unit), 2 * count, is_news)


def bits(unit: int, address: int, count: int, is_news: Callable[[bytes], bool]) -> Sight:
    """Return a sight of discrete inputs."""
    return Sight(lambda c: c.read_discrete_inputs(address, count=count, device_id=unit), -(-count // 8), is_news)


def packed(values: Sequence[Any]) -> bytes:
    """Return bits as Modbus packs them."""
    number = sum(1 << at for at, value in enumerate(values) if value)
    return number.to_bytes(-(-len(values) // 8), "little")


def _data(answer: Answer) -> bytes:
    if isinstance(answer, TcpAnswer):
        return answer.body[1:]
    if answer.registers:
        return struct.pack(f">{len(answer.registers)}H", *answer.registers)
    return packed(answer.bits)


#: what to look at, and how urgently; None when that is a matter for more than a look
Choice = Callable[[], tuple[Sight, Priority] | None]


class Glance:
    """The looks at one unit."""

    def __init__(self, bus: Bus, unit: int, rounds: Rounds) -> None:
        self._bus, self._unit, self._rounds = bus, unit, rounds
        self._news: asyncio.Future[None] | None = None
        self._choose: Choice = lambda: None
        self._every = 1
        self._due = -1

    def start(self, every_s: float, choose: Choice) -> "asyncio.Future[None]":
        """
        Look at what is chosen each time, and return what is done as soon as there is news.

        It may be done or canceled from outside: the looks end then. Its exception is a `BusError` where a look failed.
        """
        self._news = news = asyncio.get_running_loop().create_future()
        self._choose, self._every = choose, self._rounds.ticks(every_s)
        self._next(self._rounds.now() + self._every)
        return news

    def _next(self, tick: int) -> None:
        self._due = tick
        self._rounds.at(tick, self._look)

    def _look(self, tick: int) -> None:
        news = self._news
        if tick != self._due or news is None or news.done():
            return
        self._due = -1
        try:
            choice = self._choose()
            if choice is None:
                news.set_result(None)
            else:
                sight, priority = choice
                self._bus.ask(Request(self._unit, int(priority), sight.call, _Asked(self, tick, sight, news)))
        except Exception as error:  # noqa: BLE001 - raised again in the task that waits for news
            news.set_exception(error)

    def heard(self, tick: int, sight: Sight, news: "asyncio.Future[None]", answer: Answer) -> None:
        """Take in the answer to a look, and look again later unless it is news."""
        try:
            data = _data(answer)
            if len(data) != sight.size_bytes:
                raise NoAnswer(f"unit {self._unit} answered {len(data)} bytes where {sight.size_bytes} belong")
            is_news = sight.is_news(data)
        except Exception as error:  # noqa: BLE001 - raised again in the task that waits for news
            news.set_exception(error)
            return
        if is_news:
            news.set_result(None)
        else:
            self._next(max(tick + self._every, self._rounds.now() + 1))


class _Asked:
    """One look under way. Whoever begins anew meanwhile hears nothing of it."""

    __slots__ = ("_glance", "_news", "_sight", "_tick")

    def __init__(self, glance: Glance, tick: int, sight: Sight, news: "asyncio.Future[None]") -> None:
        self._glance, self._tick, self._sight, self._news = glance, tick, sight, news

    def done(self) -> bool:
        """Return whether nobody waits for news any more."""
        return self._news.done()

    def set_result(self, answer: Answer) -> None:
        """Take an answer."""
        self._glance.heard(self._tick, self._sight, self._news, answer)

    def set_exception(self, error: BusError) -> None:
        """Take that there was none."""
        self._news.set_exception(error)
