"""The power goes at every FRAM write of a session: whatever is half written, it ends once and no water is lost."""

import ctypes
from collections.abc import Iterator, Sequence

import pytest

from firmware_sim.event_log import Record, unpack
from hardware.firmware_ref.host import FRAM_BYTES, Firmware, PowerLost, Sample
from tests.contract.firmware.steps import MAP, Frame, Tick, command, long, open_order, order, read, write, write_read
from tests.contract.firmware.twins import LABEL, UNIX_MS

SESSION = 7
PULSES_PER_TICK = 40
#: what may be lost without warning: the pulses of the last saved liter or of ten seconds, and those of one tick
LOST_MAX = 450 + PULSES_PER_TICK


class Life:
    """One firmware with its water; `pulses` is what really ran through the meter."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.firmware = Firmware(library, LABEL)
        self.now_ms = 1_000
        self.pulses = 0

    def sample(self) -> Sample:
        return Sample(temp=400, temp_in=-32768, temp_mcu=310, supply_mv=24_000, backup_mv=3_300)

    def power_up(self) -> None:
        self.now_ms += 500
        self.firmware.power_up(self.now_ms, self.now_ms + UNIX_MS, self.sample())
        self.tick(300, 0)

    def tick(self, ms: int, pulses: int) -> None:
        self.now_ms += ms
        sample = self.sample()
        sample.pulses = pulses if self.firmware.valve else 0
        self.pulses += sample.pulses
        self.firmware.tick(self.now_ms, sample)

    def ask(self, frame: Frame) -> bytes:
        self.now_ms += frame.ms
        return self.firmware.send(frame.adu(), self.now_ms)

    def session(self) -> None:
        """Open, run, renew, pause, go on, close and end; poll and acknowledge meanwhile."""
        assert self.ask(open_order(token=1, session=SESSION))
        for number in range(90):
            self.tick(250, PULSES_PER_TICK)
            if number % 4 == 0:
                self.ask(Frame(read(4, 100, 28)))
            if number == 20:
                self.ask(order("EXTEND", token=2, session=SESSION, limit_volume=20_000))
            if number == 40:
                self.ask(order("PAUSE", token=3, session=SESSION))
            if number == 60:
                self.ask(open_order(token=4, session=SESSION, limit_volume=30_000))
            if number == 70:
                self.ask(Frame(write(64, *long(2))))
        self.ask(order("CLOSE", token=5, session=SESSION))
        for _ in range(8):
            self.tick(100, 0)

    def records(self) -> list[Record]:
        """Return the whole log as the bus shows it."""
        found: list[Record] = []
        while True:
            reply = self.ask(Frame(write_read(66, list(long(len(found) + 1)), 400, 125)))
            window = reply[3:-2]
            valid = int.from_bytes(window[8:10], "big")
            found += [unpack(window[10 + 40 * n : 50 + 40 * n]) for n in range(valid)]
            if valid < 6:
                return found

    def total(self) -> int:
        """Return the meter register."""
        words = self.firmware.peek("input", MAP.points["total_pulses"].address, 4)
        return words[0] << 48 | words[1] << 32 | words[2] << 16 | words[3]


def ends(records: Sequence[Record]) -> list[Record]:
    """Return the END records of the session."""
    return [r for r in records if r.type == MAP.code("record_type", "END") and r.subject_id == SESSION]


@pytest.fixture
def life(library: ctypes.CDLL) -> Iterator[Life]:
    """Return a powered firmware."""
    made = Life(library)
    made.power_up()
    yield made
    made.firmware.close()


class TestEveryWrite:
    def test_leaves_one_end_and_no_water_beyond_the_slot_rule(self, library: ctypes.CDLL) -> None:
        whole = Life(library)
        whole.power_up()
        before = whole.firmware.fram_writes
        whole.session()
        writes = whole.firmware.fram_writes - before
        whole.firmware.close()
        assert writes > 12

        for number in range(1, writes + 1):
            for after_bytes in (0, 1, 19, 300, 511, 0xFFFF):
                self._cut(library, number, after_bytes)

    def _cut(self, library: ctypes.CDLL, number: int, after_bytes: int) -> None:
        why = f"cut in write {number} after {after_bytes} bytes"
        life = Life(library)
        life.power_up()
        life.firmware.cut_at_write(number, after_bytes)
        with pytest.raises(PowerLost):
            life.session()
        assert not life.firmware.valve, why
        life.firmware.cut_at_write(0, 0)
        life.power_up()

        records = life.records()

        assert [r.seq for r in records] == list(range(1, len(records) + 1)), why
        starts = [r for r in records if r.type == MAP.code("record_type", "START")]
        assert len(ends(records)) == len(starts) <= 1, why
        assert records[-1].type == MAP.code("record_type", "BOOT"), why
        assert 0 <= life.pulses - life.total() <= LOST_MAX, why
        if starts:
            (end,) = ends(records)
            assert (end.total, end.total - end.count) == (life.total(), starts[0].total), why
        life.firmware.close()

    def test_keeps_every_pulse_when_the_supply_falls_slowly(self, life: Life) -> None:
        life.ask(open_order(token=1, session=SESSION))
        for _ in range(9):
            life.tick(250, PULSES_PER_TICK)
        life.firmware.falling_supply(life.now_ms)
        life.firmware.pull_the_plug()

        life.power_up()

        (end,) = ends(life.records())
        assert (end.count, life.total()) == (life.pulses, life.pulses) == (360, 360)
        assert end.aux == MAP.code("close_reason", "POWER_LOSS")

    def test_goes_on_after_cuts_in_the_boot_itself(self, life: Life) -> None:
        life.ask(open_order(token=1, session=SESSION))
        life.tick(250, PULSES_PER_TICK)
        life.firmware.pull_the_plug()
        for write_number in (1, 2, 3):
            for after_bytes in (0, 20, 200):
                life.firmware.cut_at_write(write_number, after_bytes)
                with pytest.raises(PowerLost):
                    life.power_up()
        life.firmware.cut_at_write(0, 0)

        life.power_up()

        assert len(ends(life.records())) == 1


class TestFram:
    def test_new_memory_is_a_new_device(self, life: Life) -> None:
        assert life.firmware.peek("input", MAP.points["boot_id"].address, 1) == [1]
        assert [r.seq for r in life.records()] == [1]

    def test_a_damaged_bank_falls_back_to_the_other(self, life: Life) -> None:
        life.ask(Frame(write(256, *command("IDENTIFY", token=9))))
        life.firmware.pull_the_plug()
        life.firmware.fram[2 * 512 - 100] ^= 0xFF
        life.power_up()
        assert life.firmware.peek("input", MAP.points["boot_id"].address, 1) == [2]
        assert not life.firmware.peek("input", MAP.points["faults"].address, 2)[1] & 1 << 11

    def test_two_damaged_banks_are_a_fault_that_keeps_the_valve_shut(self, life: Life) -> None:
        life.firmware.pull_the_plug()
        for at in range(0, FRAM_BYTES, 64):
            life.firmware.fram[at] ^= 0x5A
        life.power_up()

        reply = life.ask(open_order(token=1, session=SESSION))

        assert reply[5:7] == bytes((0, MAP.code("result", "FAULTED")))
        assert reply[7:9] == bytes((0, MAP.bits["faults"].index("NVM_CRC")))
        assert not life.firmware.valve


class TestTicks:
    def test_of_ten_milliseconds_lose_no_pulse_over_a_shower(self, life: Life) -> None:
        life.ask(open_order(token=1, session=SESSION, limit_volume=4_000))
        tick = Tick(10, 1)
        while life.firmware.valve:
            life.tick(tick.ms, tick.pulses)
            if life.now_ms % 1_000 < 10:
                life.ask(Frame(read(2, 0, 16)))
        for _ in range(5):
            life.tick(100, 0)

        (end,) = ends(life.records())
        assert end.count == life.pulses == 1_800
        assert end.aux == MAP.code("close_reason", "VOLUME_LIMIT")
