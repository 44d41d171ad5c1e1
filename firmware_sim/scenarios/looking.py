"""Looks at a running school after every step and says what does not hold; in the end, waits until everything does."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx

from firmware_sim.audit.following import Follower
from firmware_sim.demo import read_device_log
from firmware_sim.scenarios.invariants import ALWAYS, IN_THE_END, PAST, Evidence, open_without_session
from firmware_sim.school_api import Refused, SchoolApi
from firmware_sim.stack import Stack, control

#: a valve open for nobody: how long the news of a close may be on its way before it is a violation. A grant's own
#: limits and the lease end it in a minute when the line is down
_OPEN_GRACE_S = 75.0
_PAUSE_S = 0.5
#: how much longer a school that does not answer in the end is asked again
_ANSWER_WITHIN_S = 45.0


class CannotLook(Exception):
    """Something that must be asked is down at the moment; a fault, not a finding."""


class Watch:
    """Eyes on one stack. `found` keeps the first violations of each kind; `looks` counts how often it looked."""

    def __init__(self, stack: Stack, api: SchoolApi, follower: Follower | None = None) -> None:
        self._stack = stack
        self._api = api
        self._follower = follower
        self.looks = 0
        self.blind = 0
        self.found: list[str] = []
        self._open_since: dict[str, float] = {}

    async def look(self) -> list[str]:
        """Return what does not hold now."""
        try:
            seen = await self._see()
        except CannotLook:
            self.blind += 1
            return []
        self.looks += 1
        wrong = [f"{name}: {problem}" for name, check in ALWAYS.items() for problem in check(seen)]
        wrong += self._valves(open_without_session(seen))
        self.found += [problem for problem in wrong if problem not in self.found][: max(0, 50 - len(self.found))]
        return wrong

    def _valves(self, open_now: Sequence[str]) -> list[str]:
        now = time.monotonic()
        self._open_since = {device: self._open_since.get(device, now) for device in open_now}
        return [
            f"valves_shut: {device} has been open for nobody for {now - since:.0f} s"
            for device, since in self._open_since.items()
            if now - since > _OPEN_GRACE_S
        ]

    async def _see(self) -> Evidence:
        """Return a look at the school; devices come last, so that no bill is younger than its register."""
        try:
            ledger = await self._api.ledger_sums("finance")
            orders = await self._orders()
            sessions = await self._api.sessions("facilities")
            devices = await self._devices()
            if any(each.get("valve_open") for each in devices):
                # whoever began between the two questions is not open for nobody
                known = {session["water_session_id"] for session in sessions}
                live = await self._api.live_sessions("facilities")
                sessions = sessions + [each for each in live if each["water_session_id"] not in known]
        except (OSError, httpx.TransportError, TimeoutError, ValueError) as error:
            raise CannotLook(str(error)) from error
        except Refused as refusal:
            raise CannotLook(str(refusal)) from refusal
        return Evidence(plan=self._stack.plan, sessions=sessions, ledger=ledger, devices=devices, orders=orders)

    async def _devices(self) -> list[dict[str, Any]]:
        answer = await asyncio.to_thread(lambda: control(self._stack.control_port, do="state"))
        own = {raw["device_id"] for raw in self._stack.plan["devices"]}
        return [each for each in answer["devices"] if each["device"] in own]

    async def _orders(self) -> list[dict[str, Any]] | None:
        try:
            async with httpx.AsyncClient(timeout=15) as doors:
                answer = await doors.get(f"http://127.0.0.1:{self._stack.provider_port}/orders")
        except httpx.TransportError:
            return None
        found: list[dict[str, Any]] = answer.json()["orders"]
        return found

    async def in_the_end(
        self, names: Sequence[str], *, within_s: float, cheated: Sequence[str], refused: dict[str, int],
        failed: Sequence[str], **more: Any,
    ) -> tuple[dict[str, list[str]], Evidence]:  # fmt: skip
        """
        Return what does not hold of each named invariant, once nothing is wrong or the time is up.

        :param more: what else is known of the run, by its name in `Evidence`.
        """
        deadline = time.monotonic() + within_s
        while True:
            try:
                seen = await self._see()
                seen.breaks = (await self._api.reconcile("finance"))["breaks"]
            except (CannotLook, httpx.TransportError, Refused) as error:
                if time.monotonic() > deadline + _ANSWER_WITHIN_S:
                    raise CannotLook(f"nothing answers in the end: {error}") from error
                await asyncio.sleep(_PAUSE_S)
                continue
            own = {raw["device_id"] for raw in self._stack.plan.get("devices", ())}
            seen.device_log = [each for each in read_device_log(self._stack.device_log) if each["device_id"] in own]
            left = {} if self._follower is None else await self._follower.left()
            seen = replace(seen, cheated=cheated, refused=refused, failed=failed, left=left, **more)
            wrong = {name: [*IN_THE_END[name](seen), *seen.left.get(name, ())] for name in names}
            waited_for = [name for name in names if name not in PAST and wrong[name]]
            if not waited_for or time.monotonic() > deadline:
                return wrong, seen
            await asyncio.sleep(_PAUSE_S)
