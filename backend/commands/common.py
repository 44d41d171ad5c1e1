"""What the subcommands share: their refusal, the backend they run on, how they write files and JSON."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from backend.bootstrap import container
from backend.config import Config
from backend.errors import BackendError
from backend.migrations import runner


class CommandRefused(BackendError):
    """The command cannot be carried out; the message says what to do about it."""

    code = "command_refused"


def ready(config: Config) -> container.Backend:
    """
    Return the backend over a database that is at the newest schema.

    :raises CommandRefused: if it is not.
    """
    backend = container.open_backend(config)
    if not runner.is_current(backend.db.engine):
        raise CommandRefused("the database is not at the present schema; run: campustap migrate")
    return backend


def show(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def read_text(path: Path, *, bytes_max: int) -> str:
    """
    Return a file's text.

    :raises CommandRefused: if it cannot be read, is too large, or is no text.
    """
    try:
        if path.stat().st_size > bytes_max:
            raise CommandRefused(f"{path}: is larger than {bytes_max} bytes")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandRefused(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandRefused(f"{path}: is not UTF-8 text (byte {error.start})") from error


def write_text(path: Path, text: str, *, is_secret: bool = False) -> None:
    """
    Write a file whole or not at all; a secret can be read by its owner only.

    :raises CommandRefused: if it cannot be written.
    """
    fresh = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.touch(mode=0o600 if is_secret else 0o644)
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise CommandRefused(f"{path}: cannot be written: {error.strerror}") from error
