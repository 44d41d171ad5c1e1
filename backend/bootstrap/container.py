"""Puts the parts together: configuration, database, context of the use cases."""

from dataclasses import dataclass

from backend.config import Config, load
from backend.db import Database, open_database
from backend.kit.clock import Clock, utc_now
from backend.payments import providers
from backend.water_sessions.context import Context


@dataclass(frozen=True, slots=True)
class Backend:
    """What every server process is made of."""

    config: Config
    db: Database
    context: Context


def open_backend(config: Config | None = None, *, clock: Clock = utc_now) -> Backend:
    """Return the parts a configuration describes, or the environment. The database is opened, not migrated."""
    config = load() if config is None else config
    db = open_database(config.database_url)
    context = Context(
        db=db,
        clock=clock,
        secrets_dir=config.secrets_dir,
        providers=providers.build(config.provider_url, config.secrets_dir, public_url=config.public_url),
    )
    return Backend(config=config, db=db, context=context)
