"""
The one importer of paho in the backend: a connection that is driven by its owner's loop and acknowledges by hand.

A message is acknowledged after the commit it led to. Nothing rests on the broker's memory: what was not acknowledged
when a connection is lost is dropped here, and the gateway's journal sends it again. So the broker's session ends with
the connection, and a worker that died leaves no queue behind that the shared subscription would go on filling.

Acknowledgements leave in the order in which the messages came, whatever order they are dealt with in: MQTT demands it
(5.0, section 4.6), and a broker may end a connection on which they do not.
"""

import logging
import secrets
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from backend.config import ConfigError

log = logging.getLogger(__name__)

KEEPALIVE_S = 15
RECEIVE_MAX = 1_000
#: a connection whose subscriptions are not confirmed by then is given up for a new one
SUBSCRIBE_WITHIN_S = 10.0
_BACK_OFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_DRAIN_ROUNDS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that waits to be acknowledged."""

    topic: str
    payload: bytes
    response_topic: str = ""
    correlation: bytes = b""
    retained: bool = False
    mid: int = 0
    qos: int = 0
    #: number of the connection it came on; its message id means nothing on another
    connection: int = 0


class _PromptClient(mqtt.Client):
    """A client that acknowledges TCP segments at once: a delayed one costs 44 ms a round trip."""

    def _sock_recv(self, bufsize: int) -> bytes:
        data = super()._sock_recv(bufsize)
        if hasattr(socket, "TCP_QUICKACK") and isinstance(self._sock, socket.socket):
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return data


def _tls(folder: Path) -> ssl.SSLContext:
    """
    Return how we show the broker who we are, and know that it is ours.

    :raises ConfigError: if the files cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=str(folder / "broker-ca.pem"))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(folder / "server.cert.pem", folder / "server.key.pem")
    except OSError as error:
        raise ConfigError(
            f"CAMPUSTAP_BROKER_TLS: {folder}: {error}; `campustap broker files` writes what belongs there"
        ) from error
    return context


