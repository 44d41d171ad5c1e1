"""What comes up: verified, taken once, counted when it is bad; one bad message never costs another."""

import hashlib
import itertools
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from backend.db import Database
from backend.fleet import service as fleet
from backend.mqtt import ingest, repository
from backend.mqtt.client import Incoming
from backend.outbox import service as outbox
from backend.water_sessions import service as water_sessions
from backend.water_sessions.machine import State
from gateway.contract import topics
from gateway.contract.events import Event, JournalRecord
from gateway.contract.messages import CredentialPresented, EventBatch, Gone, HealthReport, Hello
from gateway.contract.signing import Signed, sign
from tests.unit.backend.water_sessions.world import (
    GATEWAY,
    GATEWAY_KEY,
    START_MINOR,
    TENANT,
    World,
    health,
    hello,
)


class Journal:
    """A gateway's journal: signs and chains events."""

    def __init__(self, world: World, epoch: str = "ep1") -> None:
        self.world, self.epoch = world, epoch
        self.sequence, self.previous = 0, "0" * 64

    def record(self, event: Event, *, key: Ed25519PrivateKey | None = None, gateway: str = GATEWAY) -> Signed:
        """Return the event as the next signed record."""
        self.sequence += 1
        record = JournalRecord(
            tenant=TENANT,
            gateway=gateway,
            epoch=self.epoch,
            sequence=self.sequence,
            previous_sha256=self.previous,
            event=event,
        )
        signed = sign(record, key=key or self.world.gateway_key, kid=GATEWAY)
        self.previous = hashlib.sha256(signed.payload.encode()).hexdigest()
        return signed


def events(*records: Signed, gateway: str = GATEWAY) -> Incoming:
    """Return a message with records."""
    payload = msgspec.json.encode(EventBatch(records=list(records)))
    return Incoming(topics.up(TENANT, gateway, topics.Up.EVENT), payload)


def message(
    kind: topics.Up,
    body: msgspec.Struct | bytes,
    *,
    gateway: str = GATEWAY,
    key: Ed25519PrivateKey = GATEWAY_KEY,
    kid: str = GATEWAY,
) -> Incoming:
    """Return a message of another kind, in an envelope where the contract wants one."""
    if isinstance(body, Hello | HealthReport | CredentialPresented):
        body = sign(body, key=key, kid=kid)
    payload = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Incoming(topics.up(TENANT, gateway, kind), payload)


def rejections(world: World, tenant_id: str = TENANT) -> dict[tuple[str, str], int]:
    """Return how often what was rejected, by kind and reason."""
    with world.db.read() as conn:
        return {(row["kind"], row["reason"]): row["count"] for row in repository.rejected(conn, tenant_id)}


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """Return a filled school."""
    return World(database, tmp_path / "secrets").fill()


