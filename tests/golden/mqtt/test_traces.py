"""
Golden traces of the MQTT side: what gateway and backend say to each other, byte for byte, as recorded and read once.

Clock, ids and keys are seeded, and Ed25519 signs the same bytes the same way, so nothing has to be left out. To record
anew after a deliberate change: run this test with CAMPUSTAP_GOLDEN=record (`make golden`), then read the difference.
"""

import asyncio
import json
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway import kit
from gateway.contract import CONTRACT_VERSION, topics
from gateway.contract.commands import Body, CloseValve, Command, OpenValve
from gateway.contract.messages import Acknowledged, CommandMessage, Decision
from gateway.contract.signing import sign
from gateway.devices.ports import Mail
from gateway.devices.registry import Registry
from gateway.kit import Trace
from gateway.sessions.controller import OutletController
from gateway.sessions.device import Surroundings
from gateway.uplink.client import Received
from gateway.uplink.inbox import Inbox
from gateway.uplink.outbox import Outbox, hello_of
from gateway.uplink.own_faults import OwnFaults
from gateway.uplink.state import DeviceMemory
from gateway.uplink.store import Store
from gateway.uplink.verification import Audience
from tests.fakes.gateway_port import FakeOutlet

FOLDER = Path(__file__).parent
TENANT, GATEWAY, DEVICE, KID = "school", "gw_west", "dev_o1", "school-1"
GATEWAY_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SCHOOL_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
BEGIN_MS = 1_795_348_800_000


