"""The supply fails in every single write of a whole session, at several places in it: nothing is lost or told twice."""

import itertools

import pytest

from firmware_sim.event_log import Record, unpack
from firmware_sim.nvm import PowerCut, TornNvm
from firmware_sim.water_outlet import SLOT_ML, SLOT_MS, WaterOutlet
from tests.unit.firmware_sim.rig import K_FACTOR, LABEL, UNIX_MS, Bench

#: nothing of the write, a piece of its head, a piece of its body, all of it
PLACES = (0, 7, 40, 1_000_000)


class Story:
    """Two sessions with all that writes: opening, slots, pause, renewal, leak, configuration, acknowledgement."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.nvm = TornNvm()
        self.ran = 0
        self.records: dict[int, Record] = {}
        self.power_up()
        self.bench.run(300)
        self.collect()

    def power_up(self) -> None:
        bench = self.bench
        bench.outlet = WaterOutlet(bench.map, LABEL, self.nvm, now_ms=bench.now_ms, unix_ms=UNIX_MS + bench.now_ms)

    def collect(self) -> None:
        for sequence, data in self.bench.outlet.log.records.items():
            record = unpack(data)
            assert self.records.setdefault(sequence, record) == record

    def tell(self) -> None:
        bench = self.bench
        bench.open(session=1, limit_volume=100_000, token=11)
        bench.run(12_000)
        bench.command("EXTEND", session=1, lease=60, token=12)
        bench.command("PAUSE", session=1, token=13)
        bench.run(2_000)
        bench.open(session=1, limit_volume=100_000, token=14)
        bench.lpm = 2.0
        bench.run(25_000)
        bench.command("CLOSE", session=1, token=15)
        bench.run_until("IDLE")
        self.collect()
        bench.acknowledge()
        bench.write("cfg_unlock", 0x55AA)
        bench.write("cfg_noflow", 20)
        bench.leak_lpm = 0.5
        bench.run(4_000)
        bench.leak_lpm = 0.0
        bench.open(session=2, limit_volume=1_500, token=16)
        bench.lpm = 8.5
        bench.run_until("IDLE")

    def told(self, kind: str) -> list[Record]:
        number = self.bench.map.code("record_type", kind)
        return [record for _, record in sorted(self.records.items()) if record.type == number]


def writes_of_the_story() -> int:
    story = Story()
    before = story.nvm.saves
    story.tell()
    return story.nvm.saves - before


WRITES = writes_of_the_story()


class TestCutAtEveryWrite:
    def test_has_many_writes_to_cut(self) -> None:
        assert WRITES >= 12

    @pytest.mark.parametrize("place", PLACES)
    def test_leaves_one_end_for_each_start_and_loses_no_more_than_the_slot_allows(self, place: int) -> None:
        for number in range(1, WRITES + 1):
            story = Story()
            story.nvm.cut(saves=number, byte=place)
            with pytest.raises(PowerCut):
                story.tell()
            had = story.bench.outlet.total_pulses
            flowing_lpm = story.bench.lpm
            story.power_up()
            story.bench.run(300)
            story.collect()
            starts, ends = story.told("START"), story.told("END")

            where = f"write {number}, byte {place}"
            assert [record.subject_id for record in ends] == [record.subject_id for record in starts], where
            assert story.bench.outlet.state == "IDLE", where
            assert sorted(story.records) == list(range(1, max(story.records) + 1)), where
            assert all(b.total <= a.total - a.count for b, a in itertools.pairwise(ends)), where
            lost = story.bench.outlet.total_pulses
            step = K_FACTOR * flowing_lpm / 60_000 * 0.05 + 1
            allowed = max(SLOT_ML * K_FACTOR / 1_000_000, K_FACTOR / 1_000 * flowing_lpm / 60 * SLOT_MS / 1_000) + step
            assert 0 <= had - lost <= allowed, where

    def test_goes_on_afterwards_as_if_nothing_had_been(self) -> None:
        for number in range(1, WRITES + 1, 3):
            story = Story()
            story.nvm.cut(saves=number, byte=40)
            with pytest.raises(PowerCut):
                story.tell()
            story.power_up()
            story.bench.run(300)
            story.bench.temp, story.bench.leak_lpm, story.bench.lpm = 400, 0.0, 8.5

            assert story.bench.open(session=900) == ("DONE", 0)
            story.bench.run(1_000)
            story.bench.command("CLOSE", session=900)
            story.bench.run_until("IDLE")
            story.collect()
            assert story.told("END")[-1].subject_id == 900
            assert story.bench.outlet.boot_id == 2


class TestTornNvm:
    def test_a_cut_in_the_very_first_write_leaves_a_new_device(self) -> None:
        for byte in (0, 10, 1_000_000):
            nvm = TornNvm()
            nvm.cut(saves=1, byte=byte)
            bench = Bench()
            with pytest.raises(PowerCut):
                WaterOutlet(bench.map, LABEL, nvm, now_ms=0, unix_ms=UNIX_MS)

            outlet = WaterOutlet(bench.map, LABEL, nvm, now_ms=0, unix_ms=UNIX_MS)

            assert outlet.fault_names() == []

    def test_both_banks_torn_is_a_fault_that_blocks(self) -> None:
        story = Story()
        story.nvm.cells[:] = b"\xff" * len(story.nvm.cells)
        story.power_up()
        story.bench.run(300)

        assert story.bench.outlet.fault_names() == ["NVM_CRC"]
        assert story.bench.open()[0] == "FAULTED"
