"""
`make bench`: measures, prints, and writes every figure to build/bench.json; `make bench ONLY=name` runs one.

`ONLY="name --full"` takes the long way where there is one; `ONLY="name --part one,other"` takes parts of it.

Figures are ratios to a reference from the same run; nothing here passes or fails on wall time.
"""

import json
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.bench.edge import measure_edge
from tests.bench.figures import Figure
from tests.bench.latency import measure_latency
from tests.bench.ledger import measure_ledger
from tests.bench.simulator_bus import measure_simulator_bus
from tests.bench.simulator_physics import measure_simulator_physics
from tests.bench.starts import measure_starts

BENCHES: dict[str, Callable[[], Iterable[Figure]]] = {
    "edge": measure_edge,
    "latency": measure_latency,
    "ledger": measure_ledger,
    "simulator_bus": measure_simulator_bus,
    "simulator_physics": measure_simulator_physics,
    "starts": measure_starts,
}

_OUT = Path("build/bench.json")


def _keep(figures: list[Figure], conditions: str) -> None:
    """Write figures to the file, in place of those of the same names."""
    kept = []
    if _OUT.exists():
        fresh = {figure.name for figure in figures}
        kept = [entry for entry in json.loads(_OUT.read_text(encoding="utf-8")) if entry["name"] not in fresh]
    _OUT.parent.mkdir(exist_ok=True)
    rows = kept + [figure.as_json(conditions) for figure in figures]
    _OUT.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def main(names: list[str]) -> int:
    """Run the named benches, or all, and return the exit status."""
    if "--full" in names:
        os.environ["CAMPUSTAP_BENCH_FULL"] = "1"
        names = [name for name in names if name != "--full"]
    if "--part" in names:
        at = names.index("--part")
        os.environ["CAMPUSTAP_BENCH_PART"] = "".join(names[at + 1 : at + 2])
        names = names[:at] + names[at + 2 :]
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"no bench is named {', '.join(unknown)}; there are: {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    conditions = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"
    figures: list[Figure] = []
    try:
        for name in names or list(BENCHES):
            print(f"== {name}")
            for figure in BENCHES[name]():
                print(figure.line(), flush=True)
                figures.append(figure)
    finally:
        _keep(figures, conditions)
    print(f"written to {_OUT}")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that nothing it started stays
    sys.exit(main([name for name in sys.argv[1:] if name]))
