"""What deciding at a door needs from outside."""

from pathlib import Path
from typing import Protocol

from backend.db import Database
from backend.kit.clock import Clock


class AccessContext(Protocol):
    """Anything that carries the database, the clock and the secrets folder."""

    @property
    def db(self) -> Database:
        """The database decisions are stored in."""

    @property
    def clock(self) -> Clock:
        """What says how late it is when the decision is made."""

    @property
    def secrets_dir(self) -> Path:
        """Where command keys and the card pepper are."""
