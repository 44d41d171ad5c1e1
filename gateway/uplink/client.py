"""
The one door to paho. MQTT 5 with a session that outlives the connection; the network has its own thread, everything
else happens on the event loop.
"""

import asyncio
import logging
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

log = logging.getLogger(__name__)

KEEPALIVE_S = 15
SESSION_EXPIRY_S = 24 * 3600
QUEUED_MAX = 500
RECONNECT_S_MAX = 10.0


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
        client = _QuickAckClient(CallbackAPIVersion.VERSION2, client_id=broker.client_id, protocol=mqtt.MQTTv5)
        client.max_queued_messages_set(QUEUED_MAX)
        client.max_inflight_messages_set(50)
        client.will_set(broker.will_topic, broker.will_payload, qos=1)
        # each gateway begins at its own pace, so that a broker that comes back is not met by all at once
        client.reconnect_delay_set(
            cast(int, random.uniform(0.2, 0.6)), cast(int, RECONNECT_S_MAX * random.uniform(0.7, 1))
        )
        if broker.tls:
            client.tls_set(
                ca_certs=broker.tls.get("ca"), certfile=broker.tls.get("cert"), keyfile=broker.tls.get("key")
            )
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = self._message
        client.on_socket_open = self._opened
        self._client = client

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

    @staticmethod
    def _opened(client: mqtt.Client, userdata: Any, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _connected(
        self, client: mqtt.Client, userdata: Any, flags: mqtt.ConnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        if reason.is_failure:
            log.error("broker refused the connection", extra={"reason": str(reason)})
            return
        # as published: what was sent to be retained says so even when it reaches us at once
        options = SubscribeOptions(qos=1, retainAsPublished=True)
        client.subscribe(self._broker.subscription, options=options)
        self._hand_over(self._now_connected, True)

    def _disconnected(
        self, client: mqtt.Client, userdata: Any, flags: mqtt.DisconnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        log.warning("broker connection lost", extra={"reason": str(reason)})
        self._hand_over(self._now_connected, False)

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
