"""The training rig in a real browser: an installer with a mouse, a keyboard, a phone, or no scripts."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from pymodbus import ModbusException
from pymodbus.client import ModbusTcpClient

from firmware_sim.rig.app import Rig
from firmware_sim.rig.link import ControlLink
from firmware_sim.stack import control, free_ports
from tests.e2e.pages_conftest import DESKTOP, PHONE, Address, browser, visit
from tests.patience import PATIENCE_S
from tests.unit.firmware_sim.rig import OPEN, Bench

PLAN = {
    "seed": 7,
    "gateways": [{"gateway_id": "gw", "lines": [{"line_id": "a", "transport": "tcp", "host": "127.0.0.1", "port": 0}]}],
    "devices": [
        {"device_id": "dev_1", "line_id": "a", "unit": 1, "map_id": "chw.hwo1", "k_factor_pulses_per_m3": 450_000},
        {"device_id": "dev_d", "line_id": "a", "unit": 9, "map_id": "chw.acr1", "k_factor_pulses_per_m3": 0},
    ],
}
WAIT_MS = 1_000 * PATIENCE_S


class Devices:
    """Simulated devices as a process, and somebody who opens the valve as a gateway would."""

    def __init__(self, folder: Path) -> None:
        plan = folder / "plan.json"
        plan.write_text(json.dumps(PLAN))
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "firmware_sim.cli", "devices", "--plan", str(plan), "--control", "0",
                "--state", str(folder / "nvm"), "--device-log", str(folder / "ends.jsonl"),
            ],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        self.control_port = ready["control"]
        self._client = ModbusTcpClient("127.0.0.1", port=ready["lines"]["a"], timeout=PATIENCE_S, retries=2)
        assert self._client.connect()
        self._tokens = Bench()
        self._sessions = 0
        # somebody polls, or the controller's watchdog shuts the valve while a slow machine loads a page
        self._done = threading.Event()
        self._poller = threading.Thread(target=self._poll, args=(ready["lines"]["a"],), daemon=True)
        self._poller.start()

    def _poll(self, port: int) -> None:
        client = ModbusTcpClient("127.0.0.1", port=port, timeout=PATIENCE_S, retries=2)
        client.connect()
        while not self._done.wait(1.0):
            with contextlib.suppress(ModbusException):  # without power nobody answers
                client.read_discrete_inputs(0, count=16, device_id=1)
        client.close()

    def state(self) -> dict[str, Any]:
        (state,) = control(self.control_port, do="state", device="dev_1")["devices"]
        assert isinstance(state, dict)
        return state

    def water(self) -> None:
        """Open the valve for a new session, once the controller is ready."""
        self.mended()
        self._sessions += 1
        frame = self._tokens.frame("OPEN", **{**OPEN, "session": self._sessions, "lease": 600, "limit_volume": 100_000})
        result = self._client.readwrite_registers(
            read_address=288, read_count=8, write_address=256, values=frame, device_id=1
        )
        assert result.registers[1] == 2, result.registers

    def mended(self) -> None:
        """Mend everything, reset latched faults as an installer does, and wait until the controller is idle."""
        control(self.control_port, do="fault", device="dev_1", fault="sensor_unplugged", on=False)
        deadline = time.monotonic() + WAIT_MS / 1000
        while (state := self.state()).get("state") != "idle" or state["faults"]:
            if state.get("state") == "idle":
                frame = self._tokens.frame("CLEAR_FAULT")
                self._client.write_registers(256, frame, device_id=1)
            elif state.get("state") in ("dispensing", "armed"):
                control(self.control_port, do="button", device="dev_1")
            assert time.monotonic() < deadline, state
            time.sleep(0.05)

    def stop(self) -> None:
        self._done.set()
        self._poller.join(PATIENCE_S)
        self._client.close()
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devices]:
    running = Devices(tmp_path_factory.mktemp("rig"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def rig(devices: Devices) -> Iterator[Address]:
    """Yield the address of the rig's pages."""
    (port,) = free_ports(1)
    app = Rig(ControlLink(devices.control_port), [("s001 王一鸣", "04A1B2C3D4E5F6")], "k3y").app()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + PATIENCE_S
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield Address(f"http://127.0.0.1:{port}/k3y")
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


def front(page: Page, name: str, text: str) -> None:
    """Wait until the front shows something."""
    expect(page.locator(f"[data-is={name}]")).to_have_text(text, timeout=WAIT_MS)


