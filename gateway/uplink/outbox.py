"""What goes up: journal records until they are acknowledged, telemetry that may be dropped, health, and questions."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.contract import topics
from gateway.contract.messages import (
    CredentialPresented,
    EventBatch,
    Gone,
    HealthReport,
    Hello,
    MeterSampled,
    TelemetryBatch,
)
from gateway.contract.signing import Signed, sign
from gateway.uplink.journal import Head
from gateway.uplink.store import Store, Transaction

log = logging.getLogger(__name__)

BATCH_MAX = 50
#: records sent and not yet acknowledged
WINDOW_MAX = 200
#: a record not acknowledged for this long while connected blocks all behind it
BLOCKED_AFTER_S = 600.0
SAMPLES_MAX = 500
TELEMETRY_PERIOD_S = 0.5
HEALTH_PERIOD_S = 15.0
HEALTH_SETTLE_S = 0.1
QUESTION_EXPIRY_S = 5
QUESTIONS_MAX = 200
QUESTION_AGE_MS_MAX = 10_000


class Publisher(Protocol):
    """What the outbox needs of an MQTT client."""

    connected: bool

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
        """Hand a message over; return False when it cannot be sent now."""


class Outbox:
    """Sends journal records in order, and again from the first unacknowledged one after a reconnect or a silence."""

    def __init__(
        self,
        publisher: Publisher,
        store: Store,
        *,
        tenant: str,
        gateway: str,
        key: Ed25519PrivateKey,
        resend_s: float,
        blocked_after_s: float = BLOCKED_AFTER_S,
    ) -> None:
        self._publisher, self._store, self._key = publisher, store, key
        self._tenant, self._gateway, self._resend_s = tenant, gateway, resend_s
        self._sent_through = 0
        self._progress_at = 0.0
        self._blocked_after_s = blocked_after_s
        #: the first record that is not acknowledged, and since when it is that while connected
        self._oldest: int | None = None
        self._oldest_since = 0.0
        self.blockages = 0
        self._samples: deque[MeterSampled] = deque(maxlen=SAMPLES_MAX)
        #: set when so many samples wait that they must go before their time
        self._crowded = asyncio.Event()
        #: questions asked and not answered, oldest first
        self._questions: dict[str, CredentialPresented] = {}
        self._wake = store.committed
        self.waiting = 0

    def _topic(self, kind: topics.Up) -> str:
        return topics.up(self._tenant, self._gateway, kind)

    def _signed(self, message: msgspec.Struct) -> bytes:
        return msgspec.json.encode(sign(message, key=self._key, kid=self._gateway))

    # -- journal

    def restart(self) -> None:
        """Send again from the first record that is not acknowledged."""
        self._sent_through = 0
        self._wake.set()

    def acknowledged(self) -> None:
        """Look at once what the backend has now; only a first record that changed counts as progress."""
        self._wake.set()

    async def run(self) -> None:
        """Send records as they come, until cancelled."""
        loop = asyncio.get_running_loop()
        self._progress_at = loop.time()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(1.0, self._resend_s / 2)):
                    await self._wake.wait()
            self._wake.clear()
            self.waiting, oldest = await self._store.read(
                lambda tx: (tx.journal.count_waiting(), [s for s, _ in tx.journal.waiting(after=0, limit=1)])
            )
            first = oldest[0] if oldest else None
            # Later records that arrive are acknowledged too, up to the same gap: that is not progress.
            has_moved = first is None or first != self._oldest
            self._look_for_blockage(first, loop.time())
            if has_moved:
                self._progress_at = loop.time()
            elif loop.time() - self._progress_at > self._resend_s:
                self._sent_through = 0
                self._progress_at = loop.time()
            await self._send_some()

    def _look_for_blockage(self, oldest: int | None, now: float) -> None:
        """Say so when the oldest record is not acknowledged for long although there is a connection."""
        if oldest is None or oldest != self._oldest or not self._publisher.connected:
            self._oldest, self._oldest_since = oldest, now
        elif now - self._oldest_since > self._blocked_after_s:
            self._oldest_since = now
            self.blockages += 1
            log.critical(
                "the backend does not acknowledge the oldest record",
                extra={"sequence": oldest, "waiting": self.waiting, "for_s": int(self._blocked_after_s)},
            )

    async def _send_some(self) -> None:
        while self._publisher.connected:
            records = await self._store.read(self._next_batch)
            if not records:
                return
            batch = EventBatch(records=[signed for _, signed in records])
            if not self._publisher.publish(self._topic(topics.Up.EVENT), msgspec.json.encode(batch), qos=1):
                return
            self._sent_through = records[-1][0]

    def _next_batch(self, tx: Transaction) -> list[tuple[int, Signed]]:
        """Return the records to send next; none while too many are on their way."""
        first = tx.journal.waiting(after=0, limit=1)
        if not first or self._sent_through - first[0][0] + 1 >= WINDOW_MAX:
            return []
        return tx.journal.waiting(after=self._sent_through, limit=BATCH_MAX)

    # -- telemetry and health

    def sample(self, sample: MeterSampled) -> None:
        """Queue a sample; the oldest is dropped when too many wait."""
        self._samples.append(sample)
        if len(self._samples) == SAMPLES_MAX // 2:
            self._crowded.set()

    async def run_telemetry(self) -> None:
        """Send samples in batches, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TELEMETRY_PERIOD_S):
                    await self._crowded.wait()
            self._crowded.clear()
            if self._samples and self._publisher.connected:
                batch = TelemetryBatch(samples=list(self._samples))
                self._samples.clear()
                self._publisher.publish(self._topic(topics.Up.TELEMETRY), msgspec.json.encode(batch), qos=0)

    async def run_health(self, changed: asyncio.Event, report: Callable[[], HealthReport]) -> None:
        """Send health when something changed and every 15 s, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEALTH_PERIOD_S):
                    await changed.wait()
                await asyncio.sleep(HEALTH_SETTLE_S)  # what changes together goes together
            changed.clear()
            self._publisher.publish(self._topic(topics.Up.HEALTH), self._signed(report()), qos=1, expiry_s=60)

    # -- births, questions

    def hello(self, hello: Hello) -> None:
        """Send the birth message."""
        self._publisher.publish(self._topic(topics.Up.HELLO), self._signed(hello), qos=1)

    def gone(self) -> None:
        """Say that the gateway stops on purpose; the broker's last will says it when it did not."""
        self._publisher.publish(self._topic(topics.Up.GONE), gone_payload(self._gateway), qos=1)

    def present(self, presented: CredentialPresented) -> bool:
        """Ask about a credential; return whether the question could be sent."""
        while len(self._questions) >= QUESTIONS_MAX:
            self._questions.pop(next(iter(self._questions)))
        sent = self._publisher.publish(
            self._topic(topics.Up.PRESENT),
            self._signed(presented),
            qos=1,
            expiry_s=QUESTION_EXPIRY_S,
            response_topic=topics.down(self._tenant, self._gateway, topics.Down.DECISION),
            correlation=presented.request_id.encode(),
        )
        if sent:
            self._questions[presented.request_id] = presented
        return sent

    def take_question(self, request_id: str, now_ms: int) -> CredentialPresented | None:
        """Return the question an answer is for, once; None when it was never asked or too long ago."""
        question = self._questions.pop(request_id, None)
        if question is None or now_ms - question.at_ms > QUESTION_AGE_MS_MAX:
            return None
        return question


def gone_payload(gateway: str) -> bytes:
    """Return the payload of the last will."""
    return msgspec.json.encode(Gone(gateway=gateway))


async def hello_of(
    store: Store, *, gateway: str, at_ms: int, software: str, contract: str, maps: dict[str, str], devices: list[str]
) -> Hello:
    """Return the birth message as things stand."""
    head: Head = await store.read(lambda tx: tx.journal.head())
    return Hello(
        gateway=gateway,
        at_ms=at_ms,
        software=software,
        contract=contract,
        journal_epoch=head.epoch,
        journal_sequence=head.sequence,
        maps=maps,
        devices=devices,
    )
