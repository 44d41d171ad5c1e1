"""
`campustap-sim rig`: the training rig in a browser, on this machine or on a phone beside the wall.

Alone it starts a small school of its own, so that cards really open water; with `--control` it joins a simulator that
runs already.
"""

import argparse
import contextlib
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import segno
import uvicorn
from rich.console import Console
from rich.markup import escape

from firmware_sim.arguments import PlanWrong, plan_from, port_number
from firmware_sim.demo import started
from firmware_sim.plan import PlanSize
from firmware_sim.rig.app import Rig, new_key
from firmware_sim.rig.link import ControlLink
from firmware_sim.stack import Stack, StackError

_SIZE = PlanSize(buildings=1, floors=1, outlets_per_floor=2, students=6)
_UNKNOWN_CARD = ("?", "04DEADBEEF0001")
#: documentation address (RFC 5737): nothing is sent, the system only says which way it would go
_ANYWHERE = ("192.0.2.1", 9)


def cards_of(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and numbers of a plan's cards, and one that nobody knows."""
    people = [person for person in plan.get("people", ()) if person.get("card_uid")]
    return [*((f"{person['login']} {person['name']}", person["card_uid"]) for person in people), _UNKNOWN_CARD]


def own_address(host: str) -> str:
    """Return the address under which others reach this machine, when it listens to others."""
    if host not in ("0.0.0.0", "::"):
        return host
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as asked:
        try:
            asked.connect(_ANYWHERE)
            return str(asked.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def serve(control_port: int, cards: Sequence[tuple[str, str]], *, host: str, port: int, console: Console) -> None:
    """Serve the pages until Ctrl-C or SIGTERM."""
    key = new_key()
    listener = socket.create_server((host, port))
    url = f"http://{own_address(host)}:{listener.getsockname()[1]}/{key}/"
    console.print(f"Training rig: {url}", soft_wrap=True)
    if host not in ("127.0.0.1", "localhost"):
        segno.make(url, error="m").terminal(out=sys.stdout, compact=True)
        sys.stdout.flush()
    app = Rig(ControlLink(control_port), cards, key).app()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2, access_log=False))
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


def run(given: argparse.Namespace) -> int:
    """Serve the rig and return the exit status."""
    console = Console()
    try:
        if given.control is not None:
            plan = plan_from(given.plan) if given.plan else {}
            serve(given.control, cards_of(plan), host=given.host, port=given.port, console=console)
            return 0
        with tempfile.TemporaryDirectory(prefix="campustap-rig-", ignore_cleanup_errors=True) as fresh:
            stack = Stack((given.state or Path(fresh)).resolve(), given.seed, _SIZE)
            with started(stack, console):
                student = next(each for each in stack.demo["logins"] if "student" in each["roles"])
                console.print(f"School: {stack.base_url}   student {student['login']}, password {student['password']}")
                serve(stack.control_port, cards_of(stack.plan), host=given.host, port=given.port, console=console)
    except (StackError, PlanWrong, OSError, ValueError) as error:
        console.print(f"[bold red]It did not start.[/] {escape(str(error))}", soft_wrap=True)
        return 1
    return 0


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the `rig` subcommand."""
    parser = subparsers.add_parser("rig", help="see and handle simulated controllers in a browser", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets a phone in (default: this machine only)")
    parser.add_argument("--port", type=port_number, default=8070, help="0: any free one (default 8070)")
    parser.add_argument("--control", type=port_number, metavar="PORT", help="join the simulator with this control port")
    parser.add_argument("--plan", type=Path, help="with --control: its plan.json, for the cards on the table")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--state", type=Path, help="folder to keep the rig's own school in")
    parser.set_defaults(run=run)
