import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.contract.commands import Body, Command, GrantPassage, OpenValve
from gateway.contract.events import CommandRefused, JournalRecord, PassageCounted
from gateway.devices.ports import CommandResult, DoorStatus, Flags, Identity, LogPage, LogRecord, Mail
from gateway.devices.registry import Registry
from gateway.kit import Trace
from gateway.modbus.bus import NoAnswer, NotTried, Priority
from gateway.sessions.device import Surroundings
from gateway.sessions.door import GRANT_MEMORY_MS, DoorController
from gateway.uplink.store import Store
from gateway.uplink.verification import Order
from tests.fakes.gateway_port import FakeUplink


@dataclass
class FakeDoor:
    """Grants at once; a test says who walks through."""

    answer: CommandResult | Exception = field(default_factory=lambda: CommandResult(code="ACCEPTED", detail=0))
    log: list[LogRecord] = field(default_factory=list)
    acked: int = 0
    granted: list[int] = field(default_factory=list)

    def write(self, kind: str, subject_u32: int, label: str = "IN") -> None:
        """Put a record into the door's log."""
        record = LogRecord(
            sequence=len(self.log) + 1,
            kind=kind,
            boot_id=1,
            time_ds=0,
            subject_u32=subject_u32,
            session_pulses=0,
            total_pulses=0,
            label=label,
            temperature_decidegc=None,
        )
        self.log.append(record)

    async def identify(self) -> Identity:
        return Identity(model="ACR-1", serial="1", firmware="1", k_factor_pulses_per_m3=0, log_ack=0)

    async def flags(self) -> Flags:
        return Flags(names=frozenset({"log_pending"} if len(self.log) > self.acked else ()))

    async def status(self, priority: Priority) -> DoorStatus:
        return DoorStatus(state="LOCKED", faults=frozenset(), grant_u32=0, log_head=len(self.log), boot_id=1)

    async def set_clock(self, now_ms: int) -> None:
        return None

    async def log_page(self, cursor: int) -> LogPage:
        records = tuple(r for r in self.log if r.sequence >= cursor)[:6]
        through = records[-1].sequence if records else 0
        return LogPage(head=len(self.log), records=records, damaged=0, through=through)

    async def acknowledge_log(self, through: int) -> None:
        self.acked = through

    async def mail(self, flags: Flags) -> Mail | None:
        return None

    async def acknowledge_mail(self, mail: Mail) -> None:
        return None

    async def display(self, text: str, seconds: int) -> None:
        return None

    async def grant(self, grant_u32: int, direction: str, open_ms: int, not_after_s: int) -> CommandResult:
        self.granted.append(grant_u32)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def deny(self, direction: str) -> CommandResult:
        return CommandResult(code="ACCEPTED", detail=0)


class Gate:
    """One door controller on a fake door with a real store."""

    def __init__(self, folder: Path, door: FakeDoor) -> None:
        self.door, self.now_ms = door, 1_000_000_000
        self.store = Store(folder / "s.sqlite", tenant="school", gateway="gw", key=Ed25519PrivateKey.generate())
        with self.store.transaction() as tx:
            memory, passages = tx.memory.device("dev_d1"), tx.memory.passages()
        around = Surroundings(
            store=self.store,
            registry=Registry(["dev_d1"]),
            uplink=FakeUplink(),
            clock=lambda: self.now_ms,
            trace=Trace(None),
        )
        self.controller = DoorController("dev_d1", door, around, memory, passages, period_s=0.01)

    def order(self, body: Body) -> Order:
        command = Command(
            cmd_id="cmd_1",
            tenant="school",
            gateway="gw",
            device="dev_d1",
            sequence=1,
            issued_at_ms=self.now_ms,
            not_after_ms=self.now_ms + 20_000,
            body=body,
        )
        return Order(command, "0" * 64)

    def told(self, kind: type[Any]) -> list[Any]:
        with self.store.transaction() as tx:
            waiting = tx.journal.waiting(after=0, limit=100)
        events = [msgspec.json.decode(signed.payload, type=JournalRecord).event for _, signed in waiting]
        return [event for event in events if isinstance(event, kind)]


PASSAGE = GrantPassage(passage_id="pg_1", direction="in")


class TestGrant:
    def test_counts_the_passage_not_the_grant(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path, FakeDoor())

        async def work() -> None:
            await gate.controller.cycle()
            await gate.controller.obey(gate.order(PASSAGE))
            assert not gate.told(PassageCounted)
            gate.door.write("GRANT", gate.door.granted[0])
            gate.door.write("PASSAGE", gate.door.granted[0])
            await gate.controller.cycle()

        asyncio.run(work())
        (counted,) = gate.told(PassageCounted)
        assert (counted.passage_id, counted.outcome, counted.device_log_sequence) == ("pg_1", "passed", 2)
        assert gate.door.acked == 2
        assert not gate.controller.passages

    @pytest.mark.parametrize(
        ("answer", "code"),
        [
            (CommandResult(code="BUSY", detail=0), "device_refused"),
            (NotTried("unit 9 is resting"), "device_silent"),
        ],
    )
    def test_refuses_and_forgets(self, tmp_path: Path, answer: CommandResult | Exception, code: str) -> None:
        gate = Gate(tmp_path, FakeDoor(answer=answer))

        async def work() -> None:
            await gate.controller.cycle()
            await gate.controller.obey(gate.order(PASSAGE))

        asyncio.run(work())
        (refusal,) = gate.told(CommandRefused)
        assert (refusal.code, refusal.subject_id) == (code, "pg_1")
        with gate.store.transaction() as tx:
            assert tx.memory.passages() == []

    def test_a_lost_answer_is_settled_by_the_doors_log(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path, FakeDoor(answer=NoAnswer("timeout")))

        async def work() -> None:
            await gate.controller.cycle()
            await gate.controller.obey(gate.order(PASSAGE))
            gate.door.write("PASSAGE", gate.door.granted[0])
            await gate.controller.cycle()

        asyncio.run(work())
        assert not gate.told(CommandRefused)
        assert gate.told(PassageCounted)[0].passage_id == "pg_1"

    def test_a_grant_the_door_never_got_times_out(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path, FakeDoor(answer=NoAnswer("timeout")))

        async def work() -> None:
            await gate.controller.cycle()
            await gate.controller.obey(gate.order(PASSAGE))
            gate.now_ms += GRANT_MEMORY_MS + 1
            gate.controller._looked_at = -1e9
            await gate.controller.cycle()

        asyncio.run(work())
        assert gate.told(PassageCounted)[0].outcome == "timeout"

    def test_an_outlets_command_is_refused(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path, FakeDoor())
        body = OpenValve(water_session_id="ws_1", volume_limit_ml=1, duration_limit_s=1)
        asyncio.run(gate.controller.obey(gate.order(body)))
        assert gate.told(CommandRefused)[0].subject_id == "ws_1"


class TestLog:
    @pytest.mark.parametrize(
        ("kind", "outcome"), [("FORCED", "forced"), ("TAILGATE", "tailgate"), ("FIRE_FREE", "fire_free")]
    )
    def test_what_needs_no_grant_is_counted_without_one(self, tmp_path: Path, kind: str, outcome: str) -> None:
        gate = Gate(tmp_path, FakeDoor())
        gate.door.write(kind, 0, "OUT")
        asyncio.run(gate.controller.cycle())
        (counted,) = gate.told(PassageCounted)
        assert (counted.outcome, counted.passage_id, counted.direction) == (outcome, "", "out")
