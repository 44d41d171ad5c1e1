"""
Runs a scenario on the whole real stack and checks what must hold after every step.

Time: processes, protocols and their limits (leases, watchdogs, expiry of commands, signatures) run in real time; they
would be other software under another clock. What a `[day]` presses together are the arrivals and the showers: a day of
eighteen hours in six minutes is the same number of sessions, in the same order and crowding, each shorter. The report
says by which factor.

Checks: `firmware_sim.audit` follows every entry of the records that a run leaves, device by device, message by message
and transfer by transfer, and judges each before the next. `Watch` looks at the school as its staff see it, whenever a
person or a cheat is done and a fault begins or ends; such moments that come while it looks share the next look.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from rich.markup import escape

from firmware_sim.audit.following import ROUND_S, Follower
from firmware_sim.demo import all_online, passwords
from firmware_sim.neighbor import visit_of
from firmware_sim.people import live_through, take_over
from firmware_sim.plan import TENANT_ID
from firmware_sim.report import totals_of
from firmware_sim.scenarios.cheating import Cheat
from firmware_sim.scenarios.coming import Coming, by_chance, cheated_at, comings
from firmware_sim.scenarios.happening import Fate, NotDone
from firmware_sim.scenarios.invariants import UNASKED
from firmware_sim.scenarios.looking import CannotLook, Watch
from firmware_sim.scenarios.model import Fault, Scenario
from firmware_sim.scenarios.uplink import UplinkRelay
from firmware_sim.scenarios.view import View
from firmware_sim.school_api import Refused, SchoolApi
from firmware_sim.stack import Stack, StackError, control

#: how long people try again while the school does not answer
_PATIENCE_S = 40.0
_ONLINE_WITHIN_S = 60.0
#: whoever hangs longer than this after the last one came is given up
_LAST_WITHIN_S = 300.0
#: how often, and for how long, somebody next door tries to get a shower
_NEXT_DOOR_TRIES, _NEXT_DOOR_WITHIN_S = 20, 120.0
_FACTOR_ONE = 1.0
#: how often a cheat who was refused tries again, each time at the next outlet, and how long they wait
_CHEAT_TRIES, _CHEAT_PAUSE_S = 4, 5.0
#: refusals that no other outlet changes
_HOPELESS = {"insufficient_funds"}


@dataclass(slots=True)
class Result:
    """How a run ended. It holds when nothing was found at any look and nothing is wrong in the end."""

    wrong: dict[str, list[str]] = field(default_factory=dict)
    on_the_way: list[str] = field(default_factory=list)
    document: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Return whether everything that must hold does."""
        return not self.on_the_way and not any(self.wrong.values())


