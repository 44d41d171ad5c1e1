"""Each fault does what its name says to the running parts, and mends it again."""

import asyncio
import json
import socketserver
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from firmware_sim.scenarios import happening
from firmware_sim.scenarios.happening import Fate, NotDone
from firmware_sim.scenarios.model import Fault, Uplink
from firmware_sim.scenarios.uplink import UplinkRelay
from firmware_sim.scenarios.words import FAULTS, NOISES

CALM = Uplink(duplicate=0.25, lose=0.0, delay_ms=0)
SHORT_S = 0.05
NOISE = {name: 0.25 for name in NOISES} | {"ber": 0.001, "late_ms": 40, "dead": False}


class Ear(socketserver.StreamRequestHandler):
    """Answers every control request with a yes and remembers it."""

    def handle(self) -> None:
        request = json.loads(self.rfile.readline())
        self.server.heard.append(request)  # type: ignore[attr-defined]
        self.wfile.write(self.server.answer)  # type: ignore[attr-defined]


@dataclass
class Part:
    name: str
    done: list[str]

    def kill(self) -> None:
        self.done.append(f"kill {self.name}")

    def start(self) -> None:
        self.done.append(f"start {self.name}")


@dataclass
class School:
    """What a fate needs of a stack."""

    control_port: int
    done: list[str] = field(default_factory=list)
    provider_port: int = 0
    plan: dict[str, Any] = field(
        default_factory=lambda: {
            "devices": [
                {"device_id": "dev_b1_101", "line_id": "b1", "map_id": "chw.hwo1"},
                {"device_id": "dev_b2_101", "line_id": "b2", "map_id": "chw.hwo1"},
                {"device_id": "dev_library_1", "line_id": "library", "map_id": "chw.acr1"},
            ]
        }
    )

    @property
    def parts(self) -> dict[str, Part]:
        names = ("gw_b1", "gw_b2", "broker", "provider", "serve", "worker")
        return {name: Part(name, self.done) for name in names}


class Weathervane(UplinkRelay):
    """A relay that only notes how its weather changes."""

    def __init__(self, done: list[str]) -> None:
        super().__init__(broker_port=1, seed=1)
        self._loop.close()
        self.done = done

    def change(self, **weather: object) -> None:
        self.done.append(f"weather {weather}")


