"""A backend that believes everything, for tests of the gateway: it records what comes up and signs what goes down."""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from paho.mqtt.enums import CallbackAPIVersion

from gateway.contract import topics
from gateway.contract.commands import Body, Command
from gateway.contract.events import Event, JournalRecord
from gateway.contract.messages import (
    Acknowledged,
    CommandMessage,
    CredentialPresented,
    Decision,
    EventBatch,
    HealthReport,
    Hello,
    TelemetryBatch,
)
from gateway.contract.signing import Signed, sign, verify
from gateway.kit import new_id, now_ms
from tests.patience import PATIENCE_S

KID = "school-1"
T = TypeVar("T")


class FakeBackend:
    """Listens to one gateway. Acknowledges contiguous journal records unless `acks` is off."""

    def __init__(
        self,
        *,
        port: int,
        tenant: str,
        gateway: str,
        key: Ed25519PrivateKey,
        gateway_key: Ed25519PublicKey,
    ) -> None:
        self.tenant, self.gateway, self.key, self.gateway_key = tenant, gateway, key, gateway_key
        self.acks = True
        self.records: dict[tuple[str, int], Signed] = {}
        self.received: list[JournalRecord] = []
        self.repeats = 0
        self.presented: list[CredentialPresented] = []
        self.samples: list[Any] = []
        self.health: list[HealthReport] = []
        self.hellos: list[Hello] = []
        self.gone = 0
        self.decide: Callable[[CredentialPresented], Decision | None] = lambda question: None
        self._sequence = 0
        self._news = threading.Condition()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="fake-backend", protocol=mqtt.MQTTv5)
        self._client.on_connect = lambda c, u, f, r, p: c.subscribe(f"ct/v1/{tenant}/{gateway}/up/#", 1)
        self._client.on_message = self._message
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port, 30)
        self._client.loop_start()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    # -- what comes up

    def _message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        kind = topics.parse(message.topic).kind
        with self._news:
            if kind == topics.Up.EVENT:
                self._events(msgspec.json.decode(message.payload, type=EventBatch))
            elif kind == topics.Up.PRESENT:
                question = self._inside(message.payload, CredentialPresented)
                self.presented.append(question)
                answer = self.decide(question)
                if answer is not None:
                    self.send(topics.Down.DECISION, msgspec.json.encode(answer))
            elif kind == topics.Up.TELEMETRY:
                self.samples += msgspec.json.decode(message.payload, type=TelemetryBatch).samples
            elif kind == topics.Up.HEALTH:
                self.health.append(self._inside(message.payload, HealthReport))
            elif kind == topics.Up.HELLO:
                self.hellos.append(self._inside(message.payload, Hello))
            else:
                self.gone += 1
            self._news.notify_all()

    def _inside(self, payload: bytes | bytearray, kind: type[T]) -> T:
        """Return what a gateway signed."""
        return verify(msgspec.json.decode(payload, type=Signed), keys={self.gateway: self.gateway_key}, as_type=kind)

    def _events(self, batch: EventBatch) -> None:
        epoch = ""
        for signed in batch.records:
            record = msgspec.json.decode(signed.payload, type=JournalRecord)
            epoch = record.epoch
            if (record.epoch, record.sequence) in self.records:
                self.repeats += 1
                continue
            self.records[record.epoch, record.sequence] = signed
            self.received.append(record)
        if self.acks:
            through = 0
            while (epoch, through + 1) in self.records:
                through += 1
            ack = Acknowledged(epoch=epoch, acked_through=through)
            self.send(topics.Down.ACK, msgspec.json.encode(sign(ack, key=self.key, kid=KID)))

    def events(self, kind: type[Any] | None = None) -> list[Any]:
        """Return what was journaled, in the order it first arrived."""
        with self._news:
            return [r.event for r in self.received if kind is None or isinstance(r.event, kind)]

    def wait(self, condition: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
        """Return the first truth of a condition, looked at whenever news arrives."""
        deadline = time.monotonic() + timeout_s
        with self._news:
            while True:
                result = condition()
                if result:
                    return result
                left = deadline - time.monotonic()
                assert left > 0, f"waited in vain; events: {[r.event for r in self.received][-12:]}"
                self._news.wait(min(left, 0.1))

    def wait_for_event(self, kind: type[Any], timeout_s: float = PATIENCE_S, **fields: Any) -> Any:
        """Return the first journaled event of a kind with these fields."""

        def found() -> Event | None:
            return next(
                (e for e in self.events(kind) if all(getattr(e, name) == value for name, value in fields.items())),
                None,
            )

        return self.wait(found, timeout_s)

    # -- what goes down

    def send(self, kind: topics.Down, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topics.down(self.tenant, self.gateway, kind), payload, qos=1, retain=retain)

    def signed(self, device: str, body: Body, /, **changes: Any) -> Signed:
        """Return a signed command with the device's next sequence; `changes` spoil or pin its fields."""
        self._sequence += 1
        key = changes.pop("key", self.key)
        now = now_ms()
        command = Command(
            cmd_id=new_id("cmd"),
            tenant=self.tenant,
            gateway=self.gateway,
            device=device,
            sequence=self._sequence,
            issued_at_ms=now,
            not_after_ms=now + 20_000,
            body=body,
        )
        return sign(msgspec.structs.replace(command, **changes), key=key, kid=KID)

    def command(self, device: str, body: Body, /, *, retain: bool = False, **changes: Any) -> Signed:
        """Sign and send a command."""
        signed = self.signed(device, body, **changes)
        self.send_signed(signed, retain=retain)
        return signed

    def send_signed(self, signed: Signed, *, retain: bool = False) -> None:
        self.send(topics.Down.COMMAND, msgspec.json.encode(CommandMessage(signed=signed)), retain=retain)
