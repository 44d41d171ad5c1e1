"""
Runs every check of the folder an outlet is built from: `python -m hardware.workshop`; drawings and solids go to build/.

Each check tells what it found; the last line says which of them failed. Programs come from `make hardware-tools`.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

OUT = Path("build/hardware")
_CHECK_S_MAX = 600

CHECKS: dict[str, tuple[str, ...]] = {
    "maps": ("hardware.check",),
    "power": ("hardware.power", "--outlets", "16", "--open", "16", "--core-mm2", "1.5", "--readers", "8"),
    "parts": ("hardware.bom.check",),
    "schematic": ("hardware.schematics.draw", "hwo1", "--fresh", "--out", str(OUT / "schematics")),
    "wiring": ("hardware.wiring.check", "--out", str(OUT / "wiring")),
    "enclosure": ("hardware.enclosure.check", "--out", str(OUT / "enclosure")),
    "commissioning": ("hardware.commissioning", "--check"),
}


def run(checks: dict[str, tuple[str, ...]]) -> list[str]:
    """Run the checks, their words passing through, and return the names of those that failed."""
    failed = []
    for name, command in checks.items():
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", *command], timeout=_CHECK_S_MAX, check=False).returncode:
            failed.append(name)
    return failed


def main(names: Sequence[str]) -> int:
    """Run the checks named, or all; return 0 when all of them pass, 2 when there is none of that name."""
    unknown = sorted(set(names) - CHECKS.keys())
    if unknown:
        print(f"no check {unknown[0]!r}; there are {', '.join(CHECKS)}", file=sys.stderr)
        return 2
    failed = run({name: command for name, command in CHECKS.items() if not names or name in names})
    print(f"failed: {', '.join(failed)}" if failed else "hardware: every check passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
