"""A replayed, late, unsigned, altered, retained or wrongly addressed command is refused and reported; nothing opens."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import paho.mqtt.client as mqtt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from firmware_sim.plan import TENANT_ID
from gateway.contract.commands import Command, OpenValve
from gateway.contract.events import CommandRefused, JournalRecord
from gateway.contract.messages import CommandMessage, EventBatch
from gateway.contract.signing import Signed, load_or_create_key, sign
from gateway.contract.topics import Down, Up, down, up
from tests.e2e.journeys.school import School, eventually
from tests.patience import PATIENCE_S

_OUTLET = "dev_b2_104"
_GATEWAY = "gw_b2"


class Wire:
    """A client on the broker that hears everything and can say anything."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, bytes]] = []
        ready = threading.Event()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="stranger", protocol=mqtt.MQTTv5)
        self._client.on_message = lambda _client, _data, message: self.heard.append((message.topic, message.payload))
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.connect("127.0.0.1", port, 30)
        self._client.loop_start()
        self._client.subscribe("ct/v1/#", 1)
        assert ready.wait(PATIENCE_S)

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, 1, retain).wait_for_publish(PATIENCE_S)

    def refusals(self) -> list[CommandRefused]:
        found = []
        for topic, payload in list(self.heard):
            if topic == up(TENANT_ID, _GATEWAY, Up.EVENT):
                for signed in msgspec.json.decode(payload, type=EventBatch).records:
                    event = msgspec.json.decode(signed.payload, type=JournalRecord).event
                    if isinstance(event, CommandRefused):
                        found.append(event)
        return found

    def on(self, topic: str) -> list[bytes]:
        return [payload for heard, payload in list(self.heard) if heard == topic]

    def close(self) -> None:
        self._client.loop_stop()
        self._client.disconnect()


@pytest.fixture
def wire(school: School) -> Iterator[Wire]:
    made = Wire(school.stack.broker_port)
    yield made
    made.close()


_DOWN = down(TENANT_ID, _GATEWAY, Down.COMMAND)


def _tenant_key(school: School) -> tuple[str, Ed25519PrivateKey]:
    path = next(path for path in Path(school.stack.folder / "secrets").iterdir() if "command" in path.name)
    return f"{TENANT_ID}-1", load_or_create_key(path)


def _command(school: School, **change: object) -> Command:
    now_ms = time.time_ns() // 1_000_000
    fields: dict[str, object] = {
        "cmd_id": f"cmd_{time.time_ns()}", "tenant": TENANT_ID, "gateway": _GATEWAY, "device": _OUTLET,
        "sequence": 1_000_000_000, "issued_at_ms": now_ms, "not_after_ms": now_ms + 20_000,
        "body": OpenValve(water_session_id=f"ws_{time.time_ns()}", volume_limit_ml=10_000, duration_limit_s=60),
    } | change  # fmt: skip
    return Command(**fields)  # type: ignore[arg-type]


def _message(signed: Signed) -> bytes:
    return msgspec.json.encode(CommandMessage(signed=signed))


class TestForgedCommands:
    @pytest.mark.parametrize(
        ("code", "make"),
        [
            ("unsigned", lambda s, sign_it: msgspec.structs.replace(sign_it(_command(s)), signature="")),
            ("bad_signature", lambda s, sign_it: msgspec.structs.replace(sign_it(_command(s)), payload="{}")),
            ("unknown_key", lambda s, sign_it: msgspec.structs.replace(sign_it(_command(s)), kid="somebody")),
            ("expired", lambda s, sign_it: sign_it(_command(s, issued_at_ms=1_000, not_after_ms=20_000))),
            ("wrong_audience", lambda s, sign_it: sign_it(_command(s, gateway="gw_b1", device="dev_b1_101"))),
            ("wrong_audience", lambda s, sign_it: sign_it(_command(s, tenant="other"))),
            ("unknown_device", lambda s, sign_it: sign_it(_command(s, device="dev_b1_101"))),
            ("stale_sequence", lambda s, sign_it: sign_it(_command(s, sequence=0))),
            ("malformed", lambda s, sign_it: sign_it(Signed(kid="", payload="", signature=""))),
        ],
    )
    def test_open_nothing_and_are_reported(
        self, school: School, wire: Wire, code: str, make: Callable[..., Signed]
    ) -> None:
        kid, key = _tenant_key(school)
        signed = make(school, lambda message: sign(message, key=key, kid=kid))

        wire.say(_DOWN, _message(signed))

        eventually("reported", lambda: code in [str(refusal.code) for refusal in wire.refusals()])
        assert not school.valve_open(_OUTLET)

    @pytest.mark.parametrize("payload", [b"", b"\xff\xfe", b"{", b"[]", b'{"signed": 1}', b"x" * 4_000])
    def test_that_are_no_commands_harm_nothing(self, school: School, wire: Wire, payload: bytes) -> None:
        wire.say(_DOWN, payload)

        student = school.fresh()
        session_id = school.started(student, _OUTLET)
        school.stop(student, session_id)
        assert school.settled(student, session_id)


