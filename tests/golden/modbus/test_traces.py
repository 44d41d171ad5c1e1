"""
Golden traces: the bytes of one conversation with a device, request and response, as recorded and read once.

To record anew after a deliberate change: run this test with CAMPUSTAP_GOLDEN=record, then read the difference.
"""

import json
import os
from pathlib import Path

import pytest

from firmware_sim.pdu import answer
from tests.unit.firmware_sim.rig import OPEN, Bench

FOLDER = Path(__file__).parent


class Trace:
    """Talks to a bench and writes down what is said."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.lines: list[dict[str, str]] = []

    def ask(self, what: str, pdu: bytes) -> None:
        response = answer(self.bench.outlet, pdu, self.bench.now_ms)
        self.lines.append({"what": what, "request": pdu.hex(" ").upper(), "response": response.hex(" ").upper()})

    def read(self, what: str, function: int, address: int, count: int) -> None:
        self.ask(what, bytes([function]) + address.to_bytes(2, "big") + count.to_bytes(2, "big"))

    def command(self, what: str, opcode: str, token: int, **fields: int) -> None:
        words = self.bench.frame(opcode, token=token, **fields)
        data = b"".join(word.to_bytes(2, "big") for word in words)
        self.ask(what, bytes.fromhex("17 0120 0008 0100 0013 26") + data)


def shower() -> list[dict[str, str]]:
    """Return a whole shower: identity, opening, renewal, closing, log, acknowledgement."""
    trace = Trace()
    trace.bench.run(300)
    trace.read("identity", 4, 0, 45)
    trace.ask("set the clock", bytes.fromhex("10 0045 0003 06 6B025A80 01F4"))
    trace.read("flags, idle", 2, 0, 16)
    trace.command("open", "OPEN", 0x0101, **OPEN)
    trace.command("the same again, its reply was lost", "OPEN", 0x0101, **OPEN)
    trace.bench.run(2_000)
    trace.read("status, flowing", 4, 100, 28)
    trace.command("renew the lease", "EXTEND", 0x0102, session=7, lease=60)
    trace.ask("half a command frame", bytes.fromhex("10 0100 0003 06 010300020000"))
    trace.command("close for a hand-over", "CLOSE", 0x0103, session=7, limit_time=13)
    trace.bench.run(1_000)
    trace.read("flags, log pending", 2, 0, 16)
    trace.ask("read the log from 1", bytes.fromhex("17 0190 007D 0042 0002 04 00000001"))
    trace.ask("acknowledge through 4", bytes.fromhex("10 0040 0002 04 00000004"))
    trace.read("flags, idle again", 2, 0, 16)
    trace.read("an undefined address", 4, 128, 1)
    return trace.lines


@pytest.mark.parametrize(("name", "conversation"), [("hwo1_shower", shower)])
def test_device_says_what_it_said(name: str, conversation: object) -> None:
    path = FOLDER / f"{name}.json"
    said = conversation()  # type: ignore[operator]
    if os.environ.get("CAMPUSTAP_GOLDEN") == "record":
        path.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")

    recorded = json.loads(path.read_text(encoding="utf-8"))

    assert [line["what"] for line in said] == [line["what"] for line in recorded]
    for now, before in zip(said, recorded, strict=True):
        assert now == before
