"""Bad input on a serial line and on Modbus TCP, through a whole gateway: named, counted, shown; nothing opens."""

import asyncio
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from firmware_sim.pdu import answer
from gateway.commands.local import ask
from gateway.commands.watch import table
from gateway.contract.commands import OpenValve
from gateway.contract.events import CommandRefused, FaultRaised, RefusalCode, ValveOpened
from gateway.contract.faults import FaultCode
from gateway.contract.messages import DeviceHealth
from tests.contract.conformance.wire import crc
from tests.fakes.gateway_backend import FakeBackend
from tests.fakes.gateway_site import GatewaySite
from tests.patience import PATIENCE_S
from tests.unit.firmware_sim.rig import Bench

GOOD = "good"
#: what each unit does with its answers, on lines with check bytes and on lines without
HABITS = {
    "rtu": (GOOD, "wrong CRC", "wrong unit", "exception 2", "exception 4", "short", "two glued", "two at one address"),
    "tcp": (GOOD, "wrong unit", "exception 2", "exception 4", "short", "another protocol", "another length"),
}
#: what its state and the evidence must say
NAMED = {
    "wrong CRC": ("silent", "damaged"),
    "wrong unit": ("silent", "another unit"),
    "exception 2": ("mismatch", "exception 2"),
    "exception 4": ("mismatch", "exception 4"),
    "short": ("silent", "cut short"),
    "two glued": ("silent", "two units at this address"),
    "two at one address": ("silent", "damaged"),
    "another protocol": ("silent", "damaged"),
    "another length": ("silent", "damaged"),
}


class BadUnits:
    """Outlets of the simulator behind a line that does to each unit's answers what its habit is."""

    def __init__(self, kind: str, port: int) -> None:
        self._rtu, self._port = kind == "rtu", port
        self.habits = dict(enumerate(HABITS[kind], start=1))
        self.benches = {unit: Bench().ready() for unit in self.habits}
        self._second = Bench().ready()
        self._second.outlet.total_pulses = 4_711
        self._second.outlet.config["cfg_cal_k"] = 450_017
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._ready = threading.Event()
        self._links: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)

    def stop(self) -> None:
        """End."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self._port))
        self._loop.create_task(self._let_time_pass())
        self._loop.call_soon(self._ready.set)
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _let_time_pass(self) -> None:
        while True:
            for bench in self.benches.values():
                bench.run(50)
            await asyncio.sleep(0.05)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting = b""
        while True:
            data = await reader.read(4096)
            if not data:
                break
            waiting += data
            if self._rtu:
                unit, pdu, head, waiting = waiting[0], waiting[1:-2], b"", b""
            else:
                length = int.from_bytes(waiting[4:6], "big")
                head, unit, pdu, waiting = waiting[:4], waiting[6], waiting[7 : 6 + length], waiting[6 + length :]
            if unit in self.benches:
                writer.write(self._answer(head, unit, pdu))
        writer.close()

    def _frame(self, head: bytes, unit: int, pdu: bytes) -> bytes:
        if self._rtu:
            body = bytes([unit]) + pdu
            return body + crc(body)
        return head + struct.pack(">HB", len(pdu) + 1, unit) + pdu

    def _answer(self, head: bytes, unit: int, request: bytes) -> bytes:
        bench = self.benches[unit]
        pdu = answer(bench.outlet, request, bench.now_ms)
        right = self._frame(head, unit, pdu)
        match self.habits[unit]:
            case "wrong CRC":
                return right[:-1] + bytes([right[-1] ^ 0x40])
            case "wrong unit":
                return self._frame(head, unit + 100, pdu)
            case "exception 2" | "exception 4" as habit:
                return self._frame(head, unit, bytes([request[0] | 0x80, int(habit[-1])]))
            case "short":
                return right[: len(right) * 2 // 3]
            case "two glued":
                return right + right
            case "two at one address":  # both drive the line: a zero wins over a one, bit by bit
                other = self._frame(head, unit, answer(self._second.outlet, request, self._second.now_ms))
                return bytes(a & b for a, b in zip(right, b"\xff" + other[:-1], strict=True))
            case "another protocol":
                return right[:2] + b"\x00\x07" + right[4:]
            case "another length":
                return right[:4] + struct.pack(">H", 3) + right[6:]
        return right


@pytest.fixture(params=["rtu", "tcp"])
def units(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[GatewaySite, BadUnits, FakeBackend]]:
    """Yield a gateway on a line of units that misbehave, and the backend it reports to."""
    kind = request.param
    devices = [(f"dev_{unit}", unit, "outlet", "chw.hwo1") for unit in range(1, len(HABITS[kind]) + 1)]
    site = GatewaySite(tmp_path, rtu=kind == "rtu", devices=devices)
    bad = BadUnits(kind, site.line_port)
    bad.start()
    site.start_broker()
    backend = site.backend()
    site.start_gateway()
    yield site, bad, backend
    backend.stop()
    site.stop()
    bad.stop()


def found(devices: Sequence[DeviceHealth], bad: BadUnits) -> dict[str, DeviceHealth]:
    """Return what is known of each unit, by its habit."""
    return {habit: next(d for d in devices if d.device == f"dev_{unit}") for unit, habit in bad.habits.items()}


def is_named(known: dict[str, DeviceHealth]) -> bool:
    """Return whether every unit is called what it is."""
    return all(
        known[habit].state == NAMED[habit][0] and NAMED[habit][1] in known[habit].evidence
        for habit in known
        if habit != GOOD
    )


class TestBadUnits:
    def test_are_named_counted_and_shown_and_nothing_opens(
        self, units: tuple[GatewaySite, BadUnits, FakeBackend]
    ) -> None:
        site, bad, backend = units
        backend.wait(lambda: backend.health and is_named(found(backend.health[-1].devices, bad)))
        faulty = {f"dev_{unit}" for unit, habit in bad.habits.items() if habit != GOOD}
        backend.wait(lambda: {e.device for e in backend.events(FaultRaised)} >= faulty)

        for unit in bad.habits:
            body = OpenValve(water_session_id=f"ws_{unit}", volume_limit_ml=10_000, duration_limit_s=300)
            backend.command(f"dev_{unit}", body)
        backend.wait_for_event(ValveOpened, water_session_id="ws_1")
        backend.wait(lambda: len(backend.events(CommandRefused)) >= len(faulty))

        # nothing but the good unit opened, and the refusals say why
        assert {event.device for event in backend.events(ValveOpened)} == {"dev_1"}
        refused = {event.device: event.code for event in backend.events(CommandRefused)}
        assert set(refused) == faulty
        assert set(refused.values()) <= {RefusalCode.DEVICE_SILENT, RefusalCode.DEVICE_FAULT}
        started = {unit for unit, bench in bad.benches.items() if bench.records("START")}
        assert started == {1}
        # named and counted, at the backend and on the box
        raised = {e.device: e.fault for e in backend.events(FaultRaised) if e.device in faulty}
        assert set(raised.values()) <= {FaultCode.DEVICE_SILENT, FaultCode.DEVICE_MISMATCH, FaultCode.DEVICE_UNKNOWN}
        snapshot = ask(site.folder / "gateway")
        on_the_box = found([device.health for device in snapshot.devices], bad)
        assert is_named(on_the_box)
        shown = table(snapshot)
        for habit, known in on_the_box.items():
            if habit == GOOD:
                assert (known.state, known.timeouts) == ("online", 0)
            elif not habit.startswith("exception"):
                assert known.timeouts > 0
                assert known.crc_errors > 0, habit
            assert known.device in shown
            assert known.evidence[:40] in shown
