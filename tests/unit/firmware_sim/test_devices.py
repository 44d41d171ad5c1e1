"""The devices as a process: started, killed and started again."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymodbus.client import ModbusTcpClient

from firmware_sim.devices import Options, Site
from firmware_sim.framing import rtu
from firmware_sim.timing import Timing
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


class Process:
    """One `campustap-sim devices` and a client on its line."""

    def __init__(self, folder: Path) -> None:
        plan = folder / "plan.json"
        plan.write_text(json.dumps(PLAN))
        self.log = folder / "ends.jsonl"
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "firmware_sim.cli", "devices", "--plan", str(plan), "--control", "0",
                "--state", str(folder / "nvm"), "--device-log", str(self.log),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        self.control_port = ready["control"]
        self.client = ModbusTcpClient("127.0.0.1", port=ready["lines"]["a"], timeout=PATIENCE_S, retries=0)
        assert self.client.connect()

    def stop(self, number: signal.Signals) -> int:
        self.client.close()
        self.process.send_signal(number)
        status = self.process.wait(timeout=PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def ask(self, **request: Any) -> dict[str, Any]:
        with socket.create_connection(("127.0.0.1", self.control_port), timeout=PATIENCE_S) as connection:
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer: dict[str, Any] = json.loads(connection.makefile().readline())
        return answer

    def open(self) -> None:
        while self.ask(do="state", device="dev_1")["devices"][0]["state"] == "boot":
            time.sleep(0.02)
        frame = Bench().frame("OPEN", **OPEN)
        result = self.client.readwrite_registers(
            read_address=288, read_count=8, write_address=256, values=frame, device_id=1
        )
        assert result.registers[1] == 2

    def wait_for(self, name: str, at_least: int, *, within_s: float = PATIENCE_S) -> dict[str, Any]:
        deadline = time.monotonic() + within_s
        while True:
            (state,) = self.ask(do="state", device="dev_1")["devices"]
            if state[name] >= at_least:
                assert isinstance(state, dict)
                return state
            assert time.monotonic() < deadline, f"{name} is still {state[name]}"
            time.sleep(0.02)

    def ends(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Process]]:
    processes = [Process(tmp_path)]
    yield processes
    for process in processes:
        if process.process.poll() is None:
            process.stop(signal.SIGTERM)


class TestServe:
    def test_gives_water_in_real_time_and_stops_cleanly(self, started: list[Process], tmp_path: Path) -> None:
        (first,) = started
        first.open()
        state = first.wait_for("sess_pulses", 30)
        assert state["state"] == "dispensing"
        first.client.read_input_registers(100, count=28, device_id=1)

        assert first.stop(signal.SIGTERM) == 0

        again = Process(tmp_path)
        started.append(again)
        (end,) = again.ends()
        assert end["reason"] == "power_loss"
        assert end["sess_pulses"] >= state["sess_pulses"]
        (now,) = again.ask(do="state", device="dev_1")["devices"]
        assert (now["boot_id"], now["total_pulses"]) == (2, end["closing_pulses"])

    def test_killed_in_mid_shower_it_ends_the_session_once(self, started: list[Process], tmp_path: Path) -> None:
        first = started[0]
        first.open()
        first.wait_for("sess_pulses", 30)
        assert first.stop(signal.SIGKILL) == -signal.SIGKILL

        for _ in range(2):
            again = Process(tmp_path)
            started.append(again)
            assert [(end["session_u32"], end["reason"]) for end in again.ends()] == [(7, "power_loss")]
            assert again.stop(signal.SIGKILL) == -signal.SIGKILL

    def test_lets_someone_through_a_granted_door(self, started: list[Process]) -> None:
        (first,) = started
        assert first.ask(do="pass", device="dev_d", direction="in")["ok"] is False
        frame = [55, 16, 0, 5, 1, 1, 5_000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xA5C3 ^ 55]
        result = first.client.readwrite_registers(
            read_address=288, read_count=8, write_address=256, values=frame, device_id=9
        )

        assert result.registers[:2] == [55, 2]
        assert first.ask(do="pass", device="dev_d", direction="in") == {"ok": True, "outcome": "passed"}
        assert first.ask(do="state", device="dev_d")["devices"][0]["pass_in"] == 1


class TestSite:
    def test_serves_a_line_on_a_terminal_at_its_baud_rate(self, tmp_path: Path) -> None:
        terminal = tmp_path / "bus0"
        line = {"line_id": "a", "transport": "serial", "terminal": str(terminal), "baud": 9_600}
        plan = {**PLAN, "gateways": [{"gateway_id": "gw", "lines": [line]}]}
        options = Options(
            plan=tmp_path / "plan.json",
            state=tmp_path / "nvm",
            control_port=0,
            device_log=tmp_path / "ends",
            timed=True,
        )

        async def ask() -> tuple[bytes, float]:
            site = Site(plan, options)
            await site.start()
            assert site.terminals == {"a": str(terminal)}
            fd = os.open(terminal, os.O_RDWR | os.O_NOCTTY)
            loop, heard, whole = asyncio.get_running_loop(), bytearray(), asyncio.Event()

            def read() -> None:
                heard.extend(os.read(fd, 256))
                if len(heard) >= 9:
                    whole.set()

            loop.add_reader(fd, read)
            began = loop.time()
            os.write(fd, rtu(9, bytes.fromhex("04 0000 0002")))
            async with asyncio.timeout(PATIENCE_S):
                await whole.wait()
            took_s = loop.time() - began
            loop.remove_reader(fd)
            os.close(fd)
            await site.stop()
            return bytes(heard), took_s

        heard, took_s = asyncio.run(ask())

        assert heard == rtu(9, bytes.fromhex("04 04 43485731"))
        assert took_s >= Timing(baud=9_600).exchange_s(8, 9) - Timing(baud=9_600).t35_s