class TestMouse:
    def test_sees_water_and_what_pulling_the_sensor_does(
        self, chromium: Browser, rig: Address, devices: Devices
    ) -> None:
        devices.water()
        with visit(chromium, rig, size=DESKTOP, language="en-US") as page:
            page.goto(f"{rig.url}/?lang=en&device=dev_1")
            front(page, "state", "water is running")
            front(page, "valve", "open")
            expect(page.locator(".lamp")).to_contain_text("blue", timeout=WAIT_MS)

            page.get_by_role("button", name="Unplug the flow sensor").click()

            front(page, "valve", "closed")
            front(page, "sensor", "unplugged")
            expect(page.locator("[data-is=faults]")).to_contain_text("flow sensor broken", timeout=WAIT_MS)
            expect(page.get_by_role("status")).to_have_text("Done: Unplug the flow sensor")
        assert not devices.state()["valve_open"]

    def test_pulls_the_plug_and_the_valve_stays_shut(self, chromium: Browser, rig: Address, devices: Devices) -> None:
        devices.water()
        with visit(chromium, rig, size=PHONE) as page:
            page.goto(f"{rig.url}/?lang=zh&device=dev_1")
            front(page, "valve", "开")

            page.get_by_role("button", name="拔电源 5 秒").click()

            front(page, "last-close", "断电")
            front(page, "state", "空闲")
            front(page, "valve", "关")


class TestKeyboard:
    def test_reaches_the_hands_and_taps_a_card(self, chromium: Browser, rig: Address, devices: Devices) -> None:
        devices.mended()
        with visit(chromium, rig, size=DESKTOP, language="en-US") as page:
            page.goto(f"{rig.url}/?lang=en&device=dev_1")
            page.keyboard.press("Tab")
            expect(page.get_by_role("link", name="Skip to the controls")).to_be_focused()
            page.keyboard.press("Enter")
            expect(page.locator("#hands")).to_be_focused()
            for _ in range(3):
                page.keyboard.press("Tab")
            expect(page.get_by_role("button", name="Tap the card")).to_be_focused()

            page.keyboard.press("Enter")

            expect(page.get_by_role("status")).to_have_text("Done: Tap the card", timeout=WAIT_MS)
        assert devices.state()["mailbox_pending"]

    def test_is_told_why_something_cannot_be_done(self, chromium: Browser, rig: Address) -> None:
        with visit(chromium, rig, size=DESKTOP, language="en-US", expect_errors=True) as page:
            page.goto(f"{rig.url}/?lang=en&device=dev_1")
            page.get_by_label("or a card number (hex)").fill("zz")
            page.keyboard.press("Enter")

            expect(page.get_by_role("status")).to_contain_text("Refused: ", timeout=WAIT_MS)


class TestWithoutScripts:
    def test_works_by_forms(self, chromium: Browser, rig: Address, devices: Devices) -> None:
        devices.water()
        with visit(chromium, rig, scripts=False, language="en-US") as page:
            page.goto(f"{rig.url}/?lang=en&device=dev_1")
            page.locator("button[value=button]").click()

            expect(page.locator("#said")).to_have_text("Done: Press the stop button")
            page.locator("select[name=device]").select_option("dev_d")
            page.locator("form.row button").click()
            expect(page.locator("button[value=walk_in]")).to_be_visible()


class TestCommand:
    def test_joins_a_simulator_prints_its_address_and_stops_cleanly(self, devices: Devices, tmp_path: Path) -> None:
        plan = tmp_path / "plan.json"
        plan.write_text(json.dumps({"people": [{"login": "s009", "name": "农", "card_uid": "04AA"}]}), encoding="utf-8")
        process = subprocess.Popen(
            [
                sys.executable, "-u", "-m", "firmware_sim.cli", "rig", "--control", str(devices.control_port),
                "--plan", str(plan), "--port", "0",
            ],
            stdout=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "200"},
        )  # fmt: skip
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            page = httpx.get(f"{url}?lang=en&device=dev_1", timeout=PATIENCE_S)
            assert page.status_code == 200
            assert "s009" in page.text
            assert httpx.get(url.rsplit("/", 2)[0] + "/", timeout=PATIENCE_S).status_code == 404

            process.send_signal(signal.SIGTERM)

            process.wait(PATIENCE_S)
        finally:
            process.kill()
            process.communicate()
        assert process.returncode in (0, -signal.SIGTERM)


class TestForEverybody:
    @pytest.mark.parametrize("language", ["zh", "en"])
    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    def test_has_nothing_serious_to_complain_of(
        self, chromium: Browser, rig: Address, language: str, dark: bool
    ) -> None:
        with visit(chromium, rig, size=PHONE, dark=dark) as page:
            for device in ("dev_1", "dev_d"):
                page.goto(f"{rig.url}/?lang={language}&device={device}")
                found = Axe().run(page).response["violations"]
                assert [rule["id"] for rule in found if rule["impact"] in ("serious", "critical")] == []

    @pytest.mark.parametrize("width", [320, 390, 768, 1440])
    def test_fits_every_width(self, chromium: Browser, rig: Address, width: int) -> None:
        with visit(chromium, rig, size={"width": width, "height": 800}) as page:
            page.goto(f"{rig.url}/?lang=en&device=dev_1")

            assert page.evaluate("document.documentElement.scrollWidth") <= width
            heights = page.evaluate("[...document.querySelectorAll('button,select,input:not([type=hidden])')]"
                                    ".map(each => each.getBoundingClientRect().height)")  # fmt: skip
            assert min(heights) >= 44
