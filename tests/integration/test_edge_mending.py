"""
Bytes rot in a gateway's file between two showers: what the real backend takes of what is left, and what its pages say.

The gateway's own store, journal and faults on one side, the backend's ingest and pages on the other; no broker between.
"""

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import update

from backend.fleet.models import gateways
from backend.kit.clock import epoch_ms
from backend.mqtt import ingest
from backend.mqtt.client import Incoming
from backend.water_sessions import service as water_sessions
from backend.water_sessions.machine import State
from backend.water_sessions.types import StartRequest, WaterSession
from gateway.contract import CONTRACT_VERSION, topics
from gateway.contract.events import Event, JournalRecord, MeterRead, StopReason, ValveOpened, WaterSessionEnded
from gateway.contract.messages import EventBatch
from gateway.contract.signing import public_text, sign
from gateway.kit import new_id
from gateway.kit import now_ms as gateway_now_ms
from gateway.uplink.outbox import hello_of
from gateway.uplink.own_faults import OwnFaults
from gateway.uplink.store import Store
from tests.fakes.web_site import School
from tests.unit.backend.web.conftest import (
    SignedInAs,
    app,
    fresh_database,
    school,
    seeded_folder,
    signed_in_as,
    standing_school,
)

__all__ = ["app", "fresh_database", "school", "seeded_folder", "signed_in_as", "standing_school"]

GATEWAY, K_FACTOR = "gw_1", 450_000


class Edge:
    """A gateway's file, and the way from it to the backend and back."""

    def __init__(self, folder: Path, school: School) -> None:
        self.folder, self.school = folder, school
        self.key = Ed25519PrivateKey.generate()
        with school.db.write() as conn:
            conn.execute(
                update(gateways)
                .where(gateways.c.tenant_id == school.tenant_id, gateways.c.gateway_id == GATEWAY)
                .values(public_key=public_text(self.key.public_key()))
            )
        self.start()

    def start(self) -> None:
        """Open the file as after a restart: what is damaged is set aside, and told as a fault."""
        self.store = Store(self.folder / "gateway.sqlite", tenant=self.school.tenant_id, gateway=GATEWAY, key=self.key)
        own = OwnFaults(self.store, clock=gateway_now_ms, rows_max=20_000, records_per_session=4)
        asyncio.run(own.look())
        hello = asyncio.run(
            hello_of(
                self.store,
                gateway=GATEWAY,
                at_ms=epoch_ms(self.school.clock.now),
                software="test",
                contract=CONTRACT_VERSION,
                maps={},
                devices=["dev_o1", "dev_o2"],
            )
        )
        self.tell(topics.Up.HELLO, msgspec.json.encode(sign(hello, key=self.key, kid=GATEWAY)))

    def tell(self, kind: topics.Up, payload: bytes) -> list[ingest.Ack]:
        """Let the backend take a message."""
        return ingest.handle(
            self.school.backend.context, [Incoming(topics.up(self.school.tenant_id, GATEWAY, kind), payload)]
        )

    def write(self, *events: Event) -> None:
        """Journal events."""
        with self.store.transaction() as tx:
            for event in events:
                tx.journal.append(event)

    def waiting(self) -> list[JournalRecord]:
        """Return what the backend has not acknowledged."""
        with self.store.transaction() as tx:
            rows = tx.journal.waiting(after=0, limit=1_000)
        return [msgspec.json.decode(signed.payload, type=JournalRecord) for _, signed in rows]

    def send(self) -> list[tuple[str, int]]:
        """Send what waits and obey the acknowledgement; return epoch and number of each."""
        with self.store.transaction() as tx:
            records = [signed for _, signed in tx.journal.waiting(after=0, limit=1_000)]
        acks = self.tell(topics.Up.EVENT, msgspec.json.encode(EventBatch(records=records)))
        with self.store.transaction() as tx:
            for ack in acks:
                tx.journal.acknowledge(epoch=ack.epoch, acked_through=ack.acked_through)
        return [(ack.epoch, ack.acked_through) for ack in acks]

    def rot(self, statement: str) -> None:
        """Stop the gateway, change its file behind its back, and start it again."""
        self.store.close()
        with contextlib.closing(sqlite3.connect(self.folder / "gateway.sqlite")) as file:
            assert file.execute(statement).rowcount == 1
            file.commit()
        self.start()


def opened(session: WaterSession, at_ms: int) -> ValveOpened:
    return ValveOpened(
        event_id=new_id("ev"),
        at_ms=at_ms,
        device=session.device_id,
        water_session_id=session.water_session_id,
        cmd_id=session.open_cmd_id,
        opening_pulses=0,
        k_factor_pulses_per_m3=K_FACTOR,
    )


