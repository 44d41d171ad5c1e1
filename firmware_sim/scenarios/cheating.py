"""
People who try to get water, a passage or somebody's money for nothing; each returns what it got: to be nothing.

Whoever is refused before they could try has tried nothing: that is `Refused`, and they may try again elsewhere.
"""

import asyncio
import contextlib
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from firmware_sim.campus import Visit
from firmware_sim.school_api import Refused, SchoolApi
from firmware_sim.stack import control

_ENDED = {"settled", "voided", "refused"}
_WITHIN_S = 45.0
#: how long a frozen card may still work
_FREEZE_WITHIN_S = 15.0
#: an answer that should not come has had time to come
_QUIET_S = 3.0
_DOOR = "dev_library_1"


class Cheat:
    """One person at one outlet, and the school they try it on."""

    def __init__(self, api: SchoolApi, control_port: int, visit: Visit, other_device_id: str) -> None:
        self._api = api
        self._control_port = control_port
        self._visit = visit
        self._other_device_id = other_device_id

    async def go(self, name: str) -> list[str]:
        """
        Return what somebody got by this cheat although they should not have.

        :raises Refused: when it could not be tried.
        """
        ways: Mapping[str, Callable[[], Awaitable[list[str]]]] = {
            "replay_code": self._replay_code,
            "swap_sticker": self._swap_sticker,
            "unplug_sensor": self._unplug_sensor,
            "lost_card": self._lost_card,
            "double_start": self._double_start,
            "force_gate": self._force_gate,
            "unknown_card": self._unknown_card,
            "meter_only": self._meter_only,
        }
        return [f"{name} by {self._visit.login} at {self._visit.device_id}: {got}" for got in await ways[name]()]

    # -- at the devices

    async def _do(self, what: str, **more: Any) -> dict[str, Any]:
        request = {"do": what, "device": self._visit.device_id, **more}
        answer = await asyncio.to_thread(lambda: control(self._control_port, **request))
        if not answer.get("ok"):
            raise Refused(0, str(answer.get("error", "the devices refused it")))
        return answer

    async def _device(self, device_id: str = "") -> dict[str, Any]:
        answer = await self._do("state", device=device_id or self._visit.device_id)
        found: dict[str, Any] = answer["devices"][0]
        return found

    async def _wait(self, what: str, look: Callable[[], Awaitable[Any]]) -> Any:
        deadline = time.monotonic() + _WITHIN_S
        while not (found := await look()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not within {_WITHIN_S:.0f} s")
            await asyncio.sleep(0.1)
        return found

    # -- at the school

    async def _reaches(self, session_id: str, states: set[str]) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            session = await self._api.session(self._visit.login, session_id)
            return session if session["state"] in states | _ENDED else None

        found: dict[str, Any] = await self._wait(f"{session_id} in {sorted(states)}", look)
        return found

    async def _flows(self, session_id: str) -> None:
        session = await self._reaches(session_id, {"flowing"})
        if session["state"] in ("refused", "voided"):
            raise Refused(0, str(session.get("refusal") or session["state"]))

    async def _start(self, request_id: str = "") -> str:
        session = await self._api.start(
            self._visit.login, device_id=self._visit.device_id, method="wallet",
            request_id=request_id or f"req_{uuid.uuid4().hex}",
        )  # fmt: skip
        return str(session["water_session_id"])

    async def _stop(self, session_id: str) -> dict[str, Any]:
        with contextlib.suppress(Refused):
            await self._api.stop(self._visit.login, session_id)
        return await self._reaches(session_id, set())

    async def _nothing_follows(self, what: str) -> list[str]:
        """Return what is running after something was presented that should open nothing."""

        async def read() -> bool:
            return not (await self._device()).get("mailbox_pending", True)

        await self._wait(f"{what} was read", read)
        await asyncio.sleep(_QUIET_S)
        live = await self._api.live_sessions("facilities")
        found = [f"{what} got {each['water_session_id']}" for each in live
                 if each["device_id"] == self._visit.device_id]  # fmt: skip
        if (await self._device()).get("valve_open"):
            found.append(f"{what} opened the valve")
        return found

    # -- what they try

    async def _replay_code(self) -> list[str]:
        code = await self._api.code(self._visit.login)
        await self._do("code", text=code)
        try:
            live = await self._wait("a session by code", lambda: self._api.live(self._visit.login))
        except TimeoutError as error:
            raise Refused(0, "code_not_answered") from error
        session_id = str(live["water_session_id"])
        await self._flows(session_id)
        await asyncio.sleep(self._visit.duration_s)
        await self._stop(session_id)
        await self._do("code", text=code)
        return await self._nothing_follows("a code shown again")

    async def _swap_sticker(self) -> list[str]:
        """Somebody pays here for water that runs there; they stop, and pay for no more than ran."""
        session_id = await self._start()
        await self._flows(session_id)
        here_was_open = (await self._device(self._other_device_id)).get("valve_open")
        mine = [each for each in await self._api.live_sessions("facilities")
                if each["device_id"] == self._other_device_id]  # fmt: skip
        bill = await self._stop(session_id)
        found = ["water ran where nobody paid"] if here_was_open and not mine else []
        if bill["device_id"] != self._visit.device_id:
            found.append("the bill names another outlet than the sticker")
        return found

    async def _unplug_sensor(self) -> list[str]:
        session_id = await self._start()
        await self._flows(session_id)
        await asyncio.sleep(self._visit.duration_s)
        await self._do("fault", fault="sensor_unplugged", on=True)
        try:
            await self._wait("the valve closes", self._is_shut)
            await self._reaches(session_id, set())
            again = ""
            with contextlib.suppress(Refused):
                again = await self._start()
            await asyncio.sleep(_QUIET_S)
            return [] if await self._is_shut() else [f"the valve opens without its sensor for {again}"]
        finally:
            await self._do("fault", fault="sensor_unplugged", on=False)

    async def _is_shut(self) -> bool:
        return not (await self._device()).get("valve_open", True)

    async def _lost_card(self) -> list[str]:
        await self._api.freeze_cards(self._visit.login)
        await asyncio.sleep(_FREEZE_WITHIN_S / 5)
        await self._do("tap", uid=self._visit.card_uid)
        return await self._nothing_follows("a frozen card")

    async def _double_start(self) -> list[str]:
        request_id = f"req_{uuid.uuid4().hex}"
        started = await asyncio.gather(*(self._start(request_id) for _ in range(3)))
        await self._flows(started[0])
        for session_id in sorted(set(started)):
            await self._stop(session_id)
        return [] if len(set(started)) == 1 else [f"one request started {sorted(set(started))}"]

    async def _force_gate(self) -> list[str]:
        answer = await self._do("pass", device=_DOOR, direction="in", force=True)
        outcome = answer.get("outcome", answer.get("error"))
        return [] if outcome in ("forced", "held") else [f"a forced gate says {outcome!r}"]

    async def _unknown_card(self) -> list[str]:
        await self._do("tap", uid=f"04{secrets.token_hex(6)}")
        return await self._nothing_follows("a card nobody knows")

    async def _meter_only(self) -> list[str]:
        """Somebody pays where nothing can be opened or shut: they are refused, and pay nothing."""
        session_id = await self._start()
        session = await self._reaches(session_id, {"flowing"})
        if session["state"] in ("refused", "voided") and not session["captured_minor"]:
            return []
        return [f"{session_id} at a place without a valve is {session['state']}"]
