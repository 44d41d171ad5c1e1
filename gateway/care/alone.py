"""One gateway for one state folder: two would share sessions, journal and the broker's session, and spoil them all."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from gateway.config import ConfigRefused

PID_FILE = "gateway.pid"


@contextlib.contextmanager
def alone(state_dir: Path) -> Iterator[None]:
    """
    Hold the state folder for ourselves while a block runs; the end of the process lets it go, however it ends.

    The folder itself is locked, so that no file must be written or may be removed for it. A folder that does not exist
    is nobody's; without a key in it nothing starts.

    :raises ConfigRefused: if another process holds it; the message says which. Or if it can be no folder.
    """
    if not state_dir.is_dir():
        if "\0" in str(state_dir) or any(each.is_file() for each in (state_dir, *state_dir.parents)):
            raise ConfigRefused(f"state_dir: {str(state_dir)!r} is no folder: write one that is the gateway's own")
        yield
        return
    note = state_dir / PID_FILE
    try:
        folder = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigRefused(f"state_dir: {state_dir}: {error.strerror}: give the gateway's user the folder") from error
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigRefused(
                f"state_dir: {state_dir}: another gateway{_who(note)} runs on it: stop that one first "
                "(`systemctl stop campustap-gateway`), or give this one a folder and an id of its own"
            ) from error
        except OSError as error:
            raise ConfigRefused(f"state_dir: {state_dir}: cannot be locked: {error.strerror}") from error
        with contextlib.suppress(OSError):  # only for whoever comes second; a full disk must not keep us from starting
            note.write_text(f"{os.getpid()}\n", encoding="ascii")
        yield
    finally:
        os.close(folder)


def _who(note: Path) -> str:
    try:
        return f" (pid {int(note.read_text(encoding='ascii'))})"
    except (OSError, ValueError):
        return ""
