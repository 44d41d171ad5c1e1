"""One run in which every invariant is broken on purpose, from outside: each is named, and the run can be repeated."""

import asyncio
import json
import socket
import sqlite3
import struct
from pathlib import Path
from typing import Any

import pytest

from firmware_sim import cli
from firmware_sim.neighbor import TENANT_ID as NEXT_DOOR
from firmware_sim.scenarios.running import Run
from firmware_sim.stack import Stack
from tests.unit.firmware_sim.rig import OPEN, Bench

_SCENARIO = """\
[scenario]
title = "one shower, and then everything is broken"

[school]
outlets_per_floor = 1
students = 2

[people]
showers = 1
at_once = 1
card_share = 0.0
endings = { stop = 1 }

[ends]
invariants = ["books_balance", "captured_within_hold", "billed_as_counted", "every_pulse_explained", "valves_shut"]
settle_within_s = 1
"""
#: what is done to the database, and which invariant it breaks
_SABOTAGE = {
    "books_balance": "UPDATE ledger_accounts SET credits_posted = credits_posted + 1 WHERE kind = 'water_revenue'",
    "captured_within_hold": "UPDATE water_sessions SET hold_minor = captured_minor - 1 WHERE captured_minor > 0"
    " AND tenant_id <> 'nhu'",
    "billed_as_counted": "UPDATE water_sessions SET closing_pulses = closing_pulses + 5 WHERE tenant_id <> 'nhu'",
    "one_price": "UPDATE water_sessions SET charge_minor = charge_minor + 100 WHERE tenant_id <> 'nhu'",
    "charged_once": "INSERT INTO payment_authorizations SELECT tenant_id, 'auth_twin', water_session_id, cardholder_id,"
    " method, amount_minor, captured_minor, state, reason, created_at, expires_at, 'cap_twin', late_success,"
    " provider_ref FROM payment_authorizations WHERE captured_minor > 0 AND tenant_id <> 'nhu' LIMIT 1",
    "nothing_lost": "UPDATE inbox_cursors SET acked_through = acked_through - 1 WHERE tenant_id <> 'nhu'",
    "tenants_apart": "UPDATE water_sessions SET usage_note = 'dev_b1_101' WHERE tenant_id = 'nhu'",
}


def open_past_the_gateway(stack: Stack) -> None:
    """Write an opening of nobody's to the outlet, as somebody could who clamps two wires to the line."""
    line = stack.plan["gateways"][0]["lines"][0]
    words = Bench().frame("OPEN", **{**OPEN, "session": 4_711})
    pdu = struct.pack(">BHHB", 16, 256, len(words), 2 * len(words)) + struct.pack(f">{len(words)}H", *words)
    with socket.create_connection((line["host"], line["port"]), timeout=10) as bus:
        bus.sendall(struct.pack(">HHHB", 1, 0, len(pdu) + 1, 1) + pdu)
        assert bus.recv(64)[7] == 16, "the outlet takes the frame"


class TestSeededViolations:
    def test_are_all_named_with_the_command_that_repeats_them(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert NEXT_DOOR == "nhu"
        scenario, report_file = tmp_path / "broken.toml", tmp_path / "report.json"
        scenario.write_text(_SCENARIO, encoding="utf-8")
        ending = Run._end

        async def sabotaged(self: Run, coming: Any) -> Any:
            await self._follower.round()
            with sqlite3.connect(self._stack.folder / "campustap.db", timeout=30) as db:
                for statement in _SABOTAGE.values():
                    assert db.execute(statement).rowcount > 0, statement
            await self._follower.round()  # at once, before the next record moves the cursor on again
            open_past_the_gateway(self._stack)
            while not any("without a command" in each for each in self._follower.auditor.found):
                await asyncio.sleep(0.05)
                await self._follower.round()
            return await ending(self, coming)

        monkeypatch.setattr(Run, "_end", sabotaged)
        status = cli.main(["run", str(scenario), "--seed", "5", "--headless", "--report", str(report_file)])

        said = capsys.readouterr().out
        assert report_file.exists(), said
        report = json.loads(report_file.read_text(encoding="utf-8"))
        broken = {name for name, each in report["invariants"].items() if not each["holds"]}
        assert status == 1
        assert broken >= {*_SABOTAGE, "every_pulse_explained", "valves_shut"}, said
        assert "opens for session 4711 without a command that was ever delivered to it" in said
        assert f"Again: campustap-sim run {scenario} --seed 5" in said
