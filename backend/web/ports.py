"""What the pages are given at start; `backend.bootstrap` builds it and `backend.app` hands it over."""

from typing import Protocol

from backend.config import Config
from backend.db import Database
from backend.water_sessions.context import Context


class WebBackend(Protocol):
    """The configuration, the database and the context of the use cases."""

    @property
    def config(self) -> Config:
        """Return the configuration."""
        ...

    @property
    def db(self) -> Database:
        """Return the database."""
        ...

    @property
    def context(self) -> Context:
        """Return what the use cases of water sessions are given."""
        ...
