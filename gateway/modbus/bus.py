"""
One line, one owner task, one request in flight. The only module that knows pymodbus.

Requests wait in a priority queue, so a closing valve never stands behind a meter reading. A unit that stops answering
is left alone for longer and longer, and at most one such unit is tried per second: the others must not pay for it.
"""

import asyncio
import contextlib
import logging
import random
import socket
import termios
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerType
from pymodbus.pdu import ModbusPDU

from gateway.config import Line
from gateway.kit import end_tasks

log = logging.getLogger(__name__)

QUEUE_MAX = 4_096
FAILURES_BEFORE_BACKOFF = 2
BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
PROBE_SPACING_S = 1.0
RECONNECT_S_MAX = 2.0
#: how long a look for an unknown unit may hold up the line; a serial line is slower to answer
LOOK_TIMEOUT_S = 0.05
LOOK_TIMEOUT_SERIAL_S = 0.1
#: "gateway path unavailable" and "target failed to respond": a TCP-to-serial box speaks for a silent unit
GATEWAY_EXCEPTIONS = (10, 11)


class Priority(IntEnum):
    """Lower goes first."""

    CLOSE = 0
    OPEN = 1
    EXTEND = 2
    MAILBOX = 3
    HOT = 4
    LOG = 5
    FLAGS = 6
    SLOW = 7
    LOOK = 8


class BusError(Exception):
    """A unit did not do what was asked."""


class NoAnswer(BusError):
    """The unit, or the whole line, did not answer. What was written may or may not have arrived."""


class NotTried(BusError):
    """Nothing was sent: the unit is resting after failures, or the line is down or overloaded."""


class Declined(BusError):
    """The unit answered with a Modbus exception."""

    def __init__(self, exception_code: int) -> None:
        super().__init__(f"Modbus exception {exception_code}")
        self.exception_code = exception_code


Client = AsyncModbusTcpClient | AsyncModbusSerialClient
_Call = Callable[[Client], Awaitable[ModbusPDU]]


@dataclass(order=True, slots=True)
class _Request:
    priority: int
    number: int
    unit: int = field(compare=False)
    call: _Call = field(compare=False)
    answer: "asyncio.Future[ModbusPDU]" = field(compare=False)


@dataclass(slots=True)
class UnitRecord:
    """How a unit has been answering."""

    failures: int = 0
    timeouts: int = 0
    #: answers whose bytes were no valid frame: wrong checksum, cut short, another protocol
    crc_errors: int = 0
    not_before: float = 0.0


