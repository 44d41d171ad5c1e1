"""
One line: reads and writes that wait for their turn, one request in flight unless a TCP line allows more.

Modbus TCP is spoken by `gateway.modbus.tcp`, everything serial by `gateway.modbus.library`; `gateway.modbus.requests`
says who goes first and who is left alone.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from gateway.config import Line
from gateway.modbus.library import LibraryEngine
from gateway.modbus.requests import (
    BusError,
    Call,
    Declined,
    Desk,
    NoAnswer,
    NotTried,
    Priority,
    Request,
    UnitRecord,
)
from gateway.modbus.tcp import TcpEngine

__all__ = ["Bus", "BusError", "Declined", "NoAnswer", "NotTried", "Priority", "UnitRecord"]

#: how long a look for an unknown unit may hold up the line; a serial line is slower to answer
LOOK_TIMEOUT_S = 0.05
LOOK_TIMEOUT_SERIAL_S = 0.1


class Bus:
    """Owns one line."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._desk = Desk(line.line_id)
        engine: type[TcpEngine | LibraryEngine] = TcpEngine if line.transport == "tcp" else LibraryEngine
        self._engine = engine(line, self._desk)
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def line_id(self) -> str:
        """Name of the line."""
        return self._line.line_id

    @property
    def errors(self) -> int:
        """Requests that failed."""
        return self._desk.errors

    @property
    def requests(self) -> int:
        """Requests that went out."""
        return self._desk.requests

    @property
    def busy_s(self) -> float:
        """For how long one was under way, altogether."""
        return self._desk.busy_s

    def start(self) -> None:
        """Begin to work on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._engine.start()

    async def stop(self) -> None:
        """Close the line."""
        await self._engine.stop()

    def unit(self, unit: int) -> UnitRecord:
        """Return how a unit has been answering."""
        return self._desk.record(unit)

    async def read_input(self, unit: int, address: int, count: int, priority: Priority) -> list[int]:
        """Return input registers."""
        answer = await self._ask(unit, priority, lambda c: c.read_input_registers(address, count=count, device_id=unit))
        return list(answer.registers)

    async def look(self, unit: int, address: int, count: int, *, is_quiet: Callable[[], bool]) -> list[int]:
        """
        Return input registers of a unit that may not exist: once, briefly, behind everything else.

        It says nothing about the line: failures are not counted, and no unit is rested for it.

        :raises NotTried: if the line is down, or not quiet when the question's turn comes.
        :raises NoAnswer: if nothing came back.
        :raises Declined: if the unit answered with an exception.
        """
        if not self._engine.connected:
            raise NotTried(f"line {self.line_id} is down")
        answer = await self._ask(
            unit,
            Priority.LOOK,
            lambda c: c.read_input_registers(address, count=count, device_id=unit),
            tries=1,
            timeout_s=LOOK_TIMEOUT_SERIAL_S if self._line.transport == "serial" else LOOK_TIMEOUT_S,
            is_wanted=is_quiet,
        )
        return list(answer.registers)

    async def read_holding(self, unit: int, address: int, count: int, priority: Priority) -> list[int]:
        """Return holding registers."""
        answer = await self._ask(
            unit, priority, lambda c: c.read_holding_registers(address, count=count, device_id=unit)
        )
        return list(answer.registers)

    async def read_discrete(self, unit: int, address: int, count: int, priority: Priority) -> list[int]:
        """Return discrete inputs as 0 and 1."""
        answer = await self._ask(unit, priority, lambda c: c.read_discrete_inputs(address, count=count, device_id=unit))
        return [int(bit) for bit in answer.bits[:count]]

    async def write(self, unit: int, address: int, values: Sequence[int], priority: Priority) -> None:
        """Write holding registers with FC16."""
        await self._ask(unit, priority, lambda c: c.write_registers(address, list(values), device_id=unit))

    async def write_read(
        self,
        unit: int,
        *,
        write_address: int,
        values: Sequence[int],
        read_address: int,
        read_count: int,
        priority: Priority,
    ) -> list[int]:
        """Write holding registers and read others in the same transaction, with FC23; return what was read."""
        answer = await self._ask(
            unit,
            priority,
            lambda c: c.readwrite_registers(
                read_address=read_address,
                read_count=read_count,
                write_address=write_address,
                values=list(values),
                device_id=unit,
            ),
        )
        return list(answer.registers)

    async def request(self, unit: int, priority: Priority, call: Call) -> Any:
        """Queue any other request, see `gateway.modbus.functions`, and return the answer."""
        return await self._ask(unit, priority, call)

    def _ask(self, unit: int, priority: Priority, call: Call, **more: Any) -> "asyncio.Future[Any]":
        """
        Queue a request and return what will be the answer.

        :raises NotTried: if nothing was sent.
        :raises NoAnswer: if nothing came back.
        :raises Declined: if the unit answered with an exception.
        """
        loop = self._loop or asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self.ask(Request(unit, int(priority), call, answer, **more))
        return answer

    def ask(self, request: Request) -> None:
        """
        Queue a request that says where its answer goes.

        :raises NotTried: if nothing will be sent.
        """
        self._desk.put(request)
        if self._loop is not None:
            self._engine.wake()
