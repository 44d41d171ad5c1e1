"""
The demonstration: the whole system with seeded people, watched in a browser or run to a report without one.

`campustap-sim demo` until Ctrl-C; `campustap-sim demo --headless --showers N --seed S --report FILE` until N showers
are settled, with exit status 0 only if every invariant holds.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import segno
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from firmware_sim.broker import listening
from firmware_sim.campus import QUICK, WATCHABLE, Visit, visits
from firmware_sim.people import live_through
from firmware_sim.plan import TENANT_ID, PlanSize
from firmware_sim.report import Report, build_report
from firmware_sim.school_api import Refused, SchoolApi
from firmware_sim.stack import Stack, StackError

_PORT = 8080
_START_STEPS = 6
_ONLINE_WITHIN_S = 30.0
_SETTLE_WITHIN_S = 90.0


@dataclass(slots=True)
class Outcome:
    """What became of the visits so far."""

    settled: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    running: int = 0


def read_device_log(path: Path) -> list[dict[str, Any]]:
    """Return the END records that the devices wrote; a last line cut by a crash is left out."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def passwords(demo: dict[str, Any]) -> dict[str, str]:
    """Return login to password, from what seeding wrote."""
    return {entry["login"]: entry["password"] for entry in demo["logins"]}


async def all_online(api: SchoolApi, timeout_s: float = _ONLINE_WITHIN_S) -> None:
    """
    Return once every outlet reports itself online.

    :raises StackError: naming those that do not in time.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        outlets = await api.outlets("facilities")
        missing = [outlet["device_id"] for outlet in outlets if not outlet["is_online"]]
        if outlets and not missing:
            return
        if time.monotonic() > deadline:
            raise StackError(f"not online after {timeout_s:.0f} s: {', '.join(missing) or 'no outlet known'}")
        await asyncio.sleep(0.1)


async def _one(api: SchoolApi, control_port: int, visit: Visit, outcome: Outcome) -> None:
    outcome.running += 1
    try:
        state = await live_through(api, control_port, visit)
        if state == "settled":
            outcome.settled += 1
        else:
            outcome.refused[state] += 1
    except Refused as refusal:
        outcome.refused[refusal.code] += 1
    except (OSError, TimeoutError) as error:
        outcome.failed.append(f"{visit.device_id}: {error or type(error).__name__}")
    finally:
        outcome.running -= 1


async def crowd(
    api: SchoolApi,
    control_port: int,
    stream: Iterator[Visit],
    outcome: Outcome,
    *,
    enough: Callable[[], bool],
    at_once: int,
    pause_s: float,
) -> None:
    """Let people come until it is enough, never two at one outlet nor one person at two, then wait for the last."""
    busy: dict[asyncio.Task[None], Visit] = {}
    while not enough():
        visit = next(stream)
        taken = {other.device_id for other in busy.values()} | {other.login for other in busy.values()}
        if len(busy) < at_once and visit.device_id not in taken and visit.login not in taken:
            busy[asyncio.create_task(_one(api, control_port, visit, outcome))] = visit
            await asyncio.sleep(pause_s)
        else:
            await asyncio.sleep(0.02)
        busy = {task: other for task, other in busy.items() if not task.done()}
    if busy:
        await asyncio.wait(busy)


async def collect(stack: Stack, api: SchoolApi) -> Report:
    """Return the report once every session has ended and the journals are empty, or as it is after a while."""
    deadline = time.monotonic() + _SETTLE_WITHIN_S
    while True:
        sessions = await api.sessions("facilities")
        report = build_report(
            seed=stack.seed,
            plan=stack.plan,
            device_log=read_device_log(stack.device_log),
            sessions=sessions,
            ledger=await api.ledger_sums("finance"),
            breaks=len((await api.reconcile("finance"))["breaks"]),
        )
        if not report.violations or time.monotonic() > deadline:
            return report
        await asyncio.sleep(0.5)


@contextmanager
def started(stack: Stack, console: Console) -> Iterator[None]:
    """Show how the stack starts, keep it while the body runs, and stop it."""
    with Progress(
        SpinnerColumn(), TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=console,
    ) as progress:  # fmt: skip
        task = progress.add_task("starting", total=_START_STEPS + 1)

        def step(name: str) -> None:
            progress.update(task, description=f"starting: {name}", advance=1)

        stack.start(step)
        progress.update(task, description="everything is running", completed=_START_STEPS + 1)
    try:
        yield
    finally:
        with console.status("closing outlets, emptying journals, stopping …"):
            killed = stack.stop()
        console.print("Stopped." if not killed else f"Stopped; had to be killed: {', '.join(killed)}")


async def _headless(stack: Stack, console: Console, showers: int) -> tuple[Report, Outcome]:
    api = SchoolApi(stack.base_url, TENANT_ID, passwords(stack.demo))
    outcome = Outcome()
    outlets = sum(device["kind"] == "outlet" for device in stack.plan["devices"])
    try:
        await all_online(api)
        with Progress(
            TextColumn("showers settled"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        ) as progress:
            task = progress.add_task("showers", total=showers)

            def enough() -> bool:
                progress.update(task, completed=min(outcome.settled, showers))
                return outcome.settled + outcome.running >= showers or len(outcome.failed) > showers

            stream = visits(seed=stack.seed, plan=stack.plan, habits=QUICK)
            while outcome.settled < showers and len(outcome.failed) <= showers:
                await crowd(api, stack.control_port, stream, outcome, enough=enough, at_once=outlets, pause_s=0.05)
            progress.update(task, completed=outcome.settled)
        return await collect(stack, api), outcome
    finally:
        await api.close()


def run_headless(stack: Stack, console: Console, *, showers: int, report_file: Path | None) -> int:
    """Run until the showers are settled, write the report, and return the exit status."""
    with started(stack, console):
        report, outcome = asyncio.run(_headless(stack, console, showers))
    document = report.as_json() | {"refused": dict(outcome.refused), "failed": outcome.failed}
    if report_file is not None:
        report_file.parent.mkdir(parents=True, exist_ok=True)
        report_file.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
        console.print(f"Report: {report_file}")
    console.print(f"Totals: {report.totals}  ledger: {report.ledger}  breaks: {report.breaks}")
    if outcome.refused:
        console.print(f"Refused on the way: {dict(outcome.refused)}")
    problems = report.violations + outcome.failed
    for problem in problems:
        console.print(f"[bold red]must hold, but does not:[/] {problem}")
    if report.totals["showers"] < showers:
        console.print(f"[bold red]only {report.totals['showers']} of {showers} showers were settled[/]")
        return 1
    return 1 if problems else 0


def _welcome(stack: Stack, console: Console) -> None:
    sticker = next(iter(stack.demo["stickers"].values()))
    base = stack.base_url
    console.print()
    segno.make(sticker, error="q").terminal(out=sys.stdout, compact=True)
    console.print(f"Scan or open an outlet   [link]{sticker}[/]")
    for name, path in [
        ("Facilities", "/facilities"), ("Library gate desk", "/gate/dev_library_1"),
        ("Acceptance protection", "/admin/protections"), ("Reconciliation", "/admin/reconciliation"),
        ("API description", "/api/v1/openapi.json"),
    ]:  # fmt: skip
        console.print(f"{name:<24} {base}{path}")
    console.print("\nSign in with (generated for this demonstration):")
    shown = [entry for entry in stack.demo["logins"] if "student" not in entry["roles"]]
    shown += [entry for entry in stack.demo["logins"] if "student" in entry["roles"]][:3]
    for entry in shown:
        console.print(f"  {entry['login']:<12} {entry['password']:<20} {', '.join(entry['roles'])}")
    console.print(f"\nLogs: {stack.folder / 'logs'}   Ctrl-C stops everything.\n")


async def _watch(stack: Stack, console: Console, stop: asyncio.Event, people: bool) -> None:
    api = SchoolApi(stack.base_url, TENANT_ID, passwords(stack.demo))
    outcome = Outcome()
    try:
        await all_online(api)
        _welcome(stack, console)
        if not people:
            await stop.wait()
            return
        stream = visits(seed=int(time.time()), plan=stack.plan, habits=WATCHABLE)
        coming = asyncio.create_task(
            crowd(api, stack.control_port, stream, outcome, enough=stop.is_set, at_once=6, pause_s=4.0)
        )
        with console.status("people are coming …") as status:
            while not stop.is_set():
                restarted = sum(part.restarts for part in stack.parts.values())
                status.update(
                    f"{outcome.running} showering, {outcome.settled} settled, {sum(outcome.refused.values())} refused"
                    + (f", {restarted} restarts (see logs)" if restarted else "")
                )
                await asyncio.wait([asyncio.create_task(stop.wait())], timeout=0.5)
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
    finally:
        await api.close()


def run_interactive(stack: Stack, console: Console, *, people: bool) -> int:
    """Run until Ctrl-C or SIGTERM and return the exit status."""

    async def until_stopped() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await _watch(stack, console, stop, people)

    with started(stack, console):
        asyncio.run(until_stopped())
    return 0


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the `demo` subcommand."""
    parser = subparsers.add_parser("demo", help="run the whole system with simulated people", description=__doc__)
    parser.add_argument("--headless", action="store_true", help="no person watches; stop after --showers")
    parser.add_argument("--showers", type=int, default=10, help="with --headless: settle this many (default 10)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--report", type=Path, help="with --headless: write the JSON report here")
    parser.add_argument("--broker", choices=["iotcore", "mosquitto"], default="iotcore")
    parser.add_argument("--database", default="", help="a SQLAlchemy URL; default: SQLite in the state folder")
    parser.add_argument(
        "--state", type=Path, help="folder to keep everything in (default: var/demo-SEED; headless: a fresh one)"
    )
    parser.add_argument("--port", type=int, help="port of the pages; 0: any free one (default 8080; headless: 0)")
    parser.add_argument("--no-people", action="store_true", help="nobody comes by; you are alone with the outlets")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Run the demonstration that the arguments ask for and return its exit status."""
    console = Console()
    if given.showers < 1:
        console.print("--showers must be at least 1")
        return 2
    with tempfile.TemporaryDirectory(prefix="campustap-demo-", ignore_cleanup_errors=True) as fresh:
        folder = given.state or (Path(fresh) if given.headless else Path("var") / f"demo-{given.seed}")
        size = PlanSize(idle_limit_s=4 if given.headless else 30)
        port = given.port if given.port is not None else (0 if given.headless else _PORT)
        if port and listening(port):
            console.print(f"Port {port} is taken; the pages get another one.")
            port = 0
        stack = Stack(folder.resolve(), given.seed, size, given.broker, given.database, port)
        try:
            if given.headless:
                return run_headless(stack, console, showers=given.showers, report_file=given.report)
            return run_interactive(stack, console, people=not given.no_people)
        except StackError as error:
            console.print(f"[bold red]It did not start.[/] {error}")
            return 1
