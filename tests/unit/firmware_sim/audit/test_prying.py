"""Whoever pries next door learns nothing from a sound school, and what a leaking one shows is found."""

import asyncio
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from firmware_sim.audit.prying import Prying
from firmware_sim.school_api import Refused

OURS, THEIRS = "dev_1", "dev_next"


class School:
    """One school's API; `leak` names what it shows or does of the other's."""

    def __init__(self, device: str, leak: str = "", *, is_down: bool = False) -> None:
        self.device, self.leak, self.is_down = device, leak, is_down

    async def outlets(self, login: str) -> list[dict[str, Any]]:
        if self.is_down:
            raise httpx.ConnectError("down")
        return [{"device_id": OURS if self.leak == "outlets" else self.device}]

    async def sessions(self, login: str) -> list[dict[str, Any]]:
        tenant = "gxu" if self.leak == "sessions" or self.device == OURS else "nhu"
        return [{"device_id": self.device, "water_session_id": f"ws_{self.device}", "tenant_id": tenant}]

    def _refuse(self, what: str, subject: str, unknown: str) -> None:
        if self.leak == what and subject in (OURS, f"ws_{OURS}"):
            raise Refused(403, "not_yours")
        if self.leak != f"{what} granted":
            raise Refused(404, unknown)

    async def session(self, login: str, session_id: str) -> dict[str, Any]:
        self._refuse("session", session_id, "water_session_unknown")
        return {}

    async def stop(self, login: str, session_id: str) -> None:
        self._refuse("stop", session_id, "water_session_unknown")

    async def start(self, login: str, *, device_id: str, method: str, request_id: str) -> dict[str, Any]:
        self._refuse("start", device_id, "device_unknown")
        return {}

    async def close(self) -> None:
        pass


def look(leak: str = "", *, is_down: bool = False) -> tuple[list[str], int]:
    def plan(device: str) -> dict[str, Any]:
        return {"devices": [{"device_id": device, "kind": "outlet"}]}

    demo: dict[str, Any] = {"logins": []}
    stack = SimpleNamespace(base_url="http://127.0.0.1:9", demo=demo, neighbor_demo=demo, plan=plan(OURS),
                            neighbor=plan(THEIRS))  # fmt: skip

    async def pry() -> tuple[list[str], int]:
        prying = Prying(stack)  # type: ignore[arg-type]
        await prying.close()
        prying._own, prying._next = School(OURS), School(THEIRS, leak, is_down=is_down)  # type: ignore[assignment]
        return await prying.look(), prying.looks

    return asyncio.run(pry())


class TestLook:
    def test_finds_nothing_in_a_sound_school(self) -> None:
        assert look() == ([], 1)

    @pytest.mark.parametrize(
        "leak",
        ["outlets", "sessions", "session", "session granted", "stop", "stop granted", "start", "start granted"],
    )
    def test_finds_what_is_shown_done_or_told_apart(self, leak: str) -> None:
        found, _ = look(leak)

        assert found
        assert all(each.startswith("tenants_apart: ") for each in found)

    def test_finds_nothing_while_the_server_is_away(self) -> None:
        assert look(is_down=True) == ([], 0)
