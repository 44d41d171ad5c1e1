"""What a hostile or broken sender may put on a topic: it is counted, it ends nothing, and it buys nothing."""

import base64
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.exc import OperationalError

from backend.db import Database
from backend.kit.clock import epoch_ms
from backend.metering import service as metering
from backend.mqtt import ingest, repository
from backend.mqtt.client import BrokerLink, Incoming
from backend.mqtt.loop import WorkerLoop
from backend.water_sessions.machine import State
from gateway.contract import topics
from gateway.contract.events import JournalRecord, MeterRead
from gateway.contract.messages import Acknowledged, Decision
from gateway.contract.signing import Signed, decode, sign, verify
from tests.unit.backend.mqtt.test_ingest import Journal, events, message, rejections
from tests.unit.backend.water_sessions.world import GATEWAY, K_FACTOR, OUTLET, TENANT, UIDS, World, hello


@dataclass
class FakeLink:
    """A broker connection that remembers what happened on it, in order."""

    incoming: list[Incoming]
    is_up: bool = True
    connection: int = 0
    happened: list[tuple[str, Any]] = field(default_factory=list)

    def poll(self, timeout_s: float, limit: int) -> list[Incoming]:
        """Return what is there."""
        taken, self.incoming = self.incoming, []
        return taken

    def ack(self, messages: list[Incoming]) -> None:
        """Remember what was acknowledged."""
        self.happened += [("ack", one) for one in messages]

    def publish(self, topic: str, payload: bytes, **_: Any) -> bool:
        """Remember what was sent; like paho, refuse a wildcard."""
        assert not set("#+") & set(topic), "a publish topic has no wildcard"
        self.happened.append((topic, payload))
        return True

    def delivered(self) -> list[Any]:
        """Return nothing."""
        return []

    def sent(self, kind: topics.Down) -> list[bytes]:
        """Return what was published on the gateway's own topic of a kind."""
        return [what for topic, what in self.happened if topic == topics.down(TENANT, GATEWAY, kind)]

    @property
    def acked(self) -> list[Incoming]:
        """Return what was acknowledged."""
        return [what for name, what in self.happened if name == "ack"]


def turn(world: World, *messages: Incoming) -> FakeLink:
    """Let a worker take messages once and return its connection."""
    link = FakeLink(list(messages))
    loop(world, link).turn()
    return link


def loop(world: World, link: FakeLink) -> WorkerLoop:
    """Return a worker's loop on a connection."""
    real: BrokerLink = link  # type: ignore[assignment]
    return WorkerLoop(ctx=world.ctx, link=real, poll_ms=0)


def read(world: World, number: int) -> MeterRead:
    """Return a reading."""
    return MeterRead(
        event_id=f"ev_{number}",
        at_ms=epoch_ms(world.now) + number,
        device=OUTLET,
        register_pulses=1,
        k_factor_pulses_per_m3=K_FACTOR,
        device_boot_id=1,
    )


def record(world: World, *, epoch: str = "ep1", sequence: int = 1, tenant: str = TENANT) -> Signed:
    """Return a signed record with a reading."""
    plain = JournalRecord(
        tenant=tenant,
        gateway=GATEWAY,
        epoch=epoch,
        sequence=sequence,
        previous_sha256="0" * 64,
        event=read(world, 1),
    )
    return sign(plain, key=world.gateway_key, kid=GATEWAY)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """Return a filled school."""
    return World(database, tmp_path / "secrets").fill()


DEEP = b"[" * 100_000 + b"]" * 100_000
DEEP_TEXT = '{"x":' + "[" * 50_000 + "]" * 50_000 + "}"


