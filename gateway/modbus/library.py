"""
Serial lines, and serial frames in TCP, through pymodbus: one owner task per line, one request in flight.

A serial frame does not say which question it answers. So an answer must have the shape of what was asked; and where a
box in between may deliver one late, the connection that owes one is given up, and the late answer with it.
"""

import asyncio
import contextlib
import logging
import random
import socket
import termios
from typing import Any

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerType
from pymodbus.pdu import ModbusPDU

from gateway.config import Line
from gateway.kit import end_tasks
from gateway.modbus.requests import Desk, NotTried, Request

log = logging.getLogger(__name__)

RECONNECT_S_MAX = 2.0

Client = AsyncModbusTcpClient | AsyncModbusSerialClient

_READ_BITS, _READ_WORDS = frozenset({1, 2}), frozenset({3, 4})


def fits(asked: ModbusPDU, answer: ModbusPDU) -> bool:
    """Return whether an answer can be one to what was asked: its function, and its length or its address."""
    function = asked.function_code
    if answer.function_code & 0x7F != function:
        return False
    if answer.isError():
        return True
    if function in _READ_BITS:
        return len(answer.bits) == 8 * -(-asked.count // 8)
    if function in _READ_WORDS:
        return len(answer.registers) == asked.count
    if function == 23:
        return len(answer.registers) == getattr(asked, "read_count", -1)
    return answer.address == asked.address


def answer_bytes(asked: ModbusPDU, answer: ModbusPDU) -> int:
    """Return how long the serial frame of an answer that fits is."""
    function = asked.function_code
    if answer.isError():
        return 5
    if function in _READ_BITS:
        return 5 + -(-asked.count // 8)
    if function in _READ_WORDS or function == 23:
        return 5 + 2 * len(answer.registers)
    return 10 if function == 22 else 8


class LibraryEngine:
    """Sends what waits at the desk."""

    def __init__(self, line: Line, desk: Desk) -> None:
        self._line, self._desk = line, desk
        self._client: Client | None = None
        self._wake = asyncio.Event()
        self._next_connect = 0.0
        self._connect_delay_s = 0.1
        self._task: asyncio.Task[None] | None = None
        #: whether bytes have come in that are not yet a valid answer
        self._unread = False
        self._garbled = 0
        self._asked: ModbusPDU | None = None
        #: how many bytes there were when the last answer was found among them
        self._heard_bytes = 0
        #: whether we gave up the last connection ourselves
        self._starts_over = False

    @property
    def connected(self) -> bool:
        """Whether the line is open."""
        return self._client is not None and self._client.connected

    def start(self) -> None:
        """Start the owner task."""
        self._task = asyncio.create_task(self._own(), name=f"bus {self._line.line_id}")

    async def stop(self) -> None:
        """End the owner task and close the line."""
        if self._task:
            await end_tasks([self._task])
        self._desk.give_up()
        if self._client:
            self._client.close()

    def wake(self) -> None:
        """Have the owner look at the desk."""
        self._wake.set()

    async def _own(self) -> None:
        while True:
            request = self._desk.take()
            if request is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            begun_at = asyncio.get_running_loop().time()
            try:
                await self._exchange(request)
            except NotTried as error:
                self._desk.fail(request, error)
            except asyncio.CancelledError:
                self._desk.silent(request, "the line is being closed")
                raise
            finally:
                self._desk.sent(request, asyncio.get_running_loop().time() - begun_at)

    async def _exchange(self, request: Request) -> None:
        client = await self._connected()
        if self._line.transport == "serial":
            await asyncio.sleep(max(0.00175, 38.5 / self._line.baud))  # 3.5 characters of silence between frames
        self._unread, self._garbled = False, 0
        context = client.ctx
        usual = context.comm_params.timeout_connect, context.retries, context.count_until_disconnect
        context.comm_params.timeout_connect = request.timeout_s or self._line.timeout_ms / 1_000
        context.retries = request.tries - 1
        try:
            answer = await request.call(client)
        except (TimeoutError, ModbusException, OSError) as error:
            damaged = self._garbled or self._unread
            self._desk.silent(request, "damaged answers, cut short or of another unit" if damaged else error)
            self._start_over(client)
            return
        finally:
            if request.is_look:
                context.count_until_disconnect = usual[2]
            context.comm_params.timeout_connect, context.retries = usual[:2]
            self._desk.garbled(request, self._garbled + self._unread)
        if self._asked is None or not fits(self._asked, answer):
            self._distrust(client, request, "an answer to another question")
            return
        if self._heard_bytes > answer_bytes(self._asked, answer):
            self._distrust(client, request, "more than one answer: two units at this address?")
            return
        self._desk.answered(request, answer)
        if answer.retries:  # the answer to the first try may still come
            self._start_over(client)

    def _distrust(self, client: Client, request: Request, why: str) -> None:
        self._desk.garbled(request, 1)
        self._desk.silent(request, why)
        self._start_over(client)

    def _start_over(self, client: Client) -> None:
        """Give up a connection on which an answer may still come; a serial line has nobody who would keep one."""
        if self._line.transport == "rtu_tcp":
            client.close()
            self._starts_over = True

    async def _connected(self) -> Client:
        if self._client is not None and self._client.connected:
            return self._client
        now = asyncio.get_running_loop().time()
        if now < self._next_connect:
            raise NotTried(f"line {self._line.line_id} is down")
        if self._client is not None:
            self._client.close()
        self._client = self._new_client()
        connected = False
        # a port that refuses its speed or parity raises an error of termios, which is no OSError
        with contextlib.suppress(ModbusException, OSError, asyncio.TimeoutError, termios.error):
            connected = await self._client.connect()
        if not connected:
            self._starts_over = False
            self._next_connect = now + self._connect_delay_s * random.uniform(0.8, 1.2)
            self._connect_delay_s = min(self._connect_delay_s * 2, RECONNECT_S_MAX)
            raise NotTried(f"line {self._line.line_id} cannot be opened")
        self._connect_delay_s = 0.1
        if self._starts_over:
            self._starts_over = False
            return self._client
        log.info("line open", extra={"line": self._line.line_id})
        self._desk.line_is_back()
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
            framer=FramerType.RTU,
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
        self._heard_bytes = 0 if sending else len(data)
        return data

    def _pdu(self, sending: bool, pdu: ModbusPDU) -> ModbusPDU:
        self._unread = self._unread and sending
        if sending:
            self._asked = pdu
        return pdu

    def _tune(self, connected: bool) -> None:
        transport: Any = self._client.ctx.transport if self._client and connected else None
        sock = transport.get_extra_info("socket") if transport else None
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
