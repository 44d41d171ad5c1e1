"""The rig's pages without a browser: keys, forms, refusals, and a simulator that is gone."""

import asyncio
from typing import Any

import httpx
import pytest

from firmware_sim.rig.app import Rig, new_key
from firmware_sim.rig.commands import cards_of, own_address
from firmware_sim.rig.link import SimulatorGone

OUTLET = {
    "device": "dev_1", "kind": "outlet", "powered": True, "silent": False, "state": "dispensing", "faults": ["tamper"],
    "display": "剩 <3> L", "lamp": "blue blinking", "valve_open": True, "sensor_plugged": False, "mixer_open": True,
    "sess_volume_ml": 1_234, "total_pulses": 555, "flow_ml_per_min": 8_540, "temp_decidegc": 401,
    "close_reason": "fault", "lease_left_ms": 41_200,
}  # fmt: skip
DOOR = {
    "device": "dev_d", "kind": "door", "powered": True, "silent": True, "state": "locked", "faults": [], "display": "",
    "lamp": "green", "pass_in": 3, "pass_out": 2,
}  # fmt: skip
DARK = {"device": "dev_2", "kind": "outlet", "powered": False, "silent": False}


class Link:
    """A simulator that notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.is_gone = False
        self.refusal = ""

    async def ask(self, **request: Any) -> dict[str, Any]:
        if self.is_gone:
            raise SimulatorGone
        self.asked.append(request)
        if request["do"] == "state":
            return {"ok": True, "devices": [OUTLET, DOOR, DARK]}
        return {"ok": False, "error": self.refusal} if self.refusal else {"ok": True}


class Hand:
    """A rig and somebody's hand on it."""

    def __init__(self) -> None:
        self.link = Link()
        self._app = Rig(self.link, [("s001", "04AB")], "k3y").app()  # type: ignore[arg-type]

    async def ask(self, verb: str, path: str, **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://rig") as client:
            return await client.request(verb, path, **more)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return asyncio.run(self.ask("GET", path, **more))

    def post(self, path: str, **more: Any) -> httpx.Response:
        return asyncio.run(self.ask("POST", path, **more))


@pytest.fixture
def hand() -> Hand:
    return Hand()


class TestPage:
    def test_shows_the_front_in_either_language_and_escapes_what_devices_say(self, hand: Hand) -> None:
        english, chinese = hand.get("/k3y/?lang=en").text, hand.get("/k3y/?lang=zh").text

        assert "water is running" in english
        assert "blue blinking" in english
        assert "tampered with" in english
        assert "剩 &lt;3&gt; L" in english
        assert "8.5" in english
        assert "出水中" in chinese
        assert 'lang="zh-CN"' in chinese

    def test_shows_doors_and_devices_without_power(self, hand: Hand) -> None:
        assert "3 / 2" in hand.get("/k3y/?lang=en&device=dev_d").text
        assert "no power" in hand.get("/k3y/?lang=en&device=dev_2").text
        assert "Walk in" in hand.get("/k3y/?lang=en&device=dev_d").text
        assert "Walk in" not in hand.get("/k3y/?lang=en&device=dev_1").text

    def test_opens_only_with_the_key(self, hand: Hand) -> None:
        assert hand.get("/").status_code == 404
        assert hand.get("/wrong/").status_code == 404
        assert hand.post("/wrong/do", data={"action": "pull", "device": "dev_1"}).status_code == 404
        assert hand.link.asked == []

    def test_lets_nothing_in_from_elsewhere(self, hand: Hand) -> None:
        policy = hand.get("/k3y/").headers["content-security-policy"]

        assert "default-src 'none'" in policy
        assert "unsafe" not in policy

    def test_says_so_when_the_simulator_is_gone(self, hand: Hand) -> None:
        hand.link.is_gone = True

        assert "does not answer" in hand.get("/k3y/?lang=en").text
        assert hand.get("/k3y/front?lang=en").status_code == 503


class TestDo:
    def test_does_it_and_says_so_on_the_page(self, hand: Hand) -> None:
        answer = hand.post("/k3y/do", data={"action": "unplug", "device": "dev_1", "lang": "en"})

        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/k3y/?")
        assert hand.link.asked == [{"do": "fault", "device": "dev_1", "fault": "sensor_unplugged", "on": True}]
        assert "Done: Unplug the flow sensor" in hand.get(answer.headers["location"]).text

    def test_answers_the_script_in_words(self, hand: Hand) -> None:
        headers = {"accept": "text/plain"}
        form = {"action": "tap", "device": "dev_1", "lang": "zh", "card": "04AB"}

        assert hand.post("/k3y/do", data=form, headers=headers).text == "已完成：刷卡"
        hand.link.refusal = "dev_1 has no power"
        refused = hand.post("/k3y/do", data=form, headers=headers)
        assert (refused.status_code, refused.text) == (409, "未完成：dev_1 has no power")
        hand.link.is_gone = True
        assert hand.post("/k3y/do", data=form, headers=headers).status_code == 503

    @pytest.mark.parametrize("form", [{"action": "dance"}, {}, {"action": "break", "fault": "<b>"}])
    def test_refuses_what_no_hand_can_do(self, hand: Hand, form: dict[str, str]) -> None:
        answer = hand.post("/k3y/do", data={"device": "dev_1", **form}, headers={"accept": "text/plain"})

        assert answer.status_code == 400
        assert hand.link.asked == []

    def test_refuses_a_letter_instead_of_a_form(self, hand: Hand) -> None:
        assert hand.post("/k3y/do", content=b"x" * 20_000).status_code == 413


class TestCommands:
    def test_put_the_plans_cards_on_the_table_and_one_nobody_knows(self) -> None:
        people = [{"login": "s001", "name": "王", "card_uid": "04AB"}, {"login": "a", "name": "b", "card_uid": None}]

        assert cards_of({"people": people}) == [("s001 王", "04AB"), ("?", "04DEADBEEF0001")]

    def test_name_the_machine_as_others_reach_it(self) -> None:
        assert own_address("127.0.0.1") == "127.0.0.1"
        assert own_address("0.0.0.0") != "0.0.0.0"

    def test_make_another_key_each_time(self) -> None:
        assert len({new_key() for _ in range(20)}) == 20
