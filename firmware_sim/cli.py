"""The `campustap-sim` command line. Each subcommand is a module with `register`; name it in COMMANDS to add it."""

import argparse
import sys
from collections.abc import Sequence

from firmware_sim import demo, devices
from firmware_sim.rig import commands as rig
from firmware_sim.scenarios import commands as scenarios

COMMANDS = (devices, demo, scenarios, rig)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; return its exit status."""
    parser = argparse.ArgumentParser(prog="campustap-sim", description="Simulated CampusTap devices.")
    subparsers = parser.add_subparsers(title="commands", required=True)
    for command in COMMANDS:
        command.register(subparsers)
    arguments = parser.parse_args(argv)
    status: int = arguments.run(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
