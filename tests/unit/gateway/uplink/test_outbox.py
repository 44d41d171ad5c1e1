import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.contract.events import JournalRecord
from gateway.contract.messages import CredentialKind, CredentialPresented, EventBatch, HealthReport, MeterSampled
from gateway.contract.signing import Signed, verify
from gateway.uplink.outbox import BATCH_MAX, QUESTION_AGE_MS_MAX, SAMPLES_MAX, WINDOW_MAX, Outbox
from gateway.uplink.store import Store
from tests.patience import PATIENCE_S
from tests.unit.gateway.uplink.test_journal import reading

KEY = Ed25519PrivateKey.generate()


@dataclass
class FakePublisher:
    connected: bool = True
    sent: list[tuple[str, bytes, dict[str, Any]]] = field(default_factory=list)

    def publish(self, topic: str, payload: bytes, **options: Any) -> bool:
        if self.connected:
            self.sent.append((topic, payload, options))
        return self.connected

    def sequences(self) -> list[int]:
        """Return the sequences of all records sent, repeats included."""
        found = []
        for topic, payload, _ in self.sent:
            if topic.endswith("/event"):
                for signed in msgspec.json.decode(payload, type=EventBatch).records:
                    found.append(msgspec.json.decode(signed.payload, type=JournalRecord).sequence)
        return found


