"""`python -m hardware.power --outlets 16 --core-mm2 1.5`: accept or refuse a feed, and say why."""

import argparse
import sys
from collections.abc import Sequence

from hardware.power.budget import FUSE_A, SUPPLY_W, Feed, end_voltage_v, reader_voltage_v, refusals, supply_a


def main(arguments: Sequence[str]) -> int:
    """Print the verdict and return 0 for a feed that may be built, 1 for one that must not, 2 for nonsense."""
    parser = argparse.ArgumentParser(prog="python -m hardware.power", description="Check one 24 V feed.")
    parser.add_argument("--outlets", type=int, required=True)
    parser.add_argument("--open", type=int, help="valves open at once; all of them without it")
    parser.add_argument("--core-mm2", type=float, required=True, help="cross-section of the feed's cores")
    parser.add_argument("--supply-w", type=float, default=SUPPLY_W, help="the listed one without it")
    parser.add_argument("--fuse-a", type=float, default=FUSE_A, help="the listed one without it")
    parser.add_argument("--readers", type=int, default=0, help="readers ACR-1 on their own pair of the same supply")
    parser.add_argument("--spacing-m", type=float, default=3.0, help="cable from outlet to outlet")
    args = parser.parse_args(arguments)
    try:
        feed = Feed(
            args.outlets,
            args.outlets if args.open is None else args.open,
            args.core_mm2,
            supply_w=args.supply_w,
            spacing_m=args.spacing_m,
            fuse_a=args.fuse_a,
            readers=args.readers,
        )
    except ValueError as error:
        print(f"impossible: {error}", file=sys.stderr)
        return 2
    print(
        f"{feed.outlets} outlets, {feed.open_at_once} open, {feed.core_mm2:g} mm²: "
        f"{end_voltage_v(feed):.1f} V at the end, {supply_a(feed):.2f} A with the gateway"
        + (f" and {feed.readers} readers, {reader_voltage_v(feed):.1f} V at the last" if feed.readers else "")
    )
    found = refusals(feed)
    for refusal in found:
        print(f"REFUSED: {refusal}")
    if not found:
        print("ok")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
