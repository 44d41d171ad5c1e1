"""The wire against peers that refuse, hang, trickle, flood and break off, over real sockets."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from backend.payments.port import Declined, Unknown
from backend.payments.rails.wire import Failure, Reply, Wire
from tests.patience import PATIENCE_S

#: how long a peer goes on that nobody cuts short
_TRICKLE_S = 20
Peer = Callable[[socket.socket], None]


@contextmanager
def peer(behave: Peer) -> Iterator[str]:
    """Yield the address of a peer that treats each connection so."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(5)
                    try:
                        heard = b""
                        while not heard.endswith(b"\r\n\r\nx"):
                            heard += connection.recv(65_536)
                        behave(connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE_S)


def _ask(url: str) -> Reply | Failure:
    wire = Wire(timeout_ms=300)
    try:
        return wire.send("POST", url, budget=wire.budget(), body=b"x")
    finally:
        wire.close()


def _silent(connection: socket.socket) -> None:
    connection.recv(1)


def _trickling(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    for _ in range(_TRICKLE_S * 50):
        connection.sendall(b"x")
        time.sleep(0.02)


class TestSend:
    def test_brings_back_raw_bytes(self) -> None:
        packed = b"\x1f\x8b not really gzip"

        def behave(connection: socket.socket) -> None:
            head = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Encoding: gzip\r\nX-Name: v\r\n"
            connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(packed) + packed)

        with peer(behave) as url:
            reply = _ask(url)

        assert isinstance(reply, Reply)
        assert (reply.status, reply.body, reply.headers["x-name"]) == (302, packed, "v")

    def test_knows_when_nothing_was_sent(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            url = f"http://127.0.0.1:{closed.getsockname()[1]}/"

        failure = _ask(url)

        assert failure == Failure("unreachable", sent=False)
        assert failure.answer(fresh=True) == Declined("provider_unreachable")
        assert failure.answer() == Unknown("unreachable")

    @pytest.mark.parametrize(
        ("behave", "reason"),
        [
            (_silent, "timeout"),
            (_trickling, "timeout"),
            (lambda connection: None, "broken_answer"),
            (lambda connection: connection.sendall(b"hello\r\n\r\n"), "broken_answer"),
            (lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"), "broken_answer"),
            (lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300_000), "oversized_answer"),
        ],
    )
    def test_leaves_unknown_what_may_have_been_heard(self, behave: Peer, reason: str) -> None:
        with peer(behave) as url:
            began = time.monotonic()
            failure = _ask(url)

        assert failure == Failure(reason)
        assert failure.answer(fresh=True) == Unknown(reason)
        assert time.monotonic() - began < _TRICKLE_S / 2

    @pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "no address", "http://[::1", "http://127.0.0.1:99999/"])
    def test_raises_nothing_for_a_wrong_address(self, url: str) -> None:
        failure = _ask(url)

        assert isinstance(failure, Failure)
        assert not failure.sent


class TestBudget:
    def test_is_shared_and_ends(self) -> None:
        wire = Wire(timeout_ms=60)
        budget = wire.budget()

        assert budget.pause(20)
        assert not budget.pause(60)
        assert wire.send("GET", "http://127.0.0.1:9/", budget=Wire(timeout_ms=0).budget()) == Failure(
            "timeout", sent=False
        )