class SeededSecrets:
    """Stands in for the system's randomness where ids are made."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def randbits(self, count: int) -> int:
        return self._random.getrandbits(count)

    def randbelow(self, end: int) -> int:
        return self._random.randrange(end)


class Conversation:
    """A gateway with one outlet in memory, and the broker as a list of what was said."""

    def __init__(self, folder: Path) -> None:
        self.now_ms, self.connected = BEGIN_MS, True
        self.lines: list[dict[str, str]] = []
        self.what = ""
        self._sequence = 0
        self.store = Store(folder / "gateway.sqlite", tenant=TENANT, gateway=GATEWAY, key=GATEWAY_KEY)
        self.outbox = Outbox(self, self.store, tenant=TENANT, gateway=GATEWAY, key=GATEWAY_KEY, resend_s=60)
        self.outlet = FakeOutlet()
        self.controller = OutletController(
            DEVICE,
            self.outlet,
            Surroundings(
                store=self.store,
                registry=Registry([DEVICE]),
                uplink=self.outbox,
                clock=self.clock,
                trace=Trace(None),
            ),
            DeviceMemory(device_id=DEVICE),
            [],
            period_s=0.01,
            meter_period_s=3_600,
        )
        self.inbox = Inbox(
            audience=Audience(tenant=TENANT, gateway=GATEWAY, devices=frozenset({DEVICE})),
            keys={KID: SCHOOL_KEY.public_key()},
            controllers={DEVICE: self.controller},
            store=self.store,
            outbox=self.outbox,
            own_faults=OwnFaults(self.store, clock=self.clock, rows_max=1_000, records_per_session=4),
            clock=self.clock,
            trace=Trace(None),
            not_before_ms=0,
        )

    def clock(self) -> int:
        return self.now_ms

    # -- the broker

    def publish(self, topic: str, payload: bytes, **options: Any) -> bool:
        """Write down what goes up."""
        if self.connected:
            self._say("up", topic, payload)
        return self.connected

    def _say(self, direction: str, topic: str, payload: bytes) -> None:
        self.lines.append({"what": self.what, "direction": direction, "topic": topic, "payload": payload.decode()})

    async def down(self, what: str, kind: topics.Down, message: msgspec.Struct) -> None:
        """Let the backend say something, and the gateway do what it calls for."""
        self.what = what
        topic, payload = topics.down(TENANT, GATEWAY, kind), msgspec.json.encode(message)
        self._say("down", topic, payload)
        await self.inbox.handle(Received(topic=topic, payload=payload, retained=False, correlation=b""))
        await asyncio.gather(*self.inbox._tasks)
        while not self.controller._orders.empty():
            await self.controller.obey(self.controller._orders.get_nowait())
        await self.sent()

    async def sent(self) -> None:
        """Send what waits."""
        await self.outbox._send_some()

    # -- what they say

    async def hello(self, what: str) -> None:
        self.what = what
        said = await hello_of(
            self.store,
            gateway=GATEWAY,
            at_ms=self.now_ms,
            software="campustap-gateway",
            contract=CONTRACT_VERSION,
            maps={"chw.hwo1": "1.0"},
            devices=[DEVICE],
        )
        self.outbox.hello(said)

    async def look(self, what: str) -> None:
        """Let a second pass, and have the gateway look at its outlet."""
        self.what, self.now_ms = what, self.now_ms + 1_000
        self.controller._looked_at = self.controller._sampled_at = -1e9
        await self.controller.cycle()
        await self.sent()

    def signed(
        self, body: Body, *, sequence: int = 0, not_after_ms: int = 0, key: Ed25519PrivateKey = SCHOOL_KEY
    ) -> Any:
        self._sequence += 1
        command = Command(
            cmd_id=f"cmd_{self._sequence}",
            tenant=TENANT,
            gateway=GATEWAY,
            device=DEVICE,
            sequence=sequence or self._sequence,
            issued_at_ms=self.now_ms,
            not_after_ms=not_after_ms or self.now_ms + 20_000,
            body=body,
        )
        return CommandMessage(signed=sign(command, key=key, kid=KID))

    async def acknowledge(self, what: str) -> None:
        head = await self.store.read(lambda tx: tx.journal.head())
        ack = Acknowledged(epoch=head.epoch, acked_through=head.sequence)
        await self.down(what, topics.Down.ACK, sign(ack, key=SCHOOL_KEY, kid=KID))

    async def telemetry(self) -> None:
        """Send the samples at once, and not when their second has passed."""
        sending = asyncio.create_task(self.outbox.run_telemetry())
        before = len(self.lines)
        while len(self.lines) == before:
            await asyncio.sleep(0.01)
        sending.cancel()


def opening(session: str) -> OpenValve:
    return OpenValve(water_session_id=session, volume_limit_ml=40_000, duration_limit_s=600)


async def shower(say: Conversation) -> None:
    """A card, an opening, a look at the water, a close, and the record that is billed."""
    await say.hello("the gateway is born")
    await say.look("its outlet is read")
    say.outlet.box.append(
        Mail(sequence=1, source="UID", value="04A1B2C3", time_s=say.now_ms // 1_000, stale=False, direction="in")
    )
    await say.look("a card is held to the reader")
    asked = next(iter(say.outbox._questions))
    decision = Decision(request_id=asked, device=DEVICE, granted=True, reason="ok", display="¥50.00")
    await say.down("the backend knows the card", topics.Down.DECISION, decision)
    await say.down("and orders water", topics.Down.COMMAND, say.signed(opening("ws_1")))
    say.outlet.run_water(900, elapsed_s=15)
    await say.look("water runs")
    await say.telemetry()
    await say.down(
        "the card again: close",
        topics.Down.COMMAND,
        say.signed(CloseValve(water_session_id="ws_1", stop_reason="card")),
    )
    await say.look("the outlet's log says how it ended")
    await say.acknowledge("the backend has all of it")


async def refused_commands(say: Conversation) -> None:
    """Commands that are late, old, forged, or come while somebody showers."""
    await say.look("its outlet is read")
    late = say.signed(opening("ws_late"), not_after_ms=say.now_ms)
    await say.down("a command that comes too late", topics.Down.COMMAND, late)
    first = say.signed(opening("ws_1"))
    await say.down("one that fits", topics.Down.COMMAND, first)
    await say.down("the same once more", topics.Down.COMMAND, first)
    await say.down("one with an old number", topics.Down.COMMAND, say.signed(opening("ws_old"), sequence=1))
    forged = say.signed(opening("ws_forged"), key=GATEWAY_KEY)
    await say.down("one that the school did not sign", topics.Down.COMMAND, forged)
    await say.down("one for an outlet in use", topics.Down.COMMAND, say.signed(opening("ws_busy")))


async def offline_replay(say: Conversation) -> None:
    """The link is cut while water runs; the end is told when it is back, and once more until it is acknowledged."""
    await say.hello("the gateway is born")
    await say.look("its outlet is read")
    await say.down("an opening", topics.Down.COMMAND, say.signed(opening("ws_1")))
    say.connected = False
    say.outlet.run_water(450, elapsed_s=10)
    await say.look("nobody hears")
    say.outlet.end("VOLUME_LIMIT")
    await say.look("nobody hears")
    say.outlet.now = replace(say.outlet.now, faults=frozenset({"LOW_SUPPLY"}))
    await say.look("nobody hears")
    say.connected = True
    await say.hello("the link is back")
    say.outbox.restart()
    await say.sent()
    say.outbox.restart()
    say.what = "not acknowledged: all of it again"
    await say.sent()
    await say.acknowledge("the backend has all of it")


@pytest.mark.parametrize("conversation", [shower, refused_commands, offline_replay], ids=lambda each: each.__name__)
def test_both_say_what_they_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conversation: Callable[[Conversation], Awaitable[None]]
) -> None:
    monkeypatch.setattr(kit, "secrets", SeededSecrets(7))
    monkeypatch.setattr(kit, "now_ms", lambda: BEGIN_MS)
    say = Conversation(tmp_path)
    asyncio.run(conversation(say))  # type: ignore[arg-type]
    path = FOLDER / f"{conversation.__name__}.json"
    if os.environ.get("CAMPUSTAP_GOLDEN") == "record":
        path.write_text(json.dumps(say.lines, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    recorded = json.loads(path.read_text(encoding="utf-8"))

    assert [line["what"] for line in say.lines] == [line["what"] for line in recorded]
    for now, before in zip(say.lines, recorded, strict=True):
        assert now == before