class TestHandle:
    def test_settles_and_acknowledges(self, world: World) -> None:
        started = world.start()
        journal = Journal(world)
        batch = events(journal.record(world.opened(started)), journal.record(world.ended(started)))

        (ack,) = ingest.handle(world.ctx, [batch])

        assert (ack.gateway_id, ack.epoch, ack.acked_through) == (GATEWAY, "ep1", 2)
        assert world.session(started.water_session_id).state is State.SETTLED
        assert rejections(world) == {}

    def test_takes_a_repeat_once_and_acknowledges_it_again(self, world: World) -> None:
        started = world.start()
        journal = Journal(world)
        batch = events(journal.record(world.opened(started)), journal.record(world.ended(started)))

        acks = [ingest.handle(world.ctx, [batch, batch])[0].acked_through for _ in range(3)]

        assert acks == [2, 2, 2]
        assert world.wallet().posted_minor == START_MINOR - 66
        assert world.session(started.water_session_id).ignored_events == 0

    def test_puts_the_records_of_a_batch_in_sequence(self, world: World) -> None:
        started = world.start()
        journal = Journal(world)
        first, second = journal.record(world.opened(started)), journal.record(world.ended(started))

        ingest.handle(world.ctx, [events(second), events(first)])

        assert world.session(started.water_session_id).ignored_events == 0

    def test_ends_in_the_same_books_in_any_order_of_messages(self, world: World) -> None:
        journal = Journal(world)
        for order in itertools.permutations(range(3)):
            started = world.start()
            register = 1_000
            signed = [
                journal.record(world.opened(started, pulses=register)),
                journal.record(world.ended(started, pulses=register)),
            ]
            parts = [events(signed[0]), events(signed[1]), events(*signed)]
            for index in order:
                ingest.handle(world.ctx, [parts[index]])
            assert world.session(started.water_session_id).captured_minor == 66
            world.later(1)

        assert world.wallet().posted_minor == START_MINOR - 6 * 66
        world.check_books()

    def test_counts_bad_messages_and_handles_their_neighbors(self, world: World) -> None:
        started = world.start()
        journal = Journal(world)
        stranger = Ed25519PrivateKey.generate()
        good = journal.record(world.opened(started))
        forged = Journal(world, "ep2").record(world.ended(started), key=stranger)
        foreign = Journal(world, "ep3").record(world.ended(started), gateway="gw_other")
        unsigned = msgspec.structs.replace(Journal(world, "ep4").record(world.ended(started)), signature="")

        ingest.handle(
            world.ctx,
            [
                Incoming("nonsense/topic", b"x"),
                Incoming(topics.up(TENANT, "gw_ghost", topics.Up.HELLO), b"{}"),
                message(topics.Up.EVENT, b"\xff not json"),
                message(topics.Up.HELLO, b'{"gateway": 1}'),
                message(topics.Up.HEALTH, msgspec.structs.replace(health(world.now), gateway="gw_other")),
                events(forged, foreign, unsigned, good),
                retained(message(topics.Up.HELLO, hello(world.now))),
            ],
        )

        assert world.session(started.water_session_id).state is State.FLOWING
        assert rejections(world) == {
            ("hello", "unknown_gateway"): 1,
            ("event", "malformed"): 1,
            ("hello", "malformed"): 1,
            ("health", "wrong_audience"): 1,
            ("record", "bad_signature"): 1,
            ("record", "wrong_audience"): 1,
            ("record", "unsigned"): 1,
            ("hello", "retained"): 1,
        }
        assert rejections(world, "-") == {("topic", "malformed_topic"): 1}

    def test_parks_a_genuine_record_it_cannot_handle_and_goes_on(self, world: World) -> None:
        started = world.start()
        journal = Journal(world)
        stray = msgspec.structs.replace(world.ended(started), water_session_id="ws_nowhere")

        (ack,) = ingest.handle(world.ctx, [events(journal.record(stray), journal.record(world.ended(started)))])

        assert ack.acked_through == 2
        assert world.session(started.water_session_id).state is State.SETTLED
        assert rejections(world) == {("water_session_ended", "water_session_unknown"): 1}
        with world.db.read() as conn:
            (parked,) = outbox.parked_due(conn, world.later(60), 10)
        assert parked.sequence == 1
        assert "ws_nowhere" in parked.payload

    def test_refuses_events_of_another_gateways_device(self, world: World) -> None:
        key = Ed25519PrivateKey.generate()
        from gateway.contract.signing import public_text

        with world.db.write() as conn:
            fleet.add_gateway(conn, fleet.Gateway(TENANT, "gw_two", "pl_campus", public_text(key.public_key())))
        started = world.start()
        record = JournalRecord(
            tenant=TENANT,
            gateway="gw_two",
            epoch="ep9",
            sequence=1,
            previous_sha256="0" * 64,
            event=world.ended(started),
        )

        ingest.handle(world.ctx, [events(sign(record, key=key, kid="gw_two"), gateway="gw_two")])

        assert world.session(started.water_session_id).state is State.AUTHORIZED
        assert rejections(world) == {("water_session_ended", "foreign_device"): 1}

    def test_counts_a_broken_chain_and_a_second_record_of_one_sequence(self, world: World) -> None:
        started = world.start()
        journal, other = Journal(world), Journal(world)
        first = journal.record(world.opened(started))
        journal.previous = "f" * 64
        second = journal.record(world.ended(started))
        twin = other.record(world.ended(started))

        ingest.handle(world.ctx, [events(first, second, twin)])

        assert rejections(world) == {
            ("water_session_ended", "broken_chain"): 1,
            ("water_session_ended", "conflicting_record"): 1,
        }
        assert world.session(started.water_session_id).captured_minor == 66

    def test_answers_a_hello_with_where_the_journal_stands(self, world: World) -> None:
        (ack,) = ingest.handle(world.ctx, [message(topics.Up.HELLO, hello(world.later(1)))])

        assert (ack.epoch, ack.acked_through) == ("ep1", 0)


