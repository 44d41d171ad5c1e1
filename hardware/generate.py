"""
Write everything that follows from the register maps: `python -m hardware.generate`.

That is `drivers.md`, one page per map in `registers/`, and a C header for each device of our own. With `--check`
nothing is written and a stale file fails.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hardware import c_header, drivers, register_pages
from hardware.points import load, map_ids

REGISTERS = Path(__file__).parent / "registers"


def contents() -> Mapping[Path, str]:
    """Return what belongs into each generated file, by path."""
    files = {drivers.PAGE: drivers.page()}
    for map_id in map_ids():
        register_map = load(map_id)
        files[REGISTERS / f"{map_id}.md"] = register_pages.page(register_map)
        if map_id in c_header.PREFIXES:
            files[REGISTERS / c_header.file_name(map_id)] = c_header.header(register_map)
    return files


def stale(files: Mapping[Path, str]) -> list[Path]:
    """Return the files that differ from what belongs into them, and those in the folder that belong to no map."""
    differing = [path for path, text in files.items() if not path.is_file() or path.read_text("utf-8") != text]
    folders = {path.parent for path in files if path.name != drivers.PAGE.name}
    strays = [path for folder in folders if folder.is_dir() for path in folder.iterdir() if path not in files]
    return sorted([*differing, *strays])


def main(arguments: Sequence[str]) -> int:
    """Write the files, or only look with `--check`; return the exit status."""
    files = contents()
    if list(arguments) == ["--check"]:
        for path in stale(files):
            print(f"{path}: stale; write it anew: python -m hardware.generate", file=sys.stderr)
        return 1 if stale(files) else 0
    if arguments:
        print("usage: python -m hardware.generate [--check]", file=sys.stderr)
        return 2
    REGISTERS.mkdir(exist_ok=True)
    for path in stale(files):
        if path in files:
            path.write_text(files[path], encoding="utf-8")
        else:
            path.unlink()
        print(path.name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
