"""`campustap-sim run SCENARIO` and `campustap-sim scenarios`."""

import argparse
import asyncio
import json
import shlex
import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from firmware_sim.arguments import within
from firmware_sim.demo import started
from firmware_sim.scenarios.model import Scenario
from firmware_sim.scenarios.reading import ScenarioWrong, all_scenarios, load
from firmware_sim.scenarios.running import Result, Run
from firmware_sim.scenarios.uplink import UplinkRelay, Weather
from firmware_sim.scenarios.view import View
from firmware_sim.stack import Stack, StackError

BROKERS = ("iotcore", "mosquitto")


def play(scenario: Scenario, seed: int, stack: Stack, console: Console, *, is_live: bool) -> Result:
    """
    Start the stack with a bad way to its broker, run the scenario, stop everything; return how it ended.

    :raises StackError: when the stack does not start or does not answer in the end.
    """
    relays: list[UplinkRelay] = []

    def way_to_broker(broker_port: int) -> int:
        calm = scenario.uplink
        weather = Weather(duplicate=calm.duplicate, lose=calm.lose, delay_ms=calm.delay_ms)
        relays.append(UplinkRelay(broker_port=broker_port, seed=seed, weather=weather))
        return relays[-1].start()

    stack.way_to_broker = way_to_broker
    try:
        with started(stack, console):
            view = View(console, f"{escape(scenario.name)}, seed {seed}", is_live)
            return asyncio.run(_play(Run, scenario, seed, stack, relays[-1], view))
    finally:
        for relay in relays:
            relay.stop()


async def _play(kind: type[Run], scenario: Scenario, seed: int, stack: Stack, relay: UplinkRelay, view: View) -> Result:
    return await kind(scenario, seed, stack, relay, view).play()


def again_with(given: argparse.Namespace, seed: int) -> str:
    """Return the command that runs the same once more, from any folder, ready for a shell."""
    name: str = given.scenario
    words = ["campustap-sim", "run", str(Path(name).resolve()) if Path(name).suffix == ".toml" else name]
    words += ["--seed", str(seed)]
    if given.showers is not None:
        words += ["--showers", str(given.showers)]
    if given.broker != BROKERS[0]:
        words += ["--broker", given.broker]
    if given.database:
        words += ["--database", given.database]
    return shlex.join(words)


def _cannot_write(report: Path | None) -> str:
    """Return why a report cannot be written there, empty when it can: not after the run has taken its minutes."""
    if report is None:
        return ""
    try:
        report.parent.mkdir(parents=True, exist_ok=True)
        with report.open("a", encoding="utf-8"):
            return ""
    except OSError as error:
        return f"--report {report} cannot be written: {error.strerror or error}; name a file in a folder of yours"


def run(given: argparse.Namespace) -> int:
    """Run one scenario and return the exit status: 0 only if everything holds."""
    console = Console()
    try:
        scenario = load(given.scenario)
    except ScenarioWrong as wrong:
        for problem in wrong.problems:
            console.print(str(problem), markup=False, highlight=False, soft_wrap=True)
        return 2
    refusal = _cannot_write(given.report)
    if refusal:
        console.print(refusal, markup=False, highlight=False, soft_wrap=True)
        return 2
    seed = scenario.seed if given.seed is None else given.seed
    if given.showers is not None:
        scenario = replace(scenario, people=replace(scenario.people, showers=given.showers))
    console.print(f"[bold]{escape(scenario.name)}[/], seed {seed}: {escape(scenario.title)}")
    with tempfile.TemporaryDirectory(prefix="campustap-run-", ignore_cleanup_errors=True) as fresh:
        folder = (given.state or Path(fresh)).resolve()
        stack = Stack(folder, seed, scenario.size, given.broker, given.database, supervise=True,
                      with_neighbor=scenario.neighbor, physics=scenario.physics, chances=scenario.chance)  # fmt: skip
        again = again_with(given, seed)
        try:
            result = play(scenario, seed, stack, console, is_live=not given.headless and console.is_terminal)
        except KeyboardInterrupt:
            console.print(f"Interrupted. Again: {again}", soft_wrap=True, markup=False, highlight=False)
            return 130
        except StackError as error:
            console.print(f"[bold red]It did not run.[/] {escape(str(error))}", soft_wrap=True)
            console.print(f"Again: {again}", soft_wrap=True, markup=False, highlight=False)
            return 1
    result.document["reproduce"] = again
    if given.report is not None:
        text = json.dumps(result.document, indent=1, ensure_ascii=False, default=str)
        try:
            given.report.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            console.print(f"No report: {error}", soft_wrap=True, markup=False, highlight=False)
            given.report = None
        else:
            console.print(f"Report: {given.report}", soft_wrap=True, markup=False, highlight=False)
    _tell(result, console)
    if not result.holds:
        console.print(f"Again: {again}", soft_wrap=True, markup=False, highlight=False)
    return 0 if result.holds else 1


def _tell(result: Result, console: Console) -> None:
    document = result.document
    people, looks = document["people"], document["looks"]
    console.print(
        f"{people['came']} came, {people['settled']} settled, refused {people['refused'] or 'nobody'}, "
        f"{len(people['gave_up'])} gave up; {document['followed']['steps']} steps followed; "
        f"{looks['done']} looks, {looks['blind']} in vain; "
        f"{document['time']['wall_s']} s", soft_wrap=True, highlight=False,
    )  # fmt: skip
    for each in people["gave_up"]:
        console.print(f"  gave up: {each}", soft_wrap=True, markup=False, highlight=False)
    for name, problems in result.wrong.items():
        console.print(f"  {'[green]holds[/]' if not problems else '[bold red]does not hold[/]'}  {name}")
        for problem in problems[:10]:
            console.print(f"      {problem}", soft_wrap=True, markup=False, highlight=False)
    for problem in result.on_the_way:
        console.print(f"  on the way: {problem}", soft_wrap=True, markup=False, highlight=False)


def list_all(_: argparse.Namespace) -> int:
    """List the scenarios and return the exit status."""
    table = Table("scenario", "seed", "outlets", "people", "faults", "what it is about", box=None)
    for scenario in all_scenarios():
        size = scenario.size
        people = f"{scenario.people.showers} showers" if scenario.day is None else f"a day of {size.students}"
        outlets = size.buildings * size.floors * size.outlets_per_floor
        table.add_row(
            scenario.name, str(scenario.seed), str(outlets), people, str(len(scenario.faults)), scenario.title
        )
    Console().print(table)
    return 0


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the `run` and `scenarios` subcommands."""
    parser = subparsers.add_parser("run", help="run a scenario on the whole system and check what must hold")
    parser.add_argument("scenario", help="a name from `campustap-sim scenarios`, or a TOML file")
    parser.add_argument(
        "--seed", type=within(0, 2**31), help="other people, other bad luck; default: the scenario's own"
    )
    parser.add_argument("--showers", type=within(1, 2_000), help="other than the scenario says; not for a day")
    parser.add_argument("--headless", action="store_true", help="a line an event, no live view")
    parser.add_argument("--report", type=Path, help="write the JSON report here")
    parser.add_argument("--state", type=Path, help="folder to keep everything in; default: a fresh one, thrown away")
    parser.add_argument("--broker", choices=BROKERS, default=BROKERS[0])
    parser.add_argument("--database", default="", help="a SQLAlchemy URL; default: SQLite in the state folder")
    parser.set_defaults(run=run)
    subparsers.add_parser("scenarios", help="list the scenarios").set_defaults(run=list_all)
