"""Records of forty bytes in a ring."""

import pytest

from firmware_sim.event_log import CAPACITY, EventLog, Record, unpack


def record(seq: int) -> Record:
    return Record(
        seq=seq, type=4, boot_id=3, unix_time=1_795_348_800, quality=2, deciseconds=9, subject_id=7, token_tag=99,
        count=450, total=1 << 40, aux=1, temp=-55,
    )  # fmt: skip


class TestRecord:
    def test_packs_into_forty_bytes_and_back(self) -> None:
        data = record(5).pack()

        assert len(data) == 40
        assert unpack(data) == record(5)

    def test_lies_as_the_map_says(self) -> None:
        from hardware.points import load
        from hardware.vectors import decode

        data = record(5).pack()
        values = {
            point.name: decode(point, data[point.address * 2 : (point.address + point.words) * 2])
            for point in load("chw.hwo1").layouts["event"].points
        }

        assert (values["seq"], values["type"], values["total_pulses"], values["sess_pulses"]) == (5, 4, 1 << 40, 450)
        assert (values["quality"], values["deciseconds"]) == (2, 9)
        assert float(values["temp"] or 0) == -5.5  # type: ignore[arg-type]

    def test_refuses_a_damaged_one(self) -> None:
        data = bytearray(record(5).pack())
        data[10] ^= 1

        with pytest.raises(ValueError, match="checksum"):
            unpack(bytes(data))


class TestEventLog:
    def test_reserves_room_by_importance(self) -> None:
        log = EventLog()
        counts = {}
        for kind in ("START", "FAULT_SET", "END"):
            before = log.head
            while log.has_room(kind):
                log.append(kind, record)
            counts[kind] = log.head - before

        assert counts == {"START": CAPACITY - 8, "FAULT_SET": 6, "END": 2}
        assert log.append("START", record) is None
        assert log.dropped == 1

    @pytest.mark.parametrize("kind", ["FAULT_CLR", "FIRE_FREE", "FORCED", "TAILGATE", "UNBILLED_FLOW"])
    def test_has_room_for_what_must_not_be_forgotten_when_no_session_may_start(self, kind: str) -> None:
        log = EventLog()
        while log.append("START", record):
            pass

        kept = 0
        while log.append(kind, record):
            kept += 1

        assert kept == 6

    def test_window_starts_at_the_oldest_kept(self) -> None:
        log = EventLog()
        for _ in range(3 * CAPACITY):
            log.append("END", record)
            log.acknowledge(log.head)

        assert unpack(log.window(0)[0]).seq == 2 * CAPACITY + 1
        assert [unpack(data).seq for data in log.window(log.head - 1)] == [log.head - 1, log.head]
        assert log.window(log.head + 1) == []
