"""
One worker's conversation with the broker: take what is there, commit, acknowledge, send what the commit stored.

Taps come first, each in a transaction of its own, and their commands leave before the rest of the batch is looked at.
Whatever happens to the process in between, nothing is lost: what was not acknowledged comes again and is recognized,
what was not sent is claimed by the next worker when this one's claim has run out.
"""

import logging
import time
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec
from sqlalchemy.exc import OperationalError

from backend.db import POISON
from backend.errors import BackendError
from backend.mqtt import configuring, dispatch, envelopes, ingest, repository
from backend.mqtt.client import BrokerLink, Incoming
from backend.mqtt.trace import Trace
from backend.outbox import service as outbox
from backend.outbox.service import OutboxRow
from backend.water_sessions import service as water_sessions
from backend.water_sessions import taps
from backend.water_sessions.context import Context
from gateway.contract import topics
from gateway.contract.messages import CredentialPresented, Decision
from gateway.contract.signing import SignatureRefused

log = logging.getLogger(__name__)

#: `$share`: any number of workers divide what comes up. One group a kind: the embedded broker (rumqttd) keeps
#: one subscription a group and loses messages when two filters share it.
FILTERS = tuple(
    f"$share/campustap-{kind.value}/ct/v1/+/+/up/{kind.value}"
    for kind in (topics.Up.EVENT, topics.Up.HELLO, topics.Up.GONE, topics.Up.HEALTH, topics.Up.PRESENT)
)
#: How many messages share a transaction: long enough to save commits, short enough not to keep a tap waiting.
CHUNK = 50
_COMMANDS_PER_TURN = 100
_DECISION_EXPIRY_S = 10
_DATABASE_BACK_OFF_S = (0.1, 0.5, 1.0, 2.0, 5.0)


