"""Asks the gateway that runs on this box what it says of itself."""

import socket
from pathlib import Path

import msgspec

from gateway.care.snapshot import SOCKET, Snapshot

TIMEOUT_S = 3.0
_BYTES_MAX = 20_000_000


class NotRunning(Exception):
    """No gateway answers on this box; the message says where it was looked for."""


def ask(state_dir: Path, *, timeout_s: float = TIMEOUT_S) -> Snapshot:
    """
    Return the running gateway's snapshot.

    :raises NotRunning: if none answers.
    """
    path = state_dir / SOCKET
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(timeout_s)
            link.connect(str(path))
            data = b""
            while chunk := link.recv(65_536):
                data += chunk
                if len(data) > _BYTES_MAX:
                    break
        return msgspec.json.decode(data, type=Snapshot)
    except (OSError, msgspec.MsgspecError, UnicodeError) as error:
        raise NotRunning(f"no gateway answers at {path}: {error}") from error