class Run:
    """One scenario with one seed on a started stack."""

    def __init__(self, scenario: Scenario, seed: int, stack: Stack, relay: UplinkRelay, view: View) -> None:
        self._scenario = scenario
        self._seed = seed
        self._stack = stack
        self._relay = relay
        self._view = view
        self._api = SchoolApi(stack.base_url, TENANT_ID, passwords(stack.demo), patience_s=_PATIENCE_S)
        self._eyes = SchoolApi(stack.base_url, TENANT_ID, passwords(stack.demo))
        self._follower = Follower(stack, relay)
        self._watch = Watch(stack, self._eyes, self._follower)
        self._fate = Fate(stack, relay, scenario.uplink)
        self._faults = tuple(sorted([*scenario.faults, *by_chance(scenario, seed)], key=lambda fault: fault.at_s))
        self._busy: set[str] = set()
        self._freed = asyncio.Condition()
        self._stepped = asyncio.Event()
        self._steps: list[dict[str, Any]] = []
        self._began = time.monotonic()
        self._settled = 0
        self._refused: Counter[str] = Counter()
        self._failed: list[str] = []
        self._cheated: list[str] = []
        self._untried: list[str] = []

    async def play(self) -> Result:
        """Return how it ended."""
        coming = comings(self._scenario, self._stack.plan, self._seed)
        eyes: list[asyncio.Task[None]] = []
        self._follower.start()
        try:
            await all_online(self._api, _ONLINE_WITHIN_S)
            with self._view.shown(len(coming) + 2 * len(self._faults)):
                self._began = time.monotonic()
                eyes = [asyncio.create_task(each) for each in (self._look_after_steps(), self._follow())]
                await asyncio.gather(self._everything(coming), self._next_door())
                await _ended(eyes)
                return await self._end(coming)
        finally:
            await _ended(eyes)
            await self._follower.close()
            await self._api.close()
            await self._eyes.close()

    async def _everything(self, coming: list[Coming]) -> None:
        faults = [asyncio.create_task(self._fault(fault)) for fault in self._faults]
        people: list[asyncio.Task[None]] = []
        places = asyncio.Semaphore(self._scenario.people.at_once)
        for each in coming:
            await asyncio.sleep(max(0.0, self._began + each.at_s - time.monotonic()))
            if self._scenario.day is None:
                await places.acquire()
                people.append(asyncio.create_task(self._person(each, places)))
                await asyncio.sleep(self._scenario.people.pause_s)
            else:
                people.append(asyncio.create_task(self._person(each, None)))
        _, late = await asyncio.wait([*people, *faults], timeout=_LAST_WITHIN_S + max((f.at_s for f in
                                     self._faults), default=0.0))  # fmt: skip
        for task in late:
            task.cancel()
        for fault, task in zip(self._faults, faults, strict=True):
            if task in late:
                self._untried.append(f"{fault.line()}: not over when everybody had long gone")
        for outcome in await asyncio.gather(*people, *faults, return_exceptions=True):
            if isinstance(outcome, asyncio.CancelledError):
                self._failed.append("somebody was still there when everybody else had long gone")
            elif isinstance(outcome, BaseException):
                raise outcome

    def _step(self, what: str) -> None:
        at_s = round(time.monotonic() - self._began, 1)
        self._steps.append({"at_s": at_s, "what": what})
        counts = self._view.counts
        counts.showering, counts.settled = len(self._busy) // 2, self._settled
        counts.refused, counts.failed = self._refused.total(), len(self._failed)
        counts.relay = f"{self._relay.tally.duplicated} twice, {self._relay.tally.broken} cut"
        self._view.step(f"{at_s:7.1f} s  {escape(what)}")
        self._stepped.set()

    async def _look_after_steps(self) -> None:
        while True:
            await self._stepped.wait()
            self._stepped.clear()
            self._tell(await self._watch.look())
            self._view.counts.looks = self._watch.looks

    async def _follow(self) -> None:
        while True:
            self._tell(await self._follower.round())
            self._view.counts.steps = self._follower.auditor.steps.total()
            await asyncio.sleep(ROUND_S)

    def _tell(self, problems: Sequence[str]) -> None:
        for problem in problems:
            self._view.step(f"[bold red]must hold, but does not:[/] {escape(problem)}", done=False)
        self._view.counts.wrong = len(self._found())

    def _found(self) -> list[str]:
        return list(dict.fromkeys([*self._watch.found, *self._follower.auditor.found]))

    async def _next_door(self) -> None:
        """Let somebody of the school next door shower, and again while anybody is refused there."""
        prying, neighbor = self._follower.prying, self._stack.neighbor
        if prying is None or neighbor is None:
            return
        deadline, why = self._began + _NEXT_DOOR_WITHIN_S, ""
        for number in range(_NEXT_DOOR_TRIES):
            try:
                state = await live_through(prying.neighbor, self._stack.control_port, visit_of(neighbor, number))
            except (Refused, OSError, TimeoutError, httpx.TransportError) as error:
                why = str(error) or type(error).__name__
            else:
                if state == "settled":
                    return
                why = state
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(_CHEAT_PAUSE_S)
        self._untried.append(f"nobody got a shower in the school next door: {why}")

    # -- people

    @contextlib.asynccontextmanager
    async def _alone(self, *names: str) -> Any:
        """Wait until these outlets and people are free, and take them for as long as the body runs."""
        async with self._freed:
            await self._freed.wait_for(lambda: self._busy.isdisjoint(names))
            self._busy |= set(names)
        try:
            yield
        finally:
            async with self._freed:
                self._busy -= set(names)
                self._freed.notify_all()

    async def _person(self, coming: Coming, places: asyncio.Semaphore | None) -> None:
        visit = coming.visit
        names = {visit.device_id, visit.login} | ({visit.roommate[0]} if visit.roommate else set())
        try:
            if coming.cheat:
                what = await self._cheat(coming)
            else:
                async with self._alone(*sorted(names)):
                    what = await self._shower(coming)
        finally:
            if places is not None:
                places.release()
        self._step(f"{visit.login} at {visit.device_id}: {what}")

    async def _shower(self, coming: Coming) -> str:
        visit, port = coming.visit, self._stack.control_port
        try:
            states = [await live_through(self._api, port, visit)]
            if visit.roommate is not None and visit.ending == "hand_over":
                states.append(await take_over(self._api, port, visit))
        except Refused as refusal:
            self._refused[refusal.code] += 1
            return f"refused, {refusal.code}"
        except (OSError, TimeoutError, httpx.TransportError) as error:
            self._failed.append(f"{visit.login} at {visit.device_id}: {error or type(error).__name__}")
            with contextlib.suppress(OSError, ValueError):
                await asyncio.to_thread(
                    lambda: control(port, do="tap_flow", device=visit.device_id, open=False)
                )  # whoever gives up shuts the mixer
            return f"gave up, {error or type(error).__name__}"
        self._settled += states.count("settled")
        return f"{', '.join(states)} ({visit.method}, {visit.start}, {visit.ending})"

    async def _cheat(self, coming: Coming) -> str:
        """Let somebody cheat, at the next outlet when they are refused before they can; return what came of it."""
        outlets = cheated_at(self._stack.plan, coming.cheat)
        first, code = outlets.index(coming.visit.device_id), ""
        for number in range(_CHEAT_TRIES):
            device_id, other = (outlets[(first + number + step) % len(outlets)] for step in (0, 1))
            visit = replace(coming.visit, device_id=device_id)
            try:
                async with self._alone(device_id, visit.login):
                    got = await Cheat(self._api, self._stack.control_port, visit, other).go(coming.cheat)
            except Refused as refusal:
                code = refusal.code
                if code in _HOPELESS:
                    break
                await asyncio.sleep(_CHEAT_PAUSE_S)
            except (OSError, TimeoutError, ValueError, httpx.TransportError) as error:
                code = str(error) or type(error).__name__
                self._failed.append(f"{coming.cheat} at {device_id}: {code}")
                break
            else:
                self._cheated += got
                return f"{coming.cheat} got {'; '.join(got) or 'nothing'}"
        self._untried.append(f"{coming.cheat} by {coming.visit.login}: not tried, {code}")
        return f"{coming.cheat} could not be tried, {code}"

    # -- fate

    async def _fault(self, fault: Fault) -> None:
        await asyncio.sleep(max(0.0, self._began + fault.at_s - time.monotonic()))
        self._step(f"FAULT {fault.line()}")
        try:
            await self._fate.strike(fault)
        except (OSError, ValueError, NotDone, httpx.HTTPError) as error:
            self._failed.append(f"{fault.line()} could not be done: {error}")
            self._untried.append(f"{fault.line()}: not tried, {error or type(error).__name__}")
        self._step(f"OVER  {fault.line()}")

    # -- the end

    async def _end(self, coming: list[Coming]) -> Result:
        scenario = self._scenario
        people = len(coming)
        names = tuple(dict.fromkeys((*scenario.invariants, *UNASKED)))
        await self._watch.look()
        self._untried += await asyncio.to_thread(self._fate.unmatched)
        try:
            wrong, seen = await self._watch.in_the_end(
                names, within_s=scenario.settle_within_s, cheated=self._cheated,
                refused=dict(self._refused), failed=self._failed, untried=self._untried, served=self._settled,
                came=sum(not each.cheat for each in coming), served_share=scenario.served_share,
                broken_pipes=frozenset(fault.given["device"] for fault in scenario.faults if fault.name == "pipe"),
            )  # fmt: skip
            await self._follower.sweep()
        except CannotLook as error:
            raise StackError("\n".join([str(error), *self._found()])) from error
        for each in self._follower.auditor.found:
            name, _, problem = each.partition(": ")
            wrong.setdefault(name, []).append(problem)
        day, relay = scenario.day, self._relay.tally
        document = {
            "scenario": scenario.name,
            "seed": self._seed,
            "time": {
                "factor": _FACTOR_ONE if day is None else round(day.factor, 1),
                "form": "arrivals and showers of a day pressed together; processes, protocols and limits in real time"
                if day is not None else "real time, short showers",
                "wall_s": round(time.monotonic() - self._began, 1),
            },
            "people": {"came": people, "settled": self._settled, "refused": dict(self._refused),
                       "gave_up": self._failed, "cheats_got": self._cheated},
            "faults": [{"at_s": round(fault.at_s, 1), "fault": fault.line()} for fault in self._faults],
            "uplink": {"connections": relay.connections, "refused": relay.refused, "duplicated": relay.duplicated,
                       "dropped": relay.dropped, "broken": relay.broken},
            "looks": {"done": self._watch.looks, "blind": self._watch.blind, "found": self._found()},
            "followed": self._follower.told(),
            "invariants": {name: {"holds": not problems, "wrong": problems} for name, problems in wrong.items()},
            "breaks": [dict(each) for each in seen.breaks],
            "ledger": dict(seen.ledger),
            "totals": totals_of(seen.audit()),
            "restarts": {name: part.restarts for name, part in self._stack.parts.items() if part.restarts},
            "steps": self._steps,
        }  # fmt: skip
        return Result(wrong, self._found(), document)


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for them; one that failed by itself fails the run."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
