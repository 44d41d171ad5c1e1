"""Loads every slice's tables, so that migrations and tests see the whole schema."""

from importlib import import_module
from pathlib import Path

from sqlalchemy import MetaData

import backend
from backend.db import metadata


def load_tables() -> MetaData:
    """Return the metadata with the tables of all slices (each `backend/<slice>/*models.py`) registered."""
    for path in sorted(Path(backend.__path__[0]).glob("*/*models.py")):
        import_module(f"backend.{path.parent.name}.{path.stem}")
    return metadata