class TestTurn:
    @pytest.mark.parametrize(
        "kind", [topics.Up.EVENT, topics.Up.HELLO, topics.Up.HEALTH, topics.Up.GONE, topics.Up.PRESENT]
    )
    @pytest.mark.parametrize("body", [b'{"records":' + DEEP + b"}", b'{"kid":"\xed\xa0\x80"}', b"\xff", b""])
    def test_survives_what_is_no_message(self, world: World, kind: topics.Up, body: bytes) -> None:
        link = turn(world, message(kind, body))

        assert len(link.acked) == 1
        assert rejections(world) == {(kind.value, "malformed"): 1}

    def test_survives_a_signed_payload_that_is_none(self, world: World) -> None:
        signature = base64.b64encode(world.gateway_key.sign(DEEP_TEXT.encode())).decode()
        deep = Signed(kid=GATEWAY, payload=DEEP_TEXT, signature=signature)

        turn(world, events(deep), message(topics.Up.PRESENT, deep))

        assert rejections(world) == {("record", "malformed"): 1, ("present", "malformed"): 1}

    @pytest.mark.parametrize("changed", [{"journal_epoch": "ep\0"}, {"journal_epoch": ""}, {"journal_sequence": 2**63}])
    def test_refuses_a_birth_with_an_impossible_journal(self, world: World, changed: dict[str, Any]) -> None:
        turn(world, message(topics.Up.HELLO, msgspec.structs.replace(hello(world.later(1)), **changed)))

        assert rejections(world) == {("hello", "malformed"): 1}

    @pytest.mark.parametrize(
        "where", [{"sequence": 2**63}, {"sequence": 2**70}, {"sequence": 0}, {"epoch": "e\0"}, {"epoch": "Ep-1"}]
    )
    def test_refuses_a_record_at_an_impossible_place(self, world: World, where: dict[str, Any]) -> None:
        link = turn(world, events(record(world, **where)))

        assert rejections(world) == {("record", "malformed"): 1}
        assert link.sent(topics.Down.ACK) == []

    def test_refuses_a_record_of_another_school(self, world: World) -> None:
        turn(world, events(record(world, tenant="south")))

        assert rejections(world) == {("record", "wrong_audience"): 1}

    @pytest.mark.parametrize("kind", ["#", "decision/+", "command", "ack"])
    def test_answers_on_the_gateways_own_topic_alone(self, world: World, kind: str) -> None:
        asked = replace(
            message(topics.Up.PRESENT, world.tap("ann")), response_topic=f"ct/v1/{TENANT}/{GATEWAY}/down/{kind}"
        )

        link = turn(world, asked)

        (answer,) = link.sent(topics.Down.DECISION)
        assert msgspec.json.decode(answer, type=Decision).granted

    def test_acknowledges_a_tap_after_its_answer(self, world: World) -> None:
        link = turn(world, message(topics.Up.PRESENT, world.tap("ann")))

        names = [name.rsplit("/", 1)[-1] for name, _ in link.happened]
        assert names == ["decision", "ack", "command"]

    def test_signs_what_the_journal_may_forget(self, world: World) -> None:
        link = turn(world, events(record(world)))

        (sent,) = link.sent(topics.Down.ACK)
        kid, key = world.ctx.signing(TENANT)
        ack = verify(decode(sent, Signed), keys={kid: key.public_key()}, as_type=Acknowledged)
        assert (ack.epoch, ack.acked_through) == ("ep1", 1)

    def test_acknowledges_nothing_when_handling_fails(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        def lost(*_: Any) -> list[ingest.Ack]:
            raise OperationalError("select", {}, Exception("the database is gone"))

        handle, link = ingest.handle, FakeLink([events(record(world))])
        worker = loop(world, link)
        monkeypatch.setattr(ingest, "handle", lost)
        worker.turn()
        before = list(link.happened)
        monkeypatch.setattr(ingest, "handle", handle)

        worker.turn()

        assert before == []
        assert len(link.acked) == 1
        assert len(link.sent(topics.Down.ACK)) == 1

    def test_keeps_no_card_number_of_a_refused_tap(self, world: World) -> None:
        tap = world.tap("ann")
        world.later(60)

        turn(
            world,
            message(topics.Up.PRESENT, tap),
            Incoming("ct/v1/North/gw_one/up/present", msgspec.json.encode(tap)),
        )

        with world.db.read() as conn:
            samples = [row["sample"] for tenant in (TENANT, "-") for row in repository.rejected(conn, tenant)]
        assert len(samples) == 2
        assert not any(UIDS["ann"] in sample for sample in samples)

    @pytest.mark.parametrize(
        ("sent_s_ago", "reason"), [(15, "ok"), (16, "expired"), (-5, "ok"), (-6, "tap_ahead"), (-3_600, "tap_ahead")]
    )
    def test_answers_taps_of_about_now(self, world: World, sent_s_ago: int, reason: str) -> None:
        tap = msgspec.structs.replace(world.tap("ann"), at_ms=epoch_ms(world.now) - sent_s_ago * 1000)

        link = turn(world, message(topics.Up.PRESENT, tap))

        (answer,) = link.sent(topics.Down.DECISION)
        assert msgspec.json.decode(answer, type=Decision).reason == reason
        assert len(world.commands()) == (reason == "ok")

    def test_believes_no_tap_without_the_gateways_signature(self, world: World) -> None:
        forged = message(topics.Up.PRESENT, world.tap("ann"), key=Ed25519PrivateKey.generate())

        link = turn(world, forged)

        assert link.sent(topics.Down.DECISION) == []
        assert world.commands() == []
        assert rejections(world) == {("present", "bad_signature"): 1}


class TestAccept:
    def test_hears_a_journal_that_was_put_back(self, world: World) -> None:
        started = world.start()
        journal = Journal(world)
        ingest.handle(world.ctx, [events(*[journal.record(read(world, number)) for number in range(3)])])
        journal.sequence = 1
        again = events(journal.record(world.ended(started)), *[journal.record(read(world, 10 + n)) for n in range(3)])

        first = ingest.handle(world.ctx, [again])
        second = ingest.handle(world.ctx, [again])

        assert [ack.acked_through for ack in (*first, *second)] == [5, 5]
        assert world.session(started.water_session_id).state is State.SETTLED
        assert world.session(started.water_session_id).ignored_events == 0
        assert rejections(world)["water_session_ended", "conflicting_record"] == 1

    def test_parks_readings_without_a_k_factor(self, world: World) -> None:
        started = world.start()
        journal = Journal(world)
        broken = [
            msgspec.structs.replace(one, k_factor_pulses_per_m3=0)
            for one in (read(world, 1), world.opened(started), world.ended(started))
        ]

        (ack,) = ingest.handle(world.ctx, [events(*[journal.record(one) for one in broken])])

        assert ack.acked_through == 3
        assert world.session(started.water_session_id).state is State.AUTHORIZED
        assert {reason for _, reason in rejections(world)} == {"InvalidKFactor"}
        with world.db.read() as conn:
            assert metering.latest(conn, TENANT, OUTLET) is None
