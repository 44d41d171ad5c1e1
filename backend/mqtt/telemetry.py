"""Samples of open outlets for the pages: listened to, never stored, dropped when nobody keeps up."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from backend.mqtt.client import BrokerLink
from gateway.contract import topics
from gateway.contract.messages import MeterSampled, TelemetryBatch
from gateway.contract.signing import SignatureRefused, decode

log = logging.getLogger(__name__)

_BATCH = 200
_WAIT_S = 0.2


class BrokerTelemetry:
    """Listens in a thread of its own and calls back with (tenant, samples)."""

    def __init__(self, host: str, port: int, tls: Path | None = None) -> None:
        filters = (f"ct/v1/+/+/up/{topics.Up.TELEMETRY.value}",)
        self._link = BrokerLink(host=host, port=port, filters=filters, name="pages", tls=tls)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.malformed = 0

    def start(self, on_samples: Callable[[str, list[MeterSampled]], None]) -> None:
        """Begin to listen."""
        assert self._thread is None, "started once"
        self._thread = threading.Thread(target=self._run, args=(on_samples,), name="telemetry", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(self, on_samples: Callable[[str, list[MeterSampled]], None]) -> None:
        while not self._stopping.is_set():
            messages = self._link.poll(_WAIT_S, _BATCH)
            self._link.ack(messages)
            for message in messages:
                try:
                    address = topics.parse(message.topic)
                    samples = decode(message.payload, TelemetryBatch).samples
                except (topics.MalformedTopic, SignatureRefused):
                    self.malformed += 1
                    continue
                on_samples(address.tenant, samples)
        self._link.close()
