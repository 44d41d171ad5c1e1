"""
Load and validate register maps.

A map is one TOML file of schema `campustap-regmap/1` in `register_maps/`, named after its id. Points pack from the
block's `at` unless they name an `off`set. Whatever is wrong is a MapError with file, place and reason: a map is either
wholly right or not there.
"""

import tomllib
from decimal import Decimal
from functools import cache
from pathlib import Path

from hardware.model import Block, MapError, Match, Point, RegisterMap, Vector
from hardware.reading import Reader

__all__ = ["Block", "MapError", "Match", "Point", "RegisterMap", "Vector", "load", "load_file"]

MAPS_DIR = Path(__file__).parent / "register_maps"


@cache
def load(map_id: str) -> RegisterMap:
    """
    Return the map of that id from `register_maps/`.

    :raises MapError: if there is none or it is wrong.
    """
    path = MAPS_DIR / f"{map_id}.toml"
    if not path.is_file():
        raise MapError(path.name, "file", f"no register map is called {map_id!r}")
    return load_file(path)


def load_file(path: Path) -> RegisterMap:
    """
    Return the validated map in a file.

    :raises MapError: at the first thing that is wrong.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MapError(path.name, "file", str(error)) from error
    return Reader(path.name, document).read(expected_id=path.name.removesuffix(".toml"))