@dataclass(slots=True)
class WorkerLoop:
    """Call `turn` again and again; each call waits at most `poll_ms`."""

    ctx: Context
    link: BrokerLink
    batch_max: int = 500
    poll_ms: int = 20
    trace: Trace = field(default_factory=lambda: Trace(None))
    #: taken from the broker, not committed: tried again when the database is back
    _held: list[Incoming] = field(default_factory=list)
    _connection: int = 0
    #: the connection on which all that may have been lost with the one before was made due again
    _resent: int = 0
    _failures: int = 0
    _sent: list[OutboxRow] = field(default_factory=list)
    _configured_at: float = 0.0

    def turn(self) -> int:
        """Return how many messages were handled, after taking what is there and sending what waits."""
        if self._connection != self.link.connection or not self.link.is_up:
            self._held.clear()  # the broker forgets this connection, and the gateways send again
            self._connection = self.link.connection
        wait_s = 0.0 if self._held else self.poll_ms / 1000
        self._held += self.link.poll(wait_s, self.batch_max - len(self._held))
        handled = 0
        try:
            self._resend_once()
            handled = self._handle_held()
            self._send_commands()
            self._note_delivered()
            self._send_configurations()
            self._failures = 0
        except OperationalError as error:
            pause_s = _DATABASE_BACK_OFF_S[min(self._failures, len(_DATABASE_BACK_OFF_S) - 1)]
            self._failures += 1
            log.error("database not reached", extra={"reason": str(error.orig), "pause_s": pause_s})
            time.sleep(pause_s)
        return handled

    def _resend_once(self) -> None:
        """Make the commands that are still good due again, once a connection: the broker may have lost them."""
        if not self.link.is_up or self._resent == self.link.connection:
            return
        with self.ctx.db.write() as conn:
            again = outbox.resend_all(conn, self.ctx.clock())
        self._resent = self.link.connection
        if again:
            log.info("commands sent again", extra={"count": again})

    def _handle_held(self) -> int:
        handled = 0
        for message in [one for one in self._held if _is_tap(one)]:
            self._answer(message)
            self.link.ack([message])
            self._held.remove(message)
            handled += 1
        if handled:
            self._send_commands()
        while self._held:
            chunk = self._held[:CHUNK]
            acks = ingest.handle(self.ctx, chunk)
            self.link.ack(chunk)
            del self._held[: len(chunk)]
            handled += len(chunk)
            for ack in acks:
                payload = envelopes.acknowledgement(
                    self.ctx, ack.tenant_id, epoch=ack.epoch, acked_through=ack.acked_through
                )
                topic = topics.down(ack.tenant_id, ack.gateway_id, topics.Down.ACK)
                self.link.publish(topic, payload, expiry_s=topics.DOWN_EXPIRY_S)
            if self._held:
                self._send_commands()
        return handled

    def _answer(self, message: Incoming) -> None:
        """Answer a tap, or count it as rejected."""
        address = topics.parse(message.topic)
        with self.ctx.db.read() as conn:
            key = envelopes.key_of(conn, address.tenant, address.gateway)
        if key is None:
            self._reject(address, "unknown_gateway", message)
            return
        try:
            presented = envelopes.opened(
                message.payload, gateway_id=address.gateway, key=key, as_type=CredentialPresented
            )
        except SignatureRefused as refusal:
            self._reject(address, refusal.code, message)
            return
        self.trace.mark("presented_received", request_id=presented.request_id, device=presented.device)
        if message.retained:
            self._reject(address, "retained", message)
            return
        try:
            decision = dispatch.presented(self.ctx, address.tenant, address.gateway, presented)
        except BackendError as refusal:
            self._reject(address, refusal.code, message)
            decision = taps.refused(presented, refusal)
        except POISON as error:
            log.exception("tap not handled", extra={"request": presented.request_id[:100]})
            self._reject(address, ingest.reason_of(error), message)
            return
        self._publish_decision(address, message, decision)

    def _publish_decision(self, address: topics.Address, message: Incoming, decision: Decision) -> None:
        own = topics.down(address.tenant, address.gateway, topics.Down.DECISION)
        if message.response_topic not in ("", own):
            log.warning("answer asked for elsewhere", extra={"gateway": f"{address.tenant}/{address.gateway}"})
        payload = msgspec.json.encode(decision)
        self.link.publish(own, payload, expiry_s=_DECISION_EXPIRY_S, correlation=message.correlation)
        if decision.command is not None:
            self.trace.mark("command_published", request_id=decision.request_id, device=decision.device)

    def _reject(self, address: topics.Address, reason: str, message: Incoming) -> None:
        log.warning("tap rejected", extra={"gateway": f"{address.tenant}/{address.gateway}", "reason": reason})
        with self.ctx.db.write() as conn:
            repository.count_rejected(
                conn,
                tenant_id=address.tenant,
                gateway_id=address.gateway,
                kind=address.kind,
                reason=reason,
                sample=ingest.sample_of(message),
                now=self.ctx.clock(),
            )

    def _send_commands(self) -> None:
        """Publish stored commands. What the broker does not confirm while our claim lasts is sent again."""
        if not self.link.is_up:
            return
        now = self.ctx.clock()
        with self.ctx.db.read() as conn:
            if not outbox.any_due(conn, now):
                return
        with self.ctx.db.write() as conn:
            rows = outbox.due(conn, now, _COMMANDS_PER_TURN)
        for row in rows:
            left = row.not_after - self.ctx.clock()
            if left <= timedelta(0):
                continue
            expiry_s = min(topics.DOWN_EXPIRY_S, max(1, int(left.total_seconds())))
            topic = topics.down(row.tenant_id, row.gateway_id, topics.Down.COMMAND)
            self.trace.mark("command_published", cmd_id=row.cmd_id, subject_id=row.subject_id, device=row.device_id)
            if not self.link.publish(topic, row.message.encode(), expiry_s=expiry_s, tag=row):
                return

    def _send_configurations(self) -> None:
        """Publish configurations that gateways have not heard of; looked for every few seconds only."""
        if not self.link.is_up or time.monotonic() - self._configured_at < configuring.EVERY_S:
            return
        self._configured_at = time.monotonic()
        for one in configuring.waiting(self.ctx):
            if self.link.publish(one.topic, one.payload, expiry_s=configuring.EXPIRY_S):
                configuring.sent(self.ctx, one)

    def _note_delivered(self) -> None:
        """Store which commands the broker has."""
        self._sent += self.link.delivered()
        if not self._sent:
            return
        with self.ctx.db.write() as conn:
            for tenant_id in sorted({row.tenant_id for row in self._sent}):
                outbox.take_turn(conn, tenant_id)
            outbox.mark_sent(conn, [(row.tenant_id, row.cmd_id) for row in self._sent], self.ctx.clock())
            for row in self._sent:
                if row.kind == "open_valve":
                    water_sessions.on_command_sent(conn, row.tenant_id, row.subject_id)
        self._sent.clear()


def _is_tap(message: Incoming) -> bool:
    """Return whether a message is a tap on a readable topic; the rest is sorted out by `ingest`."""
    try:
        address = topics.parse(message.topic)
    except topics.MalformedTopic:
        return False
    return address.direction == "up" and address.kind == topics.Up.PRESENT
