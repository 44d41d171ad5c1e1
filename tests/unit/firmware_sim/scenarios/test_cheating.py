"""Every cheat gets nothing from a sound school, and says what it got from one with exactly that weakness."""

import asyncio
from typing import Any

import pytest

from firmware_sim.campus import Visit
from firmware_sim.scenarios import cheating
from firmware_sim.scenarios.cheating import Cheat
from firmware_sim.scenarios.words import CHEATS
from firmware_sim.school_api import Refused

HERE, THERE = "dev_b1_101", "dev_b1_102"
CHEAT = Visit("s1", "04A1", HERE, "page", "wallet", 0.0, "stop")


class School:
    """A school as small as cheats need it, with one weakness or none; it is API and control port at once."""

    def __init__(self, weakness: str = "") -> None:
        self.weakness = weakness
        self.sessions: dict[str, dict[str, Any]] = {}
        self.requests: dict[str, str] = {}
        self.open: set[str] = set()
        self.asked: list[str] = []
        self.is_code_used = self.is_frozen = self.is_unplugged = False
        #: why each start is refused, and what the devices refuse
        self.refusal = ""
        self.device_error = ""
        self.is_born_refused = False

    def begin(self, device_id: str) -> dict[str, Any]:
        session_id = f"ws_{len(self.sessions)}"
        state = "refused" if self.is_born_refused else "flowing"
        named = THERE if self.weakness == "wrong_bill" else device_id
        self.sessions[session_id] = {"water_session_id": session_id, "device_id": named, "state": state,
                                     "captured_minor": None}  # fmt: skip
        self.open.add(THERE if self.weakness == "swap_sticker" else device_id)
        return self.sessions[session_id]

    def end(self) -> None:
        for session in self.sessions.values():
            session["state"] = "settled"
        self.open.clear()

    # -- the control port

    def control(self, port: int, **request: Any) -> dict[str, Any]:
        self.asked.append(request["do"])
        if self.device_error and request["do"] != "state":
            return {"ok": False, "error": self.device_error}
        match request["do"]:
            case "state":
                state = {"valve_open": request["device"] in self.open, "mailbox_pending": False}
                return {"ok": True, "devices": [state]}
            case "code" if not self.is_code_used or self.weakness == "replay_code":
                self.is_code_used = True
                self.begin(HERE)
            case "tap" if self.weakness == ("lost_card" if self.is_frozen else "unknown_card"):
                self.begin(HERE)
            case "fault":
                self.is_unplugged = request["on"]
                if self.is_unplugged:
                    self.end()
            case "pass":
                return {"ok": True, "outcome": "passed" if self.weakness == "force_gate" else "forced"}
        return {"ok": True}

    # -- the API

    async def start(self, login: str, *, device_id: str, method: str, request_id: str) -> dict[str, Any]:
        if self.refusal or (self.is_unplugged and self.weakness != "unplug_sensor"):
            raise Refused(409, self.refusal or "outlet_faulty")
        if request_id not in self.requests or self.weakness == "double_start":
            self.requests[request_id] = self.begin(device_id)["water_session_id"]
        return self.sessions[self.requests[request_id]]

    async def stop(self, login: str, session_id: str) -> None:
        self.end()

    async def session(self, login: str, session_id: str) -> dict[str, Any]:
        return self.sessions[session_id]

    async def live(self, login: str) -> dict[str, Any] | None:
        live = await self.live_sessions(login)
        return live[0] if live else None

    async def live_sessions(self, login: str) -> list[dict[str, Any]]:
        return [session for session in self.sessions.values() if session["state"] == "flowing"]

    async def code(self, login: str) -> str:
        return "code"

    async def freeze_cards(self, login: str) -> None:
        self.is_frozen = True


def go(school: School, name: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(cheating, "control", school.control)
    monkeypatch.setattr(cheating, "_QUIET_S", 0.0)
    monkeypatch.setattr(cheating, "_FREEZE_WITHIN_S", 0.0)
    return asyncio.run(Cheat(school, 1, CHEAT, THERE).go(name))  # type: ignore[arg-type]


class TestGo:
    @pytest.mark.parametrize("name", CHEATS)
    def test_gets_nothing_from_a_sound_school(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        school = School()
        school.is_born_refused = name == "meter_only"

        assert go(school, name, monkeypatch) == []
        assert school.asked or school.sessions

    @pytest.mark.parametrize("name", CHEATS)
    def test_says_what_it_got_from_a_weak_one(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        got = go(School(name), name, monkeypatch)

        assert got
        assert all(each.startswith(f"{name} by s1 at {HERE}: ") for each in got)

    def test_finds_a_bill_for_another_outlet(self, monkeypatch: pytest.MonkeyPatch) -> None:
        (got,) = go(School("wrong_bill"), "swap_sticker", monkeypatch)

        assert got.endswith("the bill names another outlet than the sticker")

    @pytest.mark.parametrize("name", ["swap_sticker", "unplug_sensor", "double_start"])
    def test_is_no_try_when_the_start_is_refused(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        school = School()
        school.refusal = "insufficient_funds"

        with pytest.raises(Refused, match="insufficient_funds"):
            go(school, name, monkeypatch)

    @pytest.mark.parametrize("name", ["replay_code", "swap_sticker", "unplug_sensor", "double_start"])
    def test_is_no_try_when_the_water_never_runs(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        school = School()
        school.is_born_refused = True
        monkeypatch.setattr(cheating, "_WITHIN_S", 0.0)

        with pytest.raises(Refused):
            go(school, name, monkeypatch)

    @pytest.mark.parametrize("name", ["replay_code", "lost_card", "unknown_card", "force_gate", "unplug_sensor"])
    def test_is_no_try_when_the_device_refuses(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        school = School()
        school.device_error = "dev_b1_101 has no power"

        with pytest.raises(Refused, match="has no power"):
            go(school, name, monkeypatch)