class Post:
    def __init__(self, folder: Path, *, records: int = 0, resend_s: float = 60) -> None:
        self.publisher = FakePublisher()
        self.store = Store(folder / "s.sqlite", tenant="school", gateway="gw", key=Ed25519PrivateKey.generate())
        with self.store.transaction() as tx:
            for number in range(records):
                tx.journal.append(reading(number))
            self.epoch = tx.journal.head().epoch
        self.outbox = Outbox(self.publisher, self.store, tenant="school", gateway="gw", key=KEY, resend_s=resend_s)

    async def append(self, number: int) -> None:
        await self.store.write(lambda tx: tx.journal.append(reading(number)))

    async def acknowledge(self, through: int) -> None:
        await self.store.write(lambda tx: tx.journal.acknowledge(epoch=self.epoch, acked_through=through))
        self.outbox.acknowledged()

    def run(self, steps: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def work() -> None:
            sending = asyncio.create_task(self.outbox.run())
            await steps()
            sending.cancel()

        asyncio.run(work())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


class TestJournalRecords:
    def test_go_in_order_in_batches_and_no_further_than_the_window(self, tmp_path: Path) -> None:
        post = Post(tmp_path, records=WINDOW_MAX + 100)

        async def steps() -> None:
            post.outbox.restart()
            await until(lambda: len(post.publisher.sequences()) == WINDOW_MAX)
            await post.acknowledge(BATCH_MAX)
            await until(lambda: len(post.publisher.sequences()) == WINDOW_MAX + BATCH_MAX)

        post.run(steps)
        assert post.publisher.sequences() == list(range(1, WINDOW_MAX + BATCH_MAX + 1))
        assert len(post.publisher.sent) == (WINDOW_MAX + BATCH_MAX) // BATCH_MAX

    def test_go_again_after_a_reconnect(self, tmp_path: Path) -> None:
        post = Post(tmp_path, records=3)

        async def steps() -> None:
            post.outbox.restart()
            await until(lambda: post.publisher.sequences() == [1, 2, 3])
            await post.acknowledge(1)
            post.outbox.restart()
            await until(lambda: post.publisher.sequences() == [1, 2, 3, 2, 3])

        post.run(steps)

    def test_go_again_when_nobody_acknowledges(self, tmp_path: Path) -> None:
        post = Post(tmp_path, records=2, resend_s=0.1)
        post.run(lambda: until(lambda: post.publisher.sequences()[:6] == [1, 2, 1, 2, 1, 2]))

    def test_go_again_though_later_ones_are_acknowledged_up_to_the_gap(self, tmp_path: Path) -> None:
        """One that was lost on its way is not forgotten because the line is busy with others."""
        post = Post(tmp_path, records=1, resend_s=0.3)

        async def steps() -> None:
            await until(lambda: post.publisher.sequences() == [1])
            for number in range(2, 60):
                await post.append(number)
                await post.acknowledge(0)
                await asyncio.sleep(0.02)
                if post.publisher.sequences().count(1) > 1:
                    return
            raise AssertionError("it was sent once only")

        post.run(steps)

    def test_wait_for_the_broker(self, tmp_path: Path) -> None:
        post = Post(tmp_path, records=2)
        post.publisher.connected = False

        async def steps() -> None:
            post.outbox.restart()
            await asyncio.sleep(0.05)
            assert not post.publisher.sent
            post.publisher.connected = True
            post.outbox.restart()
            await until(lambda: post.publisher.sequences() == [1, 2])

        post.run(steps)

    def test_a_new_one_goes_at_once(self, tmp_path: Path) -> None:
        post = Post(tmp_path)

        async def steps() -> None:
            await post.store.write(lambda tx: tx.journal.append(reading(1)))
            await until(lambda: post.publisher.sequences() == [1])

        post.run(steps)


class TestBlockage:
    def look(self, post: Post, oldest: int | None, now: float) -> int:
        post.outbox._look_for_blockage(oldest, now)
        return post.outbox.blockages

    def test_is_said_after_ten_minutes_and_again_after_ten_more(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        post = Post(tmp_path)
        seen = [self.look(post, 7, now) for now in (0, 600, 601, 602, 1_200, 1_202)]
        assert seen == [0, 0, 1, 1, 1, 2]
        assert [record.levelname for record in caplog.records] == ["CRITICAL"] * 2

    def test_is_none_while_records_move_or_nobody_is_connected(self, tmp_path: Path) -> None:
        post = Post(tmp_path)
        assert [self.look(post, oldest, 500.0 * oldest) for oldest in range(1, 6)] == [0] * 5
        assert [self.look(post, None, 500.0 * step) for step in range(6, 9)] == [0] * 3
        post.publisher.connected = False
        assert [self.look(post, 7, 5_000.0 + 500 * step) for step in range(5)] == [0] * 5

    def test_is_looked_for_while_sending(self, tmp_path: Path) -> None:
        post = Post(tmp_path, records=1, resend_s=0.1)
        post.outbox._blocked_after_s = 0.05
        post.run(lambda: until(lambda: post.outbox.blockages > 0))


class TestTelemetry:
    def test_drops_the_oldest(self, tmp_path: Path) -> None:
        post = Post(tmp_path)

        async def work() -> None:
            for number in range(SAMPLES_MAX + 5):
                post.outbox.sample(_sample(number))
            sending = asyncio.create_task(post.outbox.run_telemetry())
            await until(lambda: bool(post.publisher.sent))
            sending.cancel()

        asyncio.run(work())
        ((_, payload, options),) = post.publisher.sent
        batch = msgspec.json.decode(payload)["samples"]
        assert (len(batch), batch[0]["at_ms"], options["qos"]) == (SAMPLES_MAX, 5, 0)

    def test_goes_before_its_time_rather_than_drop_anything(self, tmp_path: Path) -> None:
        post = Post(tmp_path)
        told = 3 * SAMPLES_MAX

        async def work() -> None:
            sending = asyncio.create_task(post.outbox.run_telemetry())
            for number in range(told):
                post.outbox.sample(_sample(number))
                if number % 50 == 0:
                    await asyncio.sleep(0)
            await until(lambda: _told(post) == list(range(told)))
            sending.cancel()

        asyncio.run(work())


def _sample(at_ms: int) -> MeterSampled:
    return MeterSampled(
        device="dev_1",
        water_session_id="ws_1",
        at_ms=at_ms,
        pulses=0,
        k_factor_pulses_per_m3=1,
        flow_ml_per_min=0,
        temperature_decidegc=None,
        elapsed_s=0,
    )


def _told(post: Post) -> list[int]:
    batches = [msgspec.json.decode(payload)["samples"] for _, payload, _ in post.publisher.sent]
    return [sample["at_ms"] for batch in batches for sample in batch]


class TestHealth:
    def test_goes_when_something_changed(self, tmp_path: Path) -> None:
        post = Post(tmp_path)

        async def work() -> None:
            changed = asyncio.Event()
            report = HealthReport(gateway="gw", at_ms=1, devices=[])
            sending = asyncio.create_task(post.outbox.run_health(changed, lambda: report))
            changed.set()
            await until(lambda: len(post.publisher.sent) == 1)
            sending.cancel()

        asyncio.run(work())


class TestQuestions:
    QUESTION = CredentialPresented(
        request_id="rq_1", at_ms=1_000, device="dev_1", kind=CredentialKind.UID, value="04A1"
    )

    def test_carry_where_and_how_to_answer(self, tmp_path: Path) -> None:
        post = Post(tmp_path)
        assert post.outbox.present(self.QUESTION)
        ((topic, payload, options),) = post.publisher.sent
        signed = msgspec.json.decode(payload, type=Signed)
        assert verify(signed, keys={"gw": KEY.public_key()}, as_type=CredentialPresented) == self.QUESTION
        assert topic == "ct/v1/school/gw/up/present"
        assert options == {
            "qos": 1,
            "expiry_s": 5,
            "response_topic": "ct/v1/school/gw/down/decision",
            "correlation": b"rq_1",
        }

    def test_are_answered_once_and_in_time(self, tmp_path: Path) -> None:
        post = Post(tmp_path)
        post.outbox.present(self.QUESTION)
        assert post.outbox.take_question("rq_1", 1_500) == self.QUESTION
        assert post.outbox.take_question("rq_1", 1_500) is None
        post.outbox.present(self.QUESTION)
        assert post.outbox.take_question("rq_1", 1_001 + QUESTION_AGE_MS_MAX) is None

    def test_are_not_asked_without_a_link(self, tmp_path: Path) -> None:
        post = Post(tmp_path)
        post.publisher.connected = False
        assert not post.outbox.present(self.QUESTION)
        assert post.outbox.take_question("rq_1", 1_500) is None
