"""Looks into the journal's file from outside, while a gateway may be running on it. Changes nothing."""

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from gateway.uplink import mending


@dataclass(frozen=True, slots=True)
class JournalLook:
    """What stands in a journal. `trouble` is empty when the file is whole."""

    epoch: str = ""
    sequence: int = 0
    waiting: int = 0
    trouble: str = ""
    #: rows that cannot be used, and what is wrong with the first of them; the next start sets them aside
    unreadable: int = 0
    first_unreadable: str = ""
    #: rows that earlier starts set aside
    set_aside: int = 0


def inspect(path: Path) -> JournalLook | None:
    """Return what stands in a journal's file, or None when there is none yet."""
    if not path.exists():
        return None
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)) as connection:
            connection.execute("BEGIN")  # one state of it, whoever writes meanwhile
            said = connection.execute("PRAGMA quick_check").fetchone()[0]
            if said != "ok":
                return JournalLook(trouble=str(said)[:200])
            damages = mending.look_through(connection, key=None).damages
            set_aside = mending.count_set_aside(connection)
            head = connection.execute("SELECT CAST(epoch AS BLOB), sequence FROM journal_head").fetchone()
            waiting = connection.execute("SELECT COUNT(*) FROM journal").fetchone()[0]
    except sqlite3.Error as error:
        return JournalLook(trouble=str(error))
    epoch, sequence = head or (b"", 0)
    return JournalLook(
        epoch=epoch.decode(errors="replace"),
        sequence=sequence,
        waiting=waiting,
        unreadable=len(damages),
        first_unreadable=f"{damages[0].place}: {damages[0].reason}" if damages else "",
        set_aside=set_aside,
    )
