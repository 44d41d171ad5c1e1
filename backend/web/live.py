"""
What runs right now: the latest sample of each session and the flow of the last ten minutes, in memory, bounded.

Samples are telemetry. They may be dropped and are never billed; a page that shows them rates them with the function
that writes the bill. The state of watched sessions is read from the database, several watchers sharing one look.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from backend.kit.clock import epoch_ms
from gateway.contract.messages import MeterSampled

#: Sessions whose latest sample is kept; the oldest go first.
SESSIONS_MAX = 20_000
#: A sample older than this no longer counts as flow now.
SAMPLE_AGE_MAX = timedelta(seconds=6)
BUCKET_S = 4
BUCKETS = 150
DEVICES_PER_BUCKET_MAX = 20_000
TENANTS_MAX = 200

T = TypeVar("T")

OnSamples = Callable[[str, list[MeterSampled]], None]


class TelemetrySource(Protocol):
    """Where samples come from; `backend.app` hands in the one that listens to the broker."""

    def start(self, on_samples: OnSamples) -> None:
        """Begin to call back with (tenant, samples), from any thread."""
        ...

    def stop(self) -> None:
        """Stop calling back."""
        ...


class NoTelemetry:
    """A source that never speaks: pages then show what the database knows."""

    def start(self, on_samples: OnSamples) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The latest look at a session and when it arrived, by our clock."""

    meter: MeterSampled
    received_at: datetime


@dataclass(slots=True)
class _Bucket:
    number: int
    flow_by_device: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FlowPoint:
    """The flow of a school in one bucket of time; `flow_ml_per_min` is None where nothing was heard."""

    seconds_ago: int
    flow_ml_per_min: int | None


class LiveHub:
    """Keeps what samples say. Safe to call from several threads."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._samples: OrderedDict[tuple[str, str], Sample] = OrderedDict()
        self._flow: OrderedDict[str, deque[_Bucket]] = OrderedDict()
        self._started_ms = epoch_ms(clock())

    def take(self, tenant_id: str, samples: list[MeterSampled]) -> None:
        """Remember samples of a tenant; one that is older than what is known of its session is dropped."""
        now = self._clock()
        with self._lock:
            for meter in samples:
                key = (tenant_id, meter.water_session_id)
                known = self._samples.get(key)
                if known is not None and known.meter.at_ms > meter.at_ms:
                    continue
                self._samples[key] = Sample(meter, now)
                self._samples.move_to_end(key)
                self._count(tenant_id, meter, now)
            while len(self._samples) > SESSIONS_MAX:
                self._samples.popitem(last=False)

    def _count(self, tenant_id: str, meter: MeterSampled, now: datetime) -> None:
        buckets = self._flow.setdefault(tenant_id, deque(maxlen=BUCKETS))
        while len(self._flow) > TENANTS_MAX:
            self._flow.popitem(last=False)
        number = epoch_ms(now) // (BUCKET_S * 1000)
        if not buckets or buckets[-1].number != number:
            buckets.append(_Bucket(number))
        flows = buckets[-1].flow_by_device
        if meter.device in flows or len(flows) < DEVICES_PER_BUCKET_MAX:
            flows[meter.device] = meter.flow_ml_per_min

    def latest(self, tenant_id: str, water_session_id: str) -> Sample | None:
        """Return the latest sample of a session or None."""
        with self._lock:
            return self._samples.get((tenant_id, water_session_id))

    def forget(self, tenant_id: str, water_session_id: str) -> None:
        """Drop what is known of a session that is over."""
        with self._lock:
            self._samples.pop((tenant_id, water_session_id), None)

    def flow_now(self, tenant_id: str, water_session_ids: list[str]) -> int | None:
        """Return the flow of these sessions together, in ml/min; None when none of them was heard lately."""
        now = self._clock()
        heard = [self.latest(tenant_id, each) for each in water_session_ids]
        fresh = [sample for sample in heard if sample is not None and now - sample.received_at <= SAMPLE_AGE_MAX]
        return sum(sample.meter.flow_ml_per_min for sample in fresh) if fresh else None

    def flow_history(self, tenant_id: str) -> list[FlowPoint]:
        """Return the last ten minutes of flow, oldest first; before this process began there is nothing to say."""
        now_ms = epoch_ms(self._clock())
        current = now_ms // (BUCKET_S * 1000)
        with self._lock:
            known = {bucket.number: sum(bucket.flow_by_device.values()) for bucket in self._flow.get(tenant_id, ())}
        first_heard = self._started_ms // (BUCKET_S * 1000)
        points = []
        for number in range(current - BUCKETS + 1, current + 1):
            # the bucket that has just begun may not have been heard yet: a gap, not a fall to zero
            flow = known.get(number, 0 if first_heard <= number < current else None)
            points.append(FlowPoint((current - number) * BUCKET_S, flow))
        return points


class SharedLook(Generic[T]):
    """One value that many watchers want about once a second: whoever comes first looks, the others get the same."""

    def __init__(self, *, fresh_s: float, entries_max: int = 1_000) -> None:
        self._fresh_s = fresh_s
        self._entries_max = entries_max
        self._lock = threading.Lock()
        self._values: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def get(self, key: str, look: Callable[[], T]) -> T:
        """Return the value under a key, looking again when the last look is no longer fresh."""
        with self._lock:
            entry = self._values.get(key)
            if entry is not None and time.monotonic() - entry[0] < self._fresh_s:
                return entry[1]
        value = look()
        with self._lock:
            self._values[key] = (time.monotonic(), value)
            self._values.move_to_end(key)
            while len(self._values) > self._entries_max:
                self._values.popitem(last=False)
        return value
