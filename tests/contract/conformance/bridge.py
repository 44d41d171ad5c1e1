"""Terminals for tests: one joined to a socket, as a serial-to-Ethernet box does, and a pair joined to each other."""

import os
import select
import socket
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager

from tests.patience import PATIENCE_S


def _carry(pairs: dict[int, int], stop: threading.Event) -> None:
    """Carry bytes from each descriptor to its partner until told to stop."""
    while not stop.is_set():
        readable, _, _ = select.select(list(pairs), [], [], 0.05)
        for fd in readable:
            data = os.read(fd, 4096)
            if not data:
                return
            os.write(pairs[fd], data)


def raw_terminal() -> tuple[int, int, str]:
    """Return both ends of a terminal that changes no byte, and the path of the second."""
    near, far = os.openpty()
    for fd in (near, far):
        tty.setraw(fd)
    return near, far, os.ttyname(far)


def bridged_terminal(where: tuple[str, int], stop: threading.Event) -> tuple[str, threading.Thread]:
    """Return the path of a terminal whose bytes come and go through a socket, and the thread that carries them."""
    near, far, path = raw_terminal()
    link = socket.create_connection(where, timeout=PATIENCE_S)

    def carry() -> None:
        with link:
            _carry({near: link.fileno(), link.fileno(): near}, stop)
        os.close(near)
        os.close(far)

    thread = threading.Thread(target=carry, name="terminal to socket")
    thread.start()
    return path, thread


@contextmanager
def joined_terminals() -> Iterator[tuple[str, str]]:
    """Yield the paths of the two ends of one serial line."""
    one, other = raw_terminal(), raw_terminal()
    stop = threading.Event()
    thread = threading.Thread(target=_carry, args=({one[0]: other[0], other[0]: one[0]}, stop), name="serial line")
    thread.start()
    try:
        yield one[2], other[2]
    finally:
        stop.set()
        thread.join(PATIENCE_S)
        for fd in (*one[:2], *other[:2]):
            os.close(fd)
