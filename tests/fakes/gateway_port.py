"""An outlet in memory, and the surroundings a controller needs: for tests of controllers without a bus."""

import contextlib
import sqlite3
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.contract.commands import Body, Command
from gateway.contract.events import JournalRecord
from gateway.contract.messages import CredentialPresented, MeterSampled
from gateway.devices.ports import (
    CommandResult,
    DeviceMismatch,
    Flags,
    Identity,
    LogPage,
    LogRecord,
    Mail,
    Opening,
    OutletStatus,
)
from gateway.devices.registry import Registry
from gateway.kit import Trace
from gateway.modbus.bus import NoAnswer, Priority
from gateway.sessions.controller import OutletController
from gateway.sessions.device import Surroundings
from gateway.uplink.store import Store
from gateway.uplink.verification import Order

K_FACTOR = 450_000
CLOSED = OutletStatus(
    state="IDLE",
    close_reason="NONE",
    faults=frozenset(),
    session_u32=0,
    session_pulses=0,
    session_elapsed_s=0,
    flow_ml_per_min=0,
    temperature_decidegc=400,
    total_pulses=1_000,
    lease_left_ms=0,
    log_head=0,
    boot_id=1,
    valve="CLOSED",
)


@dataclass
class FakeOutlet:
    """Opens and closes at once, keeps a log, and fails where a test says so."""

    deadman: str = "lease"
    now: OutletStatus = CLOSED
    log: list[LogRecord] = field(default_factory=list)
    acked: int = 0
    box: list[Mail] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    renewals: int = 0
    clocks_ms: list[int] = field(default_factory=list)
    openings: list[Opening] = field(default_factory=list)
    open_answer: CommandResult = field(default_factory=lambda: CommandResult(code="ACCEPTED", detail=0))
    #: the opening arrives, its answer does not
    lose_open_answer: bool = False
    silent: bool = False
    mismatch: bool = False
    ignores_close: bool = False
    forgets_log: bool = False
    k_factor: int = K_FACTOR

    def _awake(self) -> None:
        if self.silent:
            raise NoAnswer("unit 1: timeout")

    def run_water(self, pulses: int, elapsed_s: int = 0) -> None:
        """Let water run."""
        self.now = replace(
            self.now,
            total_pulses=self.now.total_pulses + pulses,
            session_pulses=self.now.session_pulses + pulses,
            session_elapsed_s=self.now.session_elapsed_s + elapsed_s,
            flow_ml_per_min=8_000,
        )

    def end(self, reason: str) -> None:
        """Close, for a reason of the device's own."""
        self._record("END", reason)
        self.now = replace(self.now, state="IDLE", valve="CLOSED", close_reason=reason, flow_ml_per_min=0)

    def _record(self, kind: str, label: str) -> None:
        if self.forgets_log:
            return
        record = LogRecord(
            sequence=self.now.log_head + 1,
            kind=kind,
            boot_id=self.now.boot_id,
            time_ds=10 * (1_000 + self.now.session_elapsed_s),
            subject_u32=self.now.session_u32,
            session_pulses=self.now.session_pulses,
            total_pulses=self.now.total_pulses,
            label=label,
            temperature_decidegc=self.now.temperature_decidegc,
        )
        self.log.append(record)
        self.now = replace(self.now, log_head=record.sequence)

    async def identify(self) -> Identity:
        self._awake()
        if self.mismatch:
            raise DeviceMismatch("identity is 0000", unknown=False)
        return Identity(
            model="HWO-1", serial="1", firmware="1", k_factor_pulses_per_m3=self.k_factor, log_ack=self.acked
        )

    async def flags(self) -> Flags:
        self._awake()
        names = {
            "valve_open": self.now.is_open,
            "log_pending": self.now.log_head > self.acked,
            "any_fault": bool(self.now.faults),
            "mbx_pending": bool(self.box),
        }
        return Flags(names=frozenset(name for name, on in names.items() if on))

    async def status(self, priority: Priority) -> OutletStatus:
        self._awake()
        return self.now

    def flags_of(self, status: OutletStatus) -> Flags | None:
        return None

    async def set_clock(self, now_ms: int) -> None:
        self._awake()
        self.clocks_ms.append(now_ms)

    async def log_page(self, cursor: int) -> LogPage:
        self._awake()
        records = tuple(r for r in self.log if r.sequence >= cursor)[:6]
        through = records[-1].sequence if records else 0
        return LogPage(head=self.now.log_head, records=records, damaged=0, through=through)

    async def acknowledge_log(self, through: int) -> None:
        self._awake()
        self.acked = max(self.acked, through)

    async def mail(self, flags: Flags) -> Mail | None:
        return self.box[0] if "mbx_pending" in flags else None

    async def acknowledge_mail(self, mail: Mail) -> None:
        self.box.remove(mail)

    async def display(self, text: str, seconds: int) -> None:
        self.shown.append(text)

    async def open(self, opening: Opening) -> CommandResult:
        self._awake()
        self.openings.append(opening)
        if self.open_answer.accepted:
            self.now = replace(
                self.now,
                state="DISPENSING",
                valve="OPEN",
                session_u32=opening.session_u32,
                session_pulses=0,
                session_elapsed_s=0,
            )
            self._record("START", "0")
        if self.lose_open_answer:
            raise NoAnswer("unit 1: timeout")
        return self.open_answer

    async def close(self, session_u32: int, reason: str) -> CommandResult:
        self._awake()
        if self.now.is_open and not self.ignores_close:
            self.end(reason)
        return CommandResult(code="DONE", detail=0)

    async def renew(self, opening: Opening) -> CommandResult:
        self._awake()
        self.renewals += 1
        return CommandResult(code="DONE", detail=0)