class Bus:
    """Owns one line. `errors` counts requests that failed."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._client: Client | None = None
        self._queue: asyncio.PriorityQueue[_Request] = asyncio.PriorityQueue(QUEUE_MAX)
        self._number = 0
        self._units: dict[int, UnitRecord] = {}
        self._next_probe = 0.0
        self._next_connect = 0.0
        self._connect_delay_s = 0.1
        self._task: asyncio.Task[None] | None = None
        self.errors = 0
        #: requests that went out, and for how long one was under way
        self.requests = 0
        self.busy_s = 0.0
        #: whether bytes have come in that are not yet a valid answer
        self._unread = False
        self._garbled = 0

    @property
    def line_id(self) -> str:
        """Name of the line."""
        return self._line.line_id

    def start(self) -> None:
        """Start the owner task."""
        self._task = asyncio.create_task(self._own(), name=f"bus {self._line.line_id}")

    async def stop(self) -> None:
        """End the owner task and close the line."""
        if self._task:
            await end_tasks([self._task])
        if self._client:
            self._client.close()

    def unit(self, unit: int) -> UnitRecord:
        """Return how a unit has been answering."""
        return self._units.setdefault(unit, UnitRecord())

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
        if self._client is None or not self._client.connected:
            raise NotTried(f"line {self.line_id} is down")

        async def call(client: Client) -> ModbusPDU:
            if not is_quiet():
                raise NotTried(f"line {self.line_id} has other things to do")
            context = client.ctx
            usual = context.comm_params.timeout_connect, context.retries, context.count_until_disconnect
            serial = self._line.transport == "serial"
            context.comm_params.timeout_connect = LOOK_TIMEOUT_SERIAL_S if serial else LOOK_TIMEOUT_S
            context.retries = 0
            try:
                return await client.read_input_registers(address, count=count, device_id=unit)
            finally:
                context.comm_params.timeout_connect, context.retries, context.count_until_disconnect = usual

        answer = await self._ask(unit, Priority.LOOK, call)
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

    async def request(self, unit: int, priority: Priority, call: _Call) -> ModbusPDU:
        """Queue any other request, see `gateway.modbus.functions`, and return the answer."""
        return await self._ask(unit, priority, call)

    async def _ask(self, unit: int, priority: Priority, call: _Call) -> ModbusPDU:
        """
        Queue a request and return the answer.

        :raises NotTried: if nothing was sent.
        :raises NoAnswer: if nothing came back.
        :raises Declined: if the unit answered with an exception.
        """
        if Priority.CLOSE < priority < Priority.LOOK:
            self._check_backoff(unit)
        self._number += 1
        answer: asyncio.Future[ModbusPDU] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait(_Request(int(priority), self._number, unit, call, answer))
        except asyncio.QueueFull as error:
            raise NotTried(f"line {self.line_id} is overloaded") from error
        return await answer

    def _check_backoff(self, unit: int) -> None:
        record = self._units.get(unit)
        if record is None or record.failures < FAILURES_BEFORE_BACKOFF:
            return
        now = asyncio.get_running_loop().time()
        if now < record.not_before or now < self._next_probe:
            raise NotTried(f"unit {unit} is resting after {record.failures} failures")
        self._next_probe = now + PROBE_SPACING_S
        step = min(record.failures - FAILURES_BEFORE_BACKOFF, len(BACKOFF_S) - 1)
        record.not_before = now + BACKOFF_S[step]

    async def _own(self) -> None:
        while True:
            request = await self._queue.get()
            if request.answer.done():
                continue  # whoever asked has gone
            begun_at = asyncio.get_running_loop().time()
            try:
                answer = await self._exchange(request)
            except BusError as error:
                self.errors += request.priority != Priority.LOOK
                if not request.answer.done():
                    request.answer.set_exception(error)
            except asyncio.CancelledError:
                if not request.answer.done():
                    request.answer.set_exception(NoAnswer("the line is being closed"))
                raise
            else:
                if not request.answer.done():
                    request.answer.set_result(answer)
            finally:
                self.requests += 1
                self.busy_s += asyncio.get_running_loop().time() - begun_at

    async def _exchange(self, request: _Request) -> ModbusPDU:
        client = await self._connected()
        record = UnitRecord() if request.priority == Priority.LOOK else self.unit(request.unit)
        if self._line.transport == "serial":
            await asyncio.sleep(max(0.00175, 38.5 / self._line.baud))  # 3.5 characters of silence between frames
        self._unread, self._garbled = False, 0
        try:
            answer = await request.call(client)
        except (TimeoutError, ModbusException, OSError) as error:
            record.failures += 1
            record.timeouts += 1
            raise NoAnswer(f"unit {request.unit}: {error}") from error
        finally:
            record.crc_errors += self._garbled + self._unread
        if answer.isError() and answer.exception_code in GATEWAY_EXCEPTIONS:
            record.failures += 1
            record.timeouts += 1
            raise NoAnswer(f"unit {request.unit}: exception {answer.exception_code} of a bus gateway in between")
        record.failures = 0
        if answer.isError():
            raise Declined(answer.exception_code)
        return answer

    async def _connected(self) -> Client:
        if self._client is not None and self._client.connected:
            return self._client
        now = asyncio.get_running_loop().time()
        if now < self._next_connect:
            raise NotTried(f"line {self.line_id} is down")
        if self._client is not None:
            self._client.close()
        self._client = self._new_client()
        connected = False
        # a port that refuses its speed or parity raises an error of termios, which is no OSError
        with contextlib.suppress(ModbusException, OSError, asyncio.TimeoutError, termios.error):
            connected = await self._client.connect()
        if not connected:
            self._next_connect = now + self._connect_delay_s * random.uniform(0.8, 1.2)
            self._connect_delay_s = min(self._connect_delay_s * 2, RECONNECT_S_MAX)
            raise NotTried(f"line {self.line_id} cannot be opened")
        self._connect_delay_s = 0.1
        log.info("line open", extra={"line": self.line_id})
        for record in self._units.values():  # a line that came back gives every unit a fresh chance
            record.failures = 0
        return self._client

    def _new_client(self) -> Client:
        timeout_s = self._line.timeout_ms / 1000
        if self._line.transport == "serial":
            return AsyncModbusSerialClient(
                self._line.path,
                baudrate=self._line.baud,
                parity=self._line.parity,
                timeout=timeout_s,
                retries=1,
                reconnect_delay=0,
                trace_packet=self._packet,
                trace_pdu=self._pdu,
            )
        return AsyncModbusTcpClient(
            self._line.host,
            framer=FramerType.RTU if self._line.transport == "rtu_tcp" else FramerType.SOCKET,
            port=self._line.port,
            timeout=timeout_s,
            retries=1,
            reconnect_delay=0,
            trace_connect=self._tune,
            trace_packet=self._packet,
            trace_pdu=self._pdu,
        )

    def _packet(self, sending: bool, data: bytes) -> bytes:
        """Count what was received before this frame went out and never became an answer."""
        self._garbled += sending and self._unread
        self._unread = not sending
        return data

    def _pdu(self, sending: bool, pdu: ModbusPDU) -> ModbusPDU:
        self._unread = self._unread and sending
        return pdu

    def _tune(self, connected: bool) -> None:
        transport: Any = self._client.ctx.transport if self._client and connected else None
        sock = transport.get_extra_info("socket") if transport else None
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
