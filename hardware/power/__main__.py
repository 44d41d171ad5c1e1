"""`python -m hardware.power --outlets 16 --open 8 --core-mm2 1.5`: accept or refuse a feed, and say why."""

import argparse
import sys
from collections.abc import Sequence

from hardware.power.budget import Feed, end_voltage_v, load_a, refusals


def main(arguments: Sequence[str]) -> int:
    """Print the verdict and return 0 for a feed that may be built, 1 for one that must not, 2 for nonsense."""
    parser = argparse.ArgumentParser(prog="python -m hardware.power", description="Check one 24 V feed.")
    parser.add_argument("--outlets", type=int, required=True)
    parser.add_argument("--open", type=int, required=True, help="valves open at once")
    parser.add_argument("--core-mm2", type=float, required=True, help="cross-section of the feed's cores")
    parser.add_argument("--supply-w", type=float, default=100.0)
    parser.add_argument("--spacing-m", type=float, default=3.0, help="cable from outlet to outlet")
    args = parser.parse_args(arguments)
    try:
        feed = Feed(args.outlets, args.open, args.core_mm2, supply_w=args.supply_w, spacing_m=args.spacing_m)
    except ValueError as error:
        print(f"impossible: {error}", file=sys.stderr)
        return 2
    print(
        f"{feed.outlets} outlets, {feed.open_at_once} open, {feed.core_mm2:g} mm²: "
        f"{end_voltage_v(feed):.1f} V at the end, {load_a(feed):.2f} A"
    )
    found = refusals(feed)
    for refusal in found:
        print(f"REFUSED: {refusal}")
    if not found:
        print("ok")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