def ended(session: WaterSession, at_ms: int, pulses: int) -> WaterSessionEnded:
    return WaterSessionEnded(
        event_id=new_id("ev"),
        at_ms=at_ms,
        device=session.device_id,
        water_session_id=session.water_session_id,
        stop_reason=StopReason.USER,
        opening_pulses=0,
        closing_pulses=pulses,
        k_factor_pulses_per_m3=K_FACTOR,
        duration_s=60,
        device_log_sequence=2,
    )


def reading(at_ms: int, pulses: int, device: str) -> MeterRead:
    return MeterRead(
        event_id=new_id("ev"),
        at_ms=at_ms,
        device=device,
        register_pulses=pulses,
        k_factor_pulses_per_m3=K_FACTOR,
        device_boot_id=1,
    )


@pytest.fixture
def edge(school: School, tmp_path: Path) -> Edge:
    """Return a gateway with a file of its own, whose key the school knows."""
    return Edge(tmp_path / "gateway", school)


def started(school: School, login: str, device_id: str) -> WaterSession:
    request = StartRequest(school.tenant_id, new_id("rq"), device_id, school.person(login).cardholder_id, "wallet")
    return water_sessions.request_start(school.backend.context, request)


def state_of(school: School, session: WaterSession) -> State:
    with school.db.read() as conn:
        return water_sessions.session(conn, school.tenant_id, session.water_session_id).state


def page(signed_in_as: SignedInAs, language: str) -> str:
    text: str = signed_in_as("fac", language=language).get("/facilities").text
    return text.replace("&#39;", "'")


class TestMending:
    def test_one_record_costs_only_itself_and_is_named_on_the_fleet_page(
        self, edge: Edge, school: School, signed_in_as: SignedInAs
    ) -> None:
        lost, kept = started(school, "wang", "dev_o1"), started(school, "zhao", "dev_o2")
        at_ms = epoch_ms(school.clock.now)
        edge.write(opened(lost, at_ms), opened(kept, at_ms))
        ((epoch, through),) = edge.send()
        edge.write(ended(lost, at_ms, 900), ended(kept, at_ms, 450), reading(at_ms, 450, "dev_o2"))
        edge.rot(
            "UPDATE journal SET payload = replace(payload, '\"closing_pulses\":900', '\"closing_pulses\":90')"
            f" WHERE sequence = {through + 1}"
        )

        kinds = [type(record.event).__name__ for record in edge.waiting()]
        acks = edge.send()

        # the good ones were taken, under a new epoch, and acknowledged to the last
        assert kinds == ["WaterSessionEnded", "MeterRead", "FaultRaised"]
        assert acks == [(edge_epoch(edge), 3)]
        assert acks[0][0] != epoch
        assert edge.waiting() == []
        assert state_of(school, kept) is State.SETTLED
        # the altered one was not believed, and nobody was billed by it; its session waits for its end
        assert state_of(school, lost) is State.FLOWING
        said = f"damaged rows of the journal's file set aside: 1: journal {through + 1} water_session_ended"
        for language, words in (("en", "Gateway's file damaged, bad rows set aside"), ("zh", "网关存储文件损坏")):
            text = page(signed_in_as, language)
            assert words in text
            assert f"{said} {lost.water_session_id}" in text
        # and it goes on
        edge.write(reading(at_ms + 1, 450, "dev_o2"))
        assert edge.send() == [(edge_epoch(edge), 4)]

    def test_a_lost_end_is_settled_when_the_device_tells_it_again(self, edge: Edge, school: School) -> None:
        session = started(school, "wang", "dev_o1")
        at_ms = epoch_ms(school.clock.now)
        end = ended(session, at_ms, 900)
        edge.write(opened(session, at_ms), end)
        edge.rot("UPDATE journal SET payload = 'rotten' WHERE sequence = 2")
        edge.send()
        assert state_of(school, session) is not State.SETTLED

        edge.write(end)  # from the file that was set aside, by hand, or from the device's log
        edge.send()

        assert state_of(school, session) is State.SETTLED

    def test_a_file_that_cannot_be_read_at_all_is_told_too(
        self, edge: Edge, school: School, signed_in_as: SignedInAs
    ) -> None:
        at_ms = epoch_ms(school.clock.now)
        edge.write(reading(at_ms, 10, "dev_o1"))
        edge.store.close()
        path = edge.folder / "gateway.sqlite"
        path.write_bytes(b"rotten" * 2_000)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)

        edge.start()

        assert edge.send() == [(edge_epoch(edge), 1)]
        (aside,) = edge.folder.glob("gateway.sqlite.damaged-*")
        assert f"the whole file, kept as {aside.name}" in page(signed_in_as, "en")


def edge_epoch(edge: Edge) -> Any:
    with edge.store.transaction() as tx:
        return tx.journal.head().epoch
