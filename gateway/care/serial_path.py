"""Says why a serial port cannot be used, in words for whoever stands at the box."""

import errno
import os
from pathlib import Path

_HINTS = {
    errno.ENOENT: "there is no such file: `ls /dev/serial/by-id` names the ports there are",
    errno.EACCES: "no permission: add this user to the group that owns it, often `dialout`",
    errno.EPERM: "no permission: add this user to the group that owns it, often `dialout`",
    errno.EBUSY: "another program has it",
    errno.ENXIO: "there is no device behind it: is the adapter plugged in?",
    errno.ENODEV: "there is no device behind it: is the adapter plugged in?",
    errno.EISDIR: "is a folder: write the port itself",
}
_NO_TERMINAL = "is no terminal: write a serial port, for example /dev/ttyUSB0"


def trouble(path: str) -> str:
    """Return why a serial port cannot be opened, empty when it can."""
    if "://" in path:
        return ""
    if Path(path).is_file():
        return _NO_TERMINAL
    try:
        port = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        number = error.errno if isinstance(error, OSError) else None
        return _HINTS.get(number or 0, str(error))
    try:
        return "" if os.isatty(port) else _NO_TERMINAL
    finally:
        os.close(port)
