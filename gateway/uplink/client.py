"""
The one door to paho. MQTT 5 with a session that outlives the connection; the network has its own thread, everything
else happens on the event loop.
"""

import asyncio
import logging
import random
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.config import ConfigRefused

log = logging.getLogger(__name__)

KEEPALIVE_S = 15
SESSION_EXPIRY_S = 24 * 3600
QUEUED_MAX = 500
RECONNECT_S_MAX = 10.0
#: DISCONNECT reason of MQTT 5: another client came with our name
TAKEN_OVER = 0x8E
#: after each takeover we come back later, so that two boxes with one certificate do not storm the broker
TAKEOVER_WAIT_S = (2.0, 5.0, 15.0, 30.0, 60.0)
#: a connection that lasted so long was not one of a storm
STEADY_S = 90.0
#: not every broker gives the reason; so many connections in a row that ended so soon have no better one
SHORT_S, SHORT_MAX = 15.0, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message as it came in."""

    topic: str
    payload: bytes
    retained: bool
    correlation: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker is and what it should say when we vanish. `tls` has the files `ca`, `cert` and `key`."""

    host: str
    port: int
    client_id: str
    subscription: str
    will_topic: str
    will_payload: bytes
    tls: dict[str, str]


def tls_context(files: dict[str, str]) -> ssl.SSLContext:
    """
    Return how we show the broker who we are (`cert`, `key`), and whom we believe to be the broker (`ca`).

    :raises ConfigRefused: if a file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=files.get("ca"))
    except OSError as error:
        raise ConfigRefused(f"[broker] ca: {files.get('ca')}: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_own(context, files)
    return context


def load_own(context: ssl.SSLContext, files: dict[str, str]) -> None:
    """
    Read our certificate again; it counts from the next connection on.

    :raises ConfigRefused: if a file cannot be used.
    """
    if "cert" not in files:
        return
    try:
        context.load_cert_chain(files["cert"], files.get("key"))
    except OSError as error:
        raise ConfigRefused(
            f"[broker] cert, key: {files['cert']}: {error}; `campustap-gateway init` gets a certificate"
        ) from error


class _QuickAckClient(mqtt.Client):
    """
    Acknowledges TCP segments at once.

    Some brokers send PUBACK and PUBLISH as two small writes with Nagle's algorithm on; a delayed acknowledgement here
    would then cost 40 ms on each question.
    """

    def _sock_recv(self, bufsize: int) -> bytes:
        data = super()._sock_recv(bufsize)
        sock = getattr(self, "_sock", None)
        if sock is not None and hasattr(socket, "TCP_QUICKACK"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return data


class MqttClient:
    """Publishes, and hands what arrives to the event loop."""

    def __init__(
        self,
        broker: Broker,
        *,
        on_received: Callable[[Received], None],
        on_connection: Callable[[bool], None],
    ) -> None:
        self._broker = broker
        self._on_received, self._on_connection = on_received, on_connection
        self._loop: asyncio.AbstractEventLoop | None = None
        self.connected = False
        #: connections made, connections that another client with our name took, and why the last one failed or ended
        self.connections = self.takeovers = 0
        self.last_trouble = ""
        self._connected_at = 0.0
        self._storm = self._short = 0
        self._tls = tls_context(broker.tls) if broker.tls else None
        client = _QuickAckClient(CallbackAPIVersion.VERSION2, client_id=broker.client_id, protocol=mqtt.MQTTv5)
        client.max_queued_messages_set(QUEUED_MAX)
        client.max_inflight_messages_set(50)
        client.will_set(broker.will_topic, broker.will_payload, qos=1)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        client.on_pre_connect = self._about_to_connect
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = self._message
        client.on_socket_open = self._opened
        self._client = client
        self._set_pace()

    def _set_pace(self) -> None:
        """Set how soon we come back: each gateway at its own pace, so that a broker is not met by all at once."""
        wait_s = TAKEOVER_WAIT_S[min(self._storm, len(TAKEOVER_WAIT_S)) - 1] if self._storm else 0.4
        shortest_s = wait_s * random.uniform(0.5, 1.5)
        longest_s = max(RECONNECT_S_MAX * random.uniform(0.7, 1), shortest_s)
        self._client.reconnect_delay_set(cast(int, shortest_s), cast(int, longest_s))

    def start(self) -> None:
        """Connect, now or as soon as the broker can be reached."""
        self._loop = asyncio.get_running_loop()
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_EXPIRY_S
        # A process that starts obeys nothing that was said while it was away, retained or queued; a connection that
        # comes back finds its session as it was.
        self._client.connect_async(
            self._broker.host,
            self._broker.port,
            KEEPALIVE_S,
            clean_start=mqtt.MQTT_CLEAN_START_FIRST_ONLY,
            properties=properties,
        )
        self._client.loop_start()

    async def stop(self) -> None:
        """Say goodbye and end the network thread."""
        self._client.disconnect()
        await asyncio.get_running_loop().run_in_executor(None, self._client.loop_stop)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int,
        expiry_s: int | None = None,
        response_topic: str | None = None,
        correlation: bytes | None = None,
    ) -> bool:
        """Hand a message to the network thread; return False when it cannot be sent now."""
        if not self.connected:
            return False
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if expiry_s is not None:
            properties.MessageExpiryInterval = expiry_s
        if response_topic is not None:
            properties.ResponseTopic = response_topic
        if correlation is not None:
            properties.CorrelationData = correlation
        info = self._client.publish(topic, payload, qos=qos, properties=properties)
        return info.rc == mqtt.MQTT_ERR_SUCCESS

    # -- called on the network thread

    def _about_to_connect(self, client: mqtt.Client, userdata: Any) -> None:
        if self._tls is None:
            return
        try:
            load_own(self._tls, self._broker.tls)  # it may have been renewed
        except ConfigRefused as error:
            self.last_trouble = str(error)
            log.error("certificate not read", extra={"reason": str(error)})

    @staticmethod
    def _opened(client: mqtt.Client, userdata: Any, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _connected(
        self, client: mqtt.Client, userdata: Any, flags: mqtt.ConnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        if reason.is_failure:
            self.last_trouble = f"the broker refused the connection: {reason}"
            log.error("broker refused the connection", extra={"reason": str(reason)})
            return
        self.connections += 1
        self._connected_at, self.last_trouble = time.monotonic(), ""
        # as published: what was sent to be retained says so even when it reaches us at once
        options = SubscribeOptions(qos=1, retainAsPublished=True)
        client.subscribe(self._broker.subscription, options=options)
        self._hand_over(self._now_connected, True)

    def _disconnected(
        self, client: mqtt.Client, userdata: Any, flags: mqtt.DisconnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        log.warning("broker connection lost", extra={"reason": str(reason)})
        self.last_trouble = f"connection lost: {reason}"
        self._look_for_twin(reason.value)
        self._hand_over(self._now_connected, False)

    def _look_for_twin(self, reason: int) -> None:
        """Count a connection that another client took, as the broker says or as its short life suggests; come later."""
        if not self._connected_at:
            return  # it never began
        lasted_s, self._connected_at = time.monotonic() - self._connected_at, 0.0
        was_storm = self._storm
        self._short = self._short + 1 if lasted_s < SHORT_S else 0
        if lasted_s > STEADY_S:
            self._storm = 0
        if reason == TAKEN_OVER or self._short >= SHORT_MAX:
            self.takeovers += 1
            self._storm += 1
            self.last_trouble = (
                "another client with our certificate took the connection"
                if reason == TAKEN_OVER
                else "connections end as soon as they begin: another box may have our certificate, or the line flaps"
            )
            log.error("another client has our name at the broker", extra={"takeovers": self.takeovers})
        if self._storm != was_storm:
            self._set_pace()

    def _message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        correlation = getattr(message.properties, "CorrelationData", b"") if message.properties else b""
        received = Received(
            topic=message.topic, payload=bytes(message.payload), retained=message.retain, correlation=correlation
        )
        self._hand_over(self._on_received, received)

    def _hand_over(self, call: Callable[[Any], None], argument: Any) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(call, argument)

    # -- on the event loop

    def _now_connected(self, connected: bool) -> None:
        self.connected = connected
        self._on_connection(connected)


def probe(broker: Broker, *, timeout_s: float) -> str:
    """
    Return why a broker does not take us, or nothing when it does; the connection is ended again.

    :raises ConfigRefused: if the TLS files cannot be used.
    """
    answer: list[str] = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=broker.client_id, protocol=mqtt.MQTTv5)
    if broker.tls:
        client.tls_set_context(tls_context(broker.tls))

    def connected(_client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        answer.append(f"it refuses us: {reason}" if reason.is_failure else "")

    def lost(_client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        answer.append(f"it hangs up at once ({reason}): it does not know our certificate, or speaks no TLS here")

    client.on_connect, client.on_disconnect = connected, lost
    client.connect_timeout = timeout_s
    try:
        client.connect(broker.host, broker.port, KEEPALIVE_S)
        deadline = time.monotonic() + timeout_s
        while not answer and time.monotonic() < deadline:
            client.loop(0.1)
    except OSError as error:
        return str(error)
    finally:
        client.disconnect()
    return answer[0] if answer else f"no answer in {timeout_s:.0f} s: is TLS expected here?"
