"""The worker's connection and a real broker: acknowledgements, in whatever order messages are dealt with."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from backend.mqtt.client import SUBSCRIBE_WITHIN_S, BrokerLink, Incoming
from firmware_sim.broker import listening
from firmware_sim.stack import free_ports
from tests.patience import PATIENCE_S


@pytest.fixture(scope="module", params=["iotcore", "mosquitto"])
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Yield the port of a running broker."""
    port, folder = free_ports(1)[0], tmp_path_factory.mktemp("broker")
    command = [sys.executable, "-m", "firmware_sim.broker", "--port", str(port), "--folder", str(folder)]
    process = subprocess.Popen([*command, "--kind", request.param], stderr=subprocess.DEVNULL)
    try:
        _eventually(lambda: listening(port))
        yield port
    finally:
        process.kill()
        process.wait()


def _eventually(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "the broker does not listen"
        time.sleep(0.01)


def _up(port: int, *filters: str) -> BrokerLink:
    link = BrokerLink(host="127.0.0.1", port=port, filters=filters)

    def is_up() -> bool:
        link.poll(0.05, 10)
        return link.is_up

    _eventually(is_up)
    return link


def _receive(link: BrokerLink, sender: BrokerLink, count: int) -> list[Incoming]:
    got: list[Incoming] = []

    def is_there() -> bool:
        sender.poll(0.01, 10)
        got.extend(link.poll(0.01, 100))
        return len(got) >= count

    _eventually(is_there)
    return got


class TestAck:
    def test_of_the_newest_first_keeps_the_connection(self, port: int) -> None:
        """A tap is answered before the events that came ahead of it."""
        worker = _up(port, "$share/group-tap/ct/tap", "$share/group-event/ct/event")
        gateway = _up(port)
        for round_number in range(3):
            for number in range(4):
                topic = "ct/tap" if number % 2 else "ct/event"
                gateway.publish(topic, f"{round_number}.{number}".encode(), expiry_s=30)
            came = _receive(worker, gateway, 4)
            for message in sorted(came, key=lambda each: each.topic, reverse=True):
                worker.ack([message])

        assert sorted(message.payload for message in came) == [b"2.0", b"2.1", b"2.2", b"2.3"]
        for _ in range(20):
            worker.poll(0.01, 10)
        assert (worker.connection, worker.is_up) == (1, True)
        worker.close()
        gateway.close()

    def test_of_another_connection_is_forgotten(self, port: int) -> None:
        worker, gateway = _up(port, "$share/group-other/ct/other"), _up(port)
        gateway.publish("ct/other", b"1", expiry_s=30)
        came = _receive(worker, gateway, 1)
        worker.close()
        _eventually(lambda: worker.poll(0.05, 10) or worker.is_up)

        worker.ack(came)
        gateway.publish("ct/other", b"2", expiry_s=30)
        again = _receive(worker, gateway, 1)
        worker.ack(again)

        assert again[-1].payload == b"2"
        assert worker.connection == 2
        worker.close()
        gateway.close()


class TestPoll:
    def test_comes_again_when_nobody_confirms_the_subscription(self) -> None:
        """A broker that takes the connection and then says nothing is left for a new one."""
        now = [1_000.0]
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            link = BrokerLink(host="127.0.0.1", port=port, filters=["ct/any"], clock=lambda: now[0])
            link.poll(0.01, 10)
            link.poll(0.01, 10)
            assert (link.connection, link.is_up) == (1, False)

            now[0] += SUBSCRIBE_WITHIN_S + 0.1
            link.poll(0.01, 10)
            now[0] += 1
            link.poll(0.01, 10)

            assert link.connection == 2
            link.close()