def retained(of: Incoming) -> Incoming:
    """Return a message as the broker's memory would send it."""
    from dataclasses import replace

    return replace(of, retained=True)


class TestEnvelopes:
    @pytest.mark.parametrize("kind", [topics.Up.HELLO, topics.Up.HEALTH])
    def test_must_be_signed_by_the_gateway(self, world: World, kind: topics.Up) -> None:
        world.later(1)
        body = hello(world.now) if kind is topics.Up.HELLO else health(world.now)
        stranger = Ed25519PrivateKey.generate()
        bare = Incoming(topics.up(TENANT, GATEWAY, kind), msgspec.json.encode(body))

        acks = ingest.handle(world.ctx, [message(kind, body, key=stranger), message(kind, body, kid="north-1"), bare])

        assert acks == []
        assert rejections(world) == {
            (kind.value, "bad_signature"): 1,
            (kind.value, "unknown_key"): 1,
            (kind.value, "malformed"): 1,
        }

    def test_must_name_the_gateway_of_the_topic(self, world: World) -> None:
        ingest.handle(world.ctx, [message(topics.Up.HELLO, msgspec.structs.replace(hello(world.now), gateway="gw_x"))])

        assert rejections(world) == {("hello", "wrong_audience"): 1}

    def test_believes_the_last_will_without_one(self, world: World) -> None:
        ingest.handle(world.ctx, [message(topics.Up.GONE, Gone(gateway=GATEWAY))])

        with world.db.read() as conn:
            assert not fleet.gateway(conn, TENANT, GATEWAY).connected

    def test_leave_the_outlets_of_a_gateway_with_a_strange_key_offline_within_a_minute(self, world: World) -> None:
        strange = Ed25519PrivateKey.generate()
        world.later(61)

        ingest.handle(world.ctx, [message(topics.Up.HEALTH, health(world.now), key=strange)])

        with pytest.raises(water_sessions.OutletOffline):
            world.start()
        ingest.handle(world.ctx, [message(topics.Up.HEALTH, health(world.later(1)))])
        assert world.start().state is State.AUTHORIZED

    def test_by_a_forger_take_no_outlet_offline(self, world: World) -> None:
        forged = message(topics.Up.HEALTH, health(world.later(1)), key=Ed25519PrivateKey.generate())

        ingest.handle(world.ctx, [forged, message(topics.Up.EVENT, b'{"records":[]}')])

        assert world.start().state is State.AUTHORIZED


class TestRetryParked:
    def test_handles_a_record_whose_cause_is_gone(self, world: World) -> None:
        started = world.start()
        journal = Journal(world)
        with world.db.write() as conn:
            device = fleet.device(conn, TENANT, started.device_id)
            fleet.add_gateway(conn, fleet.Gateway(TENANT, "gw_two", "pl_campus", ""))
            fleet.add_device(conn, moved(device, "gw_two"))
        ingest.handle(world.ctx, [events(journal.record(world.ended(started)))])
        before = world.session(started.water_session_id).state
        with world.db.write() as conn:
            fleet.add_device(conn, moved(device, GATEWAY))

        early = ingest.retry_parked(world.ctx)
        world.later(30)
        handled = ingest.retry_parked(world.ctx)

        assert (before, early, handled) == (State.AUTHORIZED, 0, 1)
        assert world.session(started.water_session_id).captured_minor == 66
        assert ingest.retry_parked(world.ctx) == 0


def moved(device: fleet.Device, gateway_id: str) -> fleet.Device:
    """Return a device as one of another gateway."""
    from dataclasses import replace

    return replace(device, gateway_id=gateway_id)
