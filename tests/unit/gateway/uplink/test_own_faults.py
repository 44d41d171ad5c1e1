import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from gateway.contract.events import FaultCleared, FaultRaised
from gateway.contract.faults import FaultCode
from gateway.uplink import own_faults
from gateway.uplink.own_faults import OwnFaults, is_crowded
from tests.fakes.gateway_port import Bench
from tests.fakes.virtual_loop import run_virtually
from tests.unit.gateway.uplink.test_journal import append
from tests.unit.gateway.uplink.test_store import fill, make_room


class Own:
    """The own faults of a gateway whose journal takes 100 records."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder, rows_max=100)
        self.start()

    def start(self) -> None:
        self.faults = OwnFaults(self.bench.store, clock=lambda: self.bench.now_ms, rows_max=100, records_per_session=4)

    def told(self) -> list[tuple[str, str]]:
        """Return what was journaled: the kind, and the fault."""
        return [
            ("raised" if isinstance(event, FaultRaised) else "cleared", event.fault.value)
            for event in self.bench.events()
            if isinstance(event, FaultRaised | FaultCleared) and event.device == ""
        ]


@pytest.fixture
def own(tmp_path: Path) -> Own:
    return Own(tmp_path)


def run(*works: Coroutine[Any, Any, None]) -> None:
    async def all_of_them() -> None:
        for work in works:
            await work

    asyncio.run(all_of_them())


class TestIsCrowded:
    @pytest.mark.parametrize(
        ("waiting", "was_crowded", "expected"),
        [(95, False, False), (96, False, True), (96, True, True), (91, True, True), (90, True, False)],
    )
    def test_needs_more_room_to_end_than_to_begin(self, waiting: int, was_crowded: bool, expected: bool) -> None:
        assert is_crowded(waiting=waiting, rows_max=100, reserved=4, was_crowded=was_crowded) is expected


class TestJournalFull:
    def test_is_raised_once_and_cleared_when_the_backend_has_caught_up(self, own: Own) -> None:
        append(own.bench.store, 96)
        run(own.faults.look(), own.faults.look())
        assert own.told() == [("raised", "journal_full")]
        with own.bench.store.transaction() as tx:
            tx.journal.acknowledge(epoch=tx.journal.head().epoch, acked_through=90)
        run(own.faults.look(), own.faults.look())
        assert own.told() == [("raised", "journal_full"), ("cleared", "journal_full")]

    def test_is_raised_when_the_disk_is_nearly_full(self, own: Own) -> None:
        own.bench.store._free_bytes_min = 2**60
        run(own.faults.look())
        assert own.told() == [("raised", "journal_full")]
        own.bench.store._free_bytes_min = 0
        run(own.faults.look())
        assert own.told()[1:] == [("cleared", "journal_full")]

    def test_survives_a_restart(self, own: Own) -> None:
        append(own.bench.store, 96)
        run(own.faults.look())
        own.start()
        run(own.faults.look())
        assert own.told() == [("raised", "journal_full")]

    def test_of_a_full_disk_is_told_when_there_is_room(self, own: Own) -> None:
        fill(own.bench.store)
        run(own.bench.store.write_or_keep(lambda tx: tx.memory.take_and_return(10**7)), own.faults.look())
        assert own.faults.has(FaultCode.JOURNAL_FULL)
        make_room(own.bench.store)
        run(own.faults.look())
        assert not own.faults.has(FaultCode.JOURNAL_FULL)


class TestClockSkew:
    def test_is_raised_by_a_command_from_the_future_and_cleared_by_one_in_time(self, own: Own) -> None:
        run(own.faults.clock_behind(9_000), own.faults.clock_behind(9_100))
        assert own.told() == [("raised", "clock_skew")]
        run(own.faults.clock_fits(), own.faults.clock_fits())
        assert own.told() == [("raised", "clock_skew"), ("cleared", "clock_skew")]

    def test_is_cleared_when_the_clock_is_set_forward_far_enough(self, own: Own) -> None:
        async def work() -> None:
            await own.faults.clock_behind(60_000)
            own.bench.now_ms += 20_000
            await own.faults.look()
            assert own.faults.has(FaultCode.CLOCK_SKEW)
            own.bench.now_ms += 40_000
            await own.faults.look()

        run(work())
        assert own.told() == [("raised", "clock_skew"), ("cleared", "clock_skew")]


HOUR_MS = 3_600_000


class TestClockJump:
    @pytest.mark.parametrize(("jump_ms", "said"), [(HOUR_MS, "+3600 s"), (-HOUR_MS, "-3600 s")])
    def test_of_an_hour_is_named_and_counted_and_no_longer_told_after_a_minute(
        self, own: Own, jump_ms: int, said: str
    ) -> None:
        async def work() -> None:
            await own.faults.look()
            own.bench.now_ms += jump_ms
            await own.faults.look()
            assert own.told() == [("raised", "clock_skew")]
            assert own.faults.jumps == 1
            (detail,) = own.faults.present[FaultCode.CLOCK_SKEW]
            assert said in detail
            await asyncio.sleep(own_faults.JUMP_TOLD_S / 2)
            own.bench.now_ms += int(own_faults.JUMP_TOLD_S * 500)
            await own.faults.look()
            assert own.faults.has(FaultCode.CLOCK_SKEW)
            await asyncio.sleep(own_faults.JUMP_TOLD_S / 2)
            own.bench.now_ms += int(own_faults.JUMP_TOLD_S * 500)
            await own.faults.look()

        run_virtually(work())
        assert own.told() == [("raised", "clock_skew"), ("cleared", "clock_skew")]

    def test_and_a_command_in_its_time_after_it_are_told(self, own: Own) -> None:
        async def work() -> None:
            await own.faults.look()
            own.bench.now_ms += HOUR_MS
            await own.faults.look()
            await own.faults.clock_fits()
            await own.faults.look()

        run_virtually(work())
        assert own.told() == [("raised", "clock_skew"), ("cleared", "clock_skew")]
        assert own.faults.jumps == 1

    def test_is_not_what_a_clock_does_that_is_set_a_little(self, own: Own) -> None:
        async def work() -> None:
            for step_ms in (30_000, -30_000, 59_000):
                await own.faults.look()
                own.bench.now_ms += step_ms
            await own.faults.look()

        run_virtually(work())
        assert own.told() == []


class TestStrangers:
    def test_are_told_one_by_one_and_cleared_together(self, own: Own) -> None:
        unknown = FaultCode.DEVICE_UNKNOWN
        run(own.faults.set(unknown, "a"), own.faults.set(unknown, "a", "b"), own.faults.set(unknown, "b"))
        own.start()
        run(own.faults.set(unknown, "b"), own.faults.clear(unknown), own.faults.clear(unknown))
        assert own.told() == [("raised", "device_unknown")] * 2 + [("cleared", "device_unknown")]
        run(own.faults.set(unknown, "a"))
        assert own.told()[-1] == ("raised", "device_unknown")


class TestFlapping:
    def test_is_held_back_and_ends(self, own: Own) -> None:
        async def work() -> None:
            for _ in range(40):
                await own.faults.set(FaultCode.CLOCK_SKEW, "x")
                await own.faults.clear(FaultCode.CLOCK_SKEW)
            own.bench.now_ms += 60_000
            await own.faults.settle()

        run(work())
        assert len(own.told()) == 10
        assert own.told()[-1][0] == "cleared"
