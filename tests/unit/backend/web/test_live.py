"""The hub keeps what matters of samples, and no more than that."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from backend.web.live import BUCKET_S, BUCKETS, LiveHub, SharedLook
from gateway.contract.messages import MeterSampled
from tests.factories import NOW


@dataclass
class _Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


def _sample(session: str = "ws_1", *, at_ms: int = 1, flow: int = 8_000, device: str = "dev_1") -> MeterSampled:
    return MeterSampled(
        device=device, water_session_id=session, at_ms=at_ms, pulses=at_ms, k_factor_pulses_per_m3=450_000,
        flow_ml_per_min=flow, temperature_decidegc=440, elapsed_s=1,
    )  # fmt: skip


class TestLiveHub:
    def test_keeps_the_latest_sample_however_they_arrive(self) -> None:
        hub = LiveHub(_Clock())

        hub.take("t", [_sample(at_ms=2), _sample(at_ms=1)])

        kept = hub.latest("t", "ws_1")
        assert kept is not None
        assert kept.meter.at_ms == 2
        assert hub.latest("other", "ws_1") is None

    def test_counts_flow_only_while_it_is_heard(self) -> None:
        clock = _Clock()
        hub = LiveHub(clock)
        hub.take("t", [_sample("ws_1"), _sample("ws_2", device="dev_2")])

        heard = hub.flow_now("t", ["ws_1", "ws_2"])
        clock.now += timedelta(seconds=30)

        assert heard == 16_000
        assert hub.flow_now("t", ["ws_1", "ws_2"]) is None

    def test_remembers_ten_minutes_and_leaves_gaps(self) -> None:
        clock = _Clock()
        hub = LiveHub(clock)
        hub.take("t", [_sample()])
        clock.now += timedelta(seconds=2 * BUCKET_S)

        points = hub.flow_history("t")

        assert len(points) == BUCKETS
        assert [point.flow_ml_per_min for point in points[-4:]] == [None, 8_000, 0, None]


class TestSharedLook:
    def test_looks_once_for_many(self) -> None:
        looks: list[int] = []
        shared: SharedLook[int] = SharedLook(fresh_s=60)

        for _ in range(5):
            shared.get("key", lambda: looks.append(1) or len(looks))

        assert looks == [1]

    def test_looks_again_when_stale_and_forgets_old_keys(self) -> None:
        shared: SharedLook[str] = SharedLook(fresh_s=0, entries_max=2)

        answers = [shared.get(key, lambda key=key: key.upper()) for key in ("a", "b", "c", "a")]

        assert answers == ["A", "B", "C", "A"]