def _no_delay(_client: mqtt.Client, _userdata: Any, sock: Any) -> None:
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@dataclass(slots=True)
class BrokerLink:
    """One connection to the broker, made again with back-off when it is lost. Not for use by several threads."""

    host: str
    port: int
    filters: Sequence[str]
    name: str = "worker"
    #: folder of certificates; None is no TLS
    tls: Path | None = None
    clock: Callable[[], float] = time.monotonic
    #: connections made so far
    connection: int = 0
    _client: mqtt.Client | None = None
    _subscribed: bool = False
    _lost: bool = False
    _incoming: deque[Incoming] = field(default_factory=deque)
    #: message ids as they came and not acknowledged to the broker yet, and which of them are dealt with
    _unacked: deque[int] = field(default_factory=deque)
    _dealt_with: set[int] = field(default_factory=set)
    _tags: dict[int, Any] = field(default_factory=dict)
    _delivered: list[Any] = field(default_factory=list)
    _failures: int = 0
    _try_at: float = 0.0
    _confirm_by: float = 0.0

    @property
    def is_up(self) -> bool:
        """Return whether the broker has confirmed our subscriptions."""
        return self._client is not None and self._subscribed and not self._lost

    def poll(self, timeout_s: float, limit: int) -> list[Incoming]:
        """
        Return the messages that are there, at most `limit`; wait at most `timeout_s` for the first, never to fill up.

        Makes the connection when there is none and its back-off has passed.
        """
        if self._client is None or self._lost:
            self._reconnect(timeout_s)
            return []
        self._step(timeout_s)
        for _ in range(_DRAIN_ROUNDS_MAX):
            before = len(self._incoming)
            if self._lost or before >= limit or before == 0:
                break
            self._step(0.0)
            if len(self._incoming) == before:
                break
        return [self._incoming.popleft() for _ in range(min(limit, len(self._incoming)))]

    def _step(self, timeout_s: float) -> None:
        assert self._client is not None
        code = self._client.loop(timeout_s)
        if code != mqtt.MQTT_ERR_SUCCESS:
            self._drop(mqtt.error_string(code))
        elif not self._subscribed and self.clock() > self._confirm_by:
            self._drop("subscriptions not confirmed")

    def _drop(self, reason: str) -> None:
        if not self._lost:
            log.warning("broker connection lost", extra={"broker": f"{self.host}:{self.port}", "reason": reason})
        self._lost, self._subscribed = True, False
        self._forget()
        self._try_at = self.clock() + _BACK_OFF_S[0]

    def _reconnect(self, timeout_s: float) -> None:
        wait_s = self._try_at - self.clock()
        if wait_s > 0:
            time.sleep(min(wait_s, timeout_s))
            return
        self.close()
        client = _PromptClient(
            CallbackAPIVersion.VERSION2,
            client_id=f"campustap-{self.name}-{secrets.token_hex(6)}",
            protocol=mqtt.MQTTv5,
            manual_ack=True,
        )
        client.max_queued_messages_set(10_000)
        client.max_inflight_messages_set(100)
        if self.tls is not None:
            client.tls_set_context(_tls(self.tls))
        client.on_socket_open = _no_delay
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 0
        properties.ReceiveMaximum = RECEIVE_MAX
        self.connection += 1
        try:
            client.connect(self.host, self.port, KEEPALIVE_S, clean_start=True, properties=properties)
        except OSError as error:
            self._try_at = self.clock() + _BACK_OFF_S[min(self._failures, len(_BACK_OFF_S) - 1)]
            self._failures += 1
            log.warning("broker not reached", extra={"broker": f"{self.host}:{self.port}", "reason": str(error)})
            return
        self._client, self._lost = client, False
        self._confirm_by = self.clock() + SUBSCRIBE_WITHIN_S

    def _on_connect(
        self, client: mqtt.Client, _userdata: Any, _flags: Any, code: ReasonCode, _properties: Properties | None
    ) -> None:
        if code.is_failure:
            log.error("broker refused the connection", extra={"reason": str(code)})
            self._failures += 1
            return
        if self.filters:
            client.subscribe([(name, SubscribeOptions(qos=1)) for name in self.filters])
        else:
            self._subscribed, self._failures = True, 0

    def _on_subscribe(
        self, _client: mqtt.Client, _userdata: Any, _mid: int, codes: list[ReasonCode], _properties: Properties | None
    ) -> None:
        refused = [str(code) for code in codes if code.is_failure]
        if refused:
            log.error("broker refused a subscription", extra={"reason": ", ".join(refused)})
            return
        self._subscribed, self._failures = True, 0

    def _on_message(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        properties = message.properties
        if message.qos > 0:
            self._unacked.append(message.mid)
        self._incoming.append(
            Incoming(
                topic=message.topic,
                payload=bytes(message.payload),
                response_topic=getattr(properties, "ResponseTopic", ""),
                correlation=getattr(properties, "CorrelationData", b""),
                retained=message.retain,
                mid=message.mid,
                qos=message.qos,
                connection=self.connection,
            )
        )

    def _on_publish(
        self, _client: mqtt.Client, _userdata: Any, mid: int, code: ReasonCode, _properties: Properties | None
    ) -> None:
        tag = self._tags.pop(mid, None)
        if code.is_failure:
            log.error("broker refused a message", extra={"reason": str(code)})
        elif tag is not None:
            self._delivered.append(tag)

    def ack(self, messages: Sequence[Incoming]) -> None:
        """
        Acknowledge messages that are dealt with; those of an earlier connection are forgotten.

        One that came after others waits for them.
        """
        if self._client is None or self._lost:
            return
        own = [message for message in messages if message.connection == self.connection and message.qos > 0]
        self._dealt_with.update(message.mid for message in own)
        while self._unacked and self._unacked[0] in self._dealt_with:
            mid = self._unacked.popleft()
            self._dealt_with.remove(mid)
            self._client.ack(mid, 1)

    def _forget(self) -> None:
        """Forget what belongs to a connection that is over."""
        self._incoming.clear()
        self._unacked.clear()
        self._dealt_with.clear()
        self._tags.clear()

    def publish(self, topic: str, payload: bytes, *, expiry_s: int, correlation: bytes = b"", tag: Any = None) -> bool:
        """
        Hand a message to the broker with quality 1 and return whether it was taken on its way.

        `tag` comes back from `delivered` once the broker has it.
        """
        if self._client is None or self._lost:
            return False
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.MessageExpiryInterval = max(1, expiry_s)
        if correlation:
            properties.CorrelationData = correlation
        info = self._client.publish(topic, payload, qos=1, properties=properties)
        if info.rc not in (mqtt.MQTT_ERR_SUCCESS, mqtt.MQTT_ERR_QUEUE_SIZE):
            self._drop(mqtt.error_string(info.rc))
            return False
        if tag is not None:
            self._tags[info.mid] = tag
        return info.rc == mqtt.MQTT_ERR_SUCCESS

    def delivered(self) -> list[Any]:
        """Return the tags of messages the broker took since the last call."""
        taken, self._delivered = self._delivered, []
        return taken

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop(0.0)
        self._client, self._subscribed, self._lost = None, False, False
        self._forget()