@pytest.fixture(autouse=True)
def back_at_the_second_look(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let whatever was started again listen when it is looked at for the second time."""
    looks: list[int] = []

    def listening(port: int) -> bool:
        looks.append(port)
        return len(looks) > 1

    monkeypatch.setattr(happening, "listening", listening)
    return looks


@pytest.fixture
def ear() -> Iterator[Any]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Ear) as server:
        server.heard = []  # type: ignore[attr-defined]
        server.answer = b'{"ok": true}\n'  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def strike(ear: Any, name: str, **given: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what the devices were asked and what was done to the processes."""
    school = School(ear.server_address[1])
    fate = Fate(school, Weathervane(school.done), CALM)  # type: ignore[arg-type]
    asyncio.run(fate.strike(Fault(at_s=0, name=name, given=given)))
    return ear.heard, school.done


class TestStrike:
    @pytest.mark.parametrize(
        ("name", "given", "asked", "done"),
        [
            ("power_cut", {"building": 1, "seconds": SHORT_S, "hard": True, "gateway": True},
             [{"do": "power_cut", "device": None, "line": "b1", "seconds": SHORT_S, "hard": True}],
             ["kill gw_b1", "start gw_b1"]),
            ("power_cut", {"device": "dev_b1_101", "seconds": SHORT_S, "hard": False, "gateway": False},
             [{"do": "power_cut", "device": "dev_b1_101", "seconds": SHORT_S, "hard": False}], []),
            ("reset", {"device": "dev_b1_101"}, [{"do": "power_cut", "device": "dev_b1_101", "seconds": 0.1}], []),
            ("brown_out", {"building": 2, "seconds": SHORT_S},
             [{"do": "fault", "device": "dev_b2_101", "fault": "low_supply", "on": True},
              {"do": "power_cut", "device": None, "line": "b2", "seconds": 0.1},
              {"do": "fault", "device": "dev_b2_101", "fault": "low_supply", "on": False}], []),
            ("pipe", {"device": "dev_b1_101", "what": "air", "seconds": SHORT_S},
             [{"do": "fault", "device": "dev_b1_101", "fault": "air", "on": True},
              {"do": "fault", "device": "dev_b1_101", "fault": "air", "on": False}], []),
            ("silent", {"device": "dev_b1_101", "seconds": SHORT_S},
             [{"do": "silent", "device": "dev_b1_101", "on": True},
              {"do": "silent", "device": "dev_b1_101", "on": False}], []),
            ("clock_drift", {"building": 1, "ppm": 20},
             [{"do": "clock", "device": None, "line": "b1", "drift_ppm": 20}], []),
            ("clock_loss", {}, [{"do": "clock", "device": None, "lose": True, "battery": False}], []),
            ("line_noise", {"building": 1, "seconds": SHORT_S, **NOISE},
             [{"do": "noise", "device": None, "line": "b1", "settings": NOISE},
              {"do": "noise", "device": None, "line": "b1", "settings": {}}], []),
            ("uplink_cut", {"seconds": SHORT_S}, [],
             ["weather {'cut': True}", "weather {'cut': False, 'duplicate': 0.25, 'lose': 0.0, 'delay_ms': 0}"]),
            ("uplink_noise", {"seconds": SHORT_S, "duplicate": 0.5, "lose": 0.1, "delay_ms": 3}, [],
             ["weather {'duplicate': 0.5, 'lose': 0.1, 'delay_ms': 3}",
              "weather {'cut': False, 'duplicate': 0.25, 'lose': 0.0, 'delay_ms': 0}"]),
            ("broker_outage", {"seconds": SHORT_S}, [], ["kill broker", "start broker"]),
            ("provider_outage", {"seconds": SHORT_S}, [], ["kill provider", "start provider"]),
            ("gateway_crash", {"building": 2, "seconds": SHORT_S}, [], ["kill gw_b2", "start gw_b2"]),
            ("server_crash", {"part": "worker", "seconds": SHORT_S}, [], ["kill worker", "start worker"]),
        ],
    )  # fmt: skip
    def test_does_and_mends(
        self, ear: Any, name: str, given: dict[str, Any], asked: list[dict[str, Any]], done: list[str]
    ) -> None:
        assert strike(ear, name, **given) == (asked, done)

    def test_is_over_when_the_provider_is_back(self, ear: Any, back_at_the_second_look: list[int]) -> None:
        strike(ear, "provider_outage", seconds=SHORT_S)

        assert back_at_the_second_look == [0, 0]

    def test_says_when_the_provider_does_not_come_back(self, ear: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(happening, "listening", lambda port: False)
        monkeypatch.setattr(happening, "_BACK_WITHIN_S", 0.0)

        with pytest.raises(NotDone, match="nothing listens"):
            strike(ear, "provider_outage", seconds=SHORT_S)

    @pytest.mark.parametrize(
        ("name", "given"),
        [
            ("reset", {"device": "dev_b1_101"}),
            ("pipe", {"device": "dev_b1_101", "what": "air", "seconds": SHORT_S}),
            ("silent", {"device": "dev_b1_101", "seconds": SHORT_S}),
        ],
    )
    def test_says_when_the_devices_refuse_it(self, ear: Any, name: str, given: dict[str, Any]) -> None:
        ear.answer = b'{"ok": false, "error": "no device is called that"}\n'

        with pytest.raises(NotDone, match="no device is called that"):
            strike(ear, name, **given)

    def test_knows_every_fault_of_the_language(self, ear: Any) -> None:
        source = Fate.strike.__code__.co_consts

        assert set(FAULTS) <= {each for each in source if isinstance(each, str)}


class TestUnmatched:
    def test_names_the_troubles_that_no_request_met(self, monkeypatch: pytest.MonkeyPatch) -> None:
        left = Counter({("capture", "duplicate"): 1})
        monkeypatch.setattr(happening, "scripts_left", lambda path: Counter(left))
        fate = Fate(SimpleNamespace(folder=Path()), None, CALM)  # type: ignore[arg-type]
        fate._scripted = [
            {"verb": "capture", "behaviour": "duplicate", "times": 2},
            {"verb": "", "behaviour": "notify_none", "times": 3},
        ]

        found = fate.unmatched()

        assert found == ["provider_trouble behaviour=duplicate verb=capture: 1 of 2 never met a request"]