@dataclass
class FakeUplink:
    """Keeps what would be sent."""

    samples: list[MeterSampled] = field(default_factory=list)
    questions: list[CredentialPresented] = field(default_factory=list)
    linked: bool = True

    def sample(self, sample: MeterSampled) -> None:
        self.samples.append(sample)

    def present(self, presented: CredentialPresented) -> bool:
        self.questions.append(presented)
        return self.linked


class Bench:
    """One outlet controller on a fake outlet with a real store. `now_ms` is the clock."""

    def __init__(self, folder: Path, outlet: FakeOutlet | None = None, *, rows_max: int = 1_000) -> None:
        self.folder, self.rows_max = folder, rows_max
        self.outlet = outlet or FakeOutlet()
        self.uplink = FakeUplink()
        self.now_ms = 1_000_000_000
        self._sequence = 0
        self.start()

    def start(self) -> None:
        """Start, or start again as after a crash."""
        self.store = Store(
            self.folder / "gateway.sqlite",
            tenant="school",
            gateway="gw",
            key=Ed25519PrivateKey.generate(),
            rows_max=self.rows_max,
        )
        self.registry = Registry(["dev_o1"])
        with self.store.transaction() as tx:
            memory, sessions = tx.memory.device("dev_o1"), tx.memory.sessions()
        self.controller = OutletController(
            "dev_o1",
            self.outlet,
            Surroundings(
                store=self.store,
                registry=self.registry,
                uplink=self.uplink,
                clock=lambda: self.now_ms,
                trace=Trace(None),
            ),
            memory,
            sessions,
            period_s=0.01,
            meter_period_s=3_600,
        )

    def order(self, body: Body) -> Order:
        """Return a verified command with the next sequence."""
        self._sequence += 1
        command = Command(
            cmd_id=f"cmd_{self._sequence}",
            tenant="school",
            gateway="gw",
            device="dev_o1",
            sequence=self._sequence,
            issued_at_ms=self.now_ms,
            not_after_ms=self.now_ms + 20_000,
            body=body,
        )
        return Order(command, f"{self._sequence:064x}")

    def events(self) -> list[object]:
        """Return everything journaled, oldest first; by a connection of its own, for the store may be writing."""
        with contextlib.closing(sqlite3.connect(self.folder / "gateway.sqlite")) as file:
            rows = file.execute("SELECT payload FROM journal ORDER BY sequence").fetchall()
        return [msgspec.json.decode(payload, type=JournalRecord).event for (payload,) in rows]

    def kinds(self) -> list[str]:
        """Return the names of everything journaled, oldest first."""
        return [type(event).__name__ for event in self.events()]
