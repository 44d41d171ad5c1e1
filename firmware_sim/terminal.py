"""A pseudo terminal as one end of a serial line."""

import asyncio
import errno
import os
import tty
from pathlib import Path
from typing import TYPE_CHECKING

from firmware_sim.channel import Channel

if TYPE_CHECKING:
    from firmware_sim.bus import LineServer

_READ_BYTES = 4096


class Terminal:
    """
    One terminal; a master opens `path` as it would open a serial adapter.

    A terminal has neither speed nor parity: what takes time takes it in the line's `timing`. What nobody reads is lost.
    """

    def __init__(self, server: "LineServer", link: Path | None) -> None:
        self._master, self._slave = os.openpty()  # ours stays open, so that a master may come and go
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self._link = link
        if link is not None:
            link.unlink(missing_ok=True)
            link.symlink_to(self.path)
            self.path = str(link)
        self._channel = Channel(server, self._write)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._master, self._read)

    def close(self) -> None:
        """Take the terminal away."""
        self._loop.remove_reader(self._master)
        self._channel.close()
        if self._link is not None:
            self._link.unlink(missing_ok=True)
        os.close(self._master)
        os.close(self._slave)

    def _read(self) -> None:
        try:
            data = os.read(self._master, _READ_BYTES)
        except BlockingIOError:
            return
        self._channel.feed(data)

    def _write(self, data: bytes) -> None:
        try:
            os.write(self._master, data)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
