"""Faults as they are done to a running school, and mended again."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import httpx

from firmware_sim.audit.rows import scripts_left
from firmware_sim.broker import listening
from firmware_sim.plan import OUTLET_MAP
from firmware_sim.scenarios.model import Fault, Uplink
from firmware_sim.scenarios.uplink import UplinkRelay
from firmware_sim.scenarios.words import NOISES
from firmware_sim.stack import Stack, control

#: a reset is a power cut as short as the devices notice
_RESET_S = 0.1
#: how long a part that was started again may take to listen
_BACK_WITHIN_S, _LOOK_AGAIN_S = 60.0, 0.1


class NotDone(Exception):
    """A mishap did not happen; the message says why."""


class Fate:
    """Does a scenario's faults to a stack."""

    def __init__(self, stack: Stack, relay: UplinkRelay, calm: Uplink) -> None:
        self._stack = stack
        self._relay = relay
        self._calm = calm
        self._scripted: list[Mapping[str, Any]] = []

    async def strike(self, fault: Fault) -> None:
        """
        Let a fault happen, last, and be over.

        :raises NotDone: when the devices refuse it.
        """
        given = fault.given
        match fault.name:
            case "power_cut":
                await self._power_cut(given)
            case "brown_out":
                await self._brown_out(given)
            case "reset":
                await self._ask(do="power_cut", device=given["device"], seconds=_RESET_S)
            case "pipe":
                await self._for(given, do="fault", device=given["device"], fault=given["what"])
            case "hand_tap":
                await self._ask(do="tap_flow", device=given["device"], open=True)
                await asyncio.sleep(given["seconds"])
                await self._ask(do="tap_flow", device=given["device"], open=False)
            case "silent":
                await self._for(given, do="silent", device=given["device"])
            case "line_noise":
                await self._line_noise(given)
            case "clock_drift":
                await self._ask(do="clock", **_where(given), drift_ppm=given["ppm"])
            case "clock_loss":
                await self._ask(do="clock", **_where(given), lose=True, battery=False)
            case "uplink_cut":
                await self._weather(given["seconds"], cut=True)
            case "uplink_noise":
                names = ("duplicate", "lose", "delay_ms")
                await self._weather(given["seconds"], **{name: given[name] for name in names})
            case "broker_outage":
                await self._dead("broker", given["seconds"])
            case "provider_outage":
                await self._dead("provider", given["seconds"])
                await self._answers(self._stack.provider_port)
            case "gateway_crash":
                await self._dead(f"gw_b{given['building']}", given["seconds"])
            case "server_crash":
                await self._dead(given["part"], given["seconds"])
            case "provider_trouble":
                await self._provider_trouble(given)

    async def _ask(self, **request: Any) -> dict[str, Any]:
        answer = await asyncio.to_thread(lambda: control(self._stack.control_port, **request))
        if not answer.get("ok"):
            raise NotDone(str(answer.get("error", "the devices refused it")))
        return answer

    async def _for(self, given: Mapping[str, Any], **request: Any) -> None:
        await self._ask(**request, on=True)
        await asyncio.sleep(given["seconds"])
        await self._ask(**request, on=False)

    async def _power_cut(self, given: Mapping[str, Any]) -> None:
        await self._ask(do="power_cut", **_where(given), seconds=given["seconds"], hard=given["hard"])
        gateway = f"gw_b{given['building']}" if given["gateway"] and "building" in given else ""
        if gateway:
            await self._dead(gateway, given["seconds"])
        else:
            await asyncio.sleep(given["seconds"])

    async def _brown_out(self, given: Mapping[str, Any]) -> None:
        line_id = f"b{given['building']}" if "building" in given else None
        devices = [device["device_id"] for device in self._stack.plan["devices"]
                   if device["map_id"] == OUTLET_MAP and line_id in (None, device["line_id"])]  # fmt: skip
        for device_id in devices:
            await self._ask(do="fault", device=device_id, fault="low_supply", on=True)
        await asyncio.sleep(given["seconds"] / 2)
        await self._ask(do="power_cut", **_where(given), seconds=_RESET_S)  # at the bottom, controllers restart
        await asyncio.sleep(given["seconds"] / 2)
        for device_id in devices:
            await self._ask(do="fault", device=device_id, fault="low_supply", on=False)

    async def _line_noise(self, given: Mapping[str, Any]) -> None:
        where = _where(given)
        await self._ask(do="noise", **where, settings={name: given[name] for name in NOISES})
        await asyncio.sleep(given["seconds"])
        await self._ask(do="noise", **where, settings={})

    async def _weather(self, seconds: float, **weather: Any) -> None:
        self._relay.change(**weather)
        await asyncio.sleep(seconds)
        calm = self._calm
        self._relay.change(cut=False, duplicate=calm.duplicate, lose=calm.lose, delay_ms=calm.delay_ms)

    async def _dead(self, part: str, seconds: float) -> None:
        await asyncio.to_thread(self._stack.parts[part].kill)
        await asyncio.sleep(seconds)
        self._stack.parts[part].start()

    async def _answers(self, port: int) -> None:
        """Wait until a part that was started again listens: an outage is not over before."""
        deadline = time.monotonic() + _BACK_WITHIN_S
        while not await asyncio.to_thread(listening, port):
            if time.monotonic() > deadline:
                raise NotDone(f"nothing listens on port {port} after {_BACK_WITHIN_S:.0f} s")
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _provider_trouble(self, given: Mapping[str, Any]) -> None:
        base = f"http://127.0.0.1:{self._stack.provider_port}"
        script = {"match": "next", "verb": given["verb"], "behaviour": given["behaviour"]}
        await self._answers(self._stack.provider_port)
        async with httpx.AsyncClient(base_url=base, timeout=15) as doors:
            for _ in range(given["times"]):
                (await doors.post("/script", json=script)).raise_for_status()
        self._scripted.append(given)

    def unmatched(self) -> list[str]:
        """Return the troubles of the provider that were waiting for a request and never met one."""
        left = scripts_left(self._stack.folder / "provider.db")
        found = []
        for given in reversed(self._scripted):
            key = given["verb"], given["behaviour"]
            never = min(given["times"], left[key])
            left[key] -= never
            if never:
                what = f"provider_trouble behaviour={key[1]} verb={key[0]}"
                found.append(f"{what}: {never} of {given['times']} never met a request")
        return found


def _where(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return which devices a request is about: one, a building's, or all."""
    if "device" in given:
        return {"device": given["device"]}
    return {"device": None, "line": f"b{given['building']}"} if "building" in given else {"device": None}
