"""
Load and validate register maps.

A map is one TOML file of schema `campustap-regmap/1`, named after its id. Ours are in `register_maps/`; a site keeps
its own in folders that it names, and a file there is all that a new device takes. Points pack from the block's `at`
unless they name an `off`set. Whatever is wrong is a MapError with file, line, place and reason: a map is either wholly
right or not there.
"""

import tomllib
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

from hardware.model import Block, MapError, Match, Point, RegisterMap, UnitCode, Vector
from hardware.places import line_of_error
from hardware.reading import Reader

__all__ = ["Block", "MapError", "Match", "Point", "RegisterMap", "UnitCode", "Vector", "load", "load_file", "map_ids"]

MAPS_DIR = Path(__file__).parent / "register_maps"
MAP_BYTES_MAX = 1 << 20


def load(map_id: str, *folders: Path) -> RegisterMap:
    """
    Return the map of that id from `register_maps/` or one of the folders.

    :raises MapError: if there is none, more than one, or it is wrong.
    """
    name = f"{map_id}.toml"
    found = [folder / name for folder in (MAPS_DIR, *folders) if (folder / name).is_file()]
    if not found or Path(name).name != name:
        known = ", ".join(map_ids(*folders))
        raise MapError(name, "file", f"no register map is called {map_id!r}", hint=f"there are {known}")
    if len(found) > 1:
        places = " and ".join(str(path.parent) for path in found)
        raise MapError(name, "file", f"is in {places}", hint="give yours another id")
    stat = found[0].stat()
    return _load_once(found[0], stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=256)
def _load_once(path: Path, changed_ns: int, size: int) -> RegisterMap:
    """Return the map in a file, read once for as long as the file stays the same."""
    return load_file(path)


def map_ids(*folders: Path) -> list[str]:
    """Return the ids of all maps in `register_maps/` and the folders, sorted; nothing is read."""
    return sorted(
        {path.name.removesuffix(".toml") for folder in (MAPS_DIR, *folders) for path in folder.glob("*.toml")}
    )


def load_file(path: Path) -> RegisterMap:
    """
    Return the validated map in a file.

    :raises MapError: at the first thing that is wrong.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAP_BYTES_MAX).decode("utf-8")
        top = tomllib.loads(text, parse_float=Decimal)
    except OSError as error:
        raise MapError(path.name, "file", f"cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise MapError(path.name, "file", "lists or tables are nested too deep") from error
    except ValueError as error:  # no TOML, no text, or a number too long to be made
        raise MapError(path.name, "file", str(error), line=line_of_error(str(error))) from error
    return Reader(path.name, text, top).read(expected_id=path.name.removesuffix(".toml"))
