"""What the parts below us need at least: one Modbus exchange, one round trip through the broker."""

import asyncio
import socket
import threading
import time

import paho.mqtt.client as mqtt
from pymodbus.client import AsyncModbusTcpClient

_ROUNDS = 300


class _Quick(mqtt.Client):
    """A client that acknowledges TCP segments at once, as both our sides do."""

    def _sock_recv(self, bufsize: int) -> bytes:
        received: bytes = super()._sock_recv(bufsize)
        assert self._sock is not None
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return received


def bus_floor_ms(host: str, port: int, unit: int) -> list[float]:
    """Return the times of single reads of the 28 status registers, with nothing else on the connection."""

    async def measure() -> list[float]:
        client = AsyncModbusTcpClient(host, port=port, timeout=1)
        assert await client.connect()
        found = []
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            answer = await client.read_input_registers(100, count=28, device_id=unit)
            found.append((time.perf_counter() - began) * 1_000)
            assert not answer.isError()
        client.close()
        return found

    return asyncio.run(measure())


def broker_floor_ms(port: int) -> list[float]:
    """Return round-trip times of QoS 1 messages between two clients and back, one in flight."""

    def client(name: str) -> mqtt.Client:
        made = _Quick(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        made.connect("127.0.0.1", port, 30)
        made.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.loop_start()
        return made

    asker, answerer = client("bench-asker"), client("bench-answerer")
    back, ready = threading.Event(), threading.Semaphore(0)
    asker.on_message = lambda *_: back.set()
    answerer.on_message = lambda own, _, message: own.publish("bench/answer", message.payload, 1)
    for own, topic in ((asker, "bench/answer"), (answerer, "bench/ask")):
        own.on_subscribe = lambda *_: ready.release()
        own.subscribe(topic, 1)
    for _ in range(2):
        assert ready.acquire(timeout=5)
    found = []
    for _ in range(_ROUNDS):
        back.clear()
        began = time.perf_counter()
        asker.publish("bench/ask", b"x" * 64, 1)
        assert back.wait(5)
        found.append((time.perf_counter() - began) * 1_000)
    for own in (asker, answerer):
        own.loop_stop()
        own.disconnect()
    return found
