"""
Check register maps: `python -m hardware.check FILE…`, or all of ours without a file.

Prints what a map makes of its device, or what is wrong with it and where; fails when any is wrong.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from hardware.model import RegisterMap
from hardware.points import MAPS_DIR, MapError, load_file
from hardware.vocabulary import DEADMAN_BOUND


def summary(register_map: RegisterMap) -> str:
    """Return in one line what a map makes of its device."""
    roles = sorted({point.role for point in register_map.points.values() if point.role})
    return (
        f"{register_map.map_id} {register_map.version}: {len(register_map.points)} points, "
        f"{len(register_map.vectors)} golden vectors; {register_map.deadman}: "
        f"runs on at worst {DEADMAN_BOUND[register_map.deadman]}; roles {', '.join(roles) or 'none'}"
    )


def main(arguments: Sequence[str]) -> int:
    """Check the files and return the exit status."""
    wrong = 0
    for path in [Path(each) for each in arguments] or sorted(MAPS_DIR.glob("*.toml")):
        try:
            print(summary(load_file(path)))
        except MapError as error:
            wrong += 1
            print(error, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
