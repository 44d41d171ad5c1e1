"""Looks into the journal's file from outside, while a gateway may be running on it. Changes nothing."""

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class JournalLook:
    """What stands in a journal. `trouble` is empty when the file is whole."""

    epoch: str = ""
    sequence: int = 0
    waiting: int = 0
    trouble: str = ""


def inspect(path: Path) -> JournalLook | None:
    """Return what stands in a journal's file, or None when there is none yet."""
    if not path.exists():
        return None
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)) as connection:
            said = connection.execute("PRAGMA quick_check").fetchone()[0]
            if said != "ok":
                return JournalLook(trouble=str(said)[:200])
            head = connection.execute("SELECT epoch, sequence FROM journal_head").fetchone()
            waiting = connection.execute("SELECT COUNT(*) FROM journal").fetchone()[0]
    except sqlite3.Error as error:
        return JournalLook(trouble=str(error))
    epoch, sequence = head or ("", 0)
    return JournalLook(epoch=epoch, sequence=sequence, waiting=waiting)