class TestReplayedCommand:
    def test_opens_nothing_after_its_session(self, school: School, wire: Wire) -> None:
        student = school.fresh()
        session_id = school.started(student, _OUTLET)
        opening = next(payload for payload in wire.on(_DOWN) if session_id.encode() in payload)
        school.stop(student, session_id)
        bill = school.settled(student, session_id)

        for _ in range(3):
            wire.say(_DOWN, opening)
        other = school.fresh()
        next_id = school.started(other, _OUTLET)  # what was said before it has been dealt with by now
        school.stop(other, next_id)
        school.settled(other, next_id)

        assert school.session(student, session_id) == bill
        assert not school.valve_open(_OUTLET)

    def test_changes_nothing_while_its_session_runs(self, school: School, wire: Wire) -> None:
        student = school.fresh()
        session_id = school.started(student, _OUTLET)
        opening = next(payload for payload in wire.on(_DOWN) if session_id.encode() in payload)

        for _ in range(3):
            wire.say(_DOWN, opening)
        counted = school.device(_OUTLET)["sess_pulses"]
        eventually("more water", lambda: school.device(_OUTLET)["sess_pulses"] > counted + 100)
        school.stop(student, session_id)

        assert school.settled(student, session_id)["state"] == "settled"


class TestRetainedCommand:
    def test_is_refused(self, school: School, wire: Wire) -> None:
        kid, key = _tenant_key(school)
        school.stack.parts[_GATEWAY].kill()
        wire.say(_DOWN, _message(sign(_command(school), key=key, kid=kid)), retain=True)

        school.restart(_GATEWAY)

        eventually("reported", lambda: "retained" in [str(refusal.code) for refusal in wire.refusals()])
        wire.say(_DOWN, b"", retain=True)
        assert not school.valve_open(_OUTLET)
        school.devices_online()


class TestEventsSaidAgain:
    def test_change_no_bill(self, school: School, wire: Wire) -> None:
        student = school.fresh()
        session_id = school.started(student, _OUTLET)
        school.stop(student, session_id)
        bill = school.settled(student, session_id)
        topic = up(TENANT_ID, _GATEWAY, Up.EVENT)
        said = wire.on(topic)
        assert said

        for payload in [*reversed(said), *said]:
            wire.say(topic, payload)
        again = school.fresh()
        next_id = school.started(again, _OUTLET)
        school.stop(again, next_id)
        school.settled(again, next_id)

        assert school.session(student, session_id) == bill
        assert school.report().violations == []

    @pytest.mark.parametrize(
        "payload", [b"", b"\x00", b"{}", b'{"records":[{"kid":"x","payload":"{}","signature":""}]}']
    )
    def test_that_are_malformed_stop_nothing(self, school: School, wire: Wire, payload: bytes) -> None:
        for kind in Up:
            wire.say(up(TENANT_ID, _GATEWAY, kind) if kind is not Up.GONE else up(TENANT_ID, "gw_x", kind), payload)

        student = school.fresh()
        session_id = school.started(student, _OUTLET)
        school.stop(student, session_id)
        assert school.settled(student, session_id)


def test_the_broker_listens_on_this_machine_only(school: School) -> None:
    hostname_address = socket.gethostbyname(socket.gethostname())
    if hostname_address.startswith("127."):
        return
    with pytest.raises(OSError):
        socket.create_connection((hostname_address, school.stack.broker_port), timeout=1)
