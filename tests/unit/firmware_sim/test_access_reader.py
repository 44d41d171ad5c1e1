"""ACR-1: a grant is a chance, a passage is an entry."""

import itertools

import pytest

from firmware_sim.access_reader import ALLOWED, AccessReader, refusal
from tests.unit.firmware_sim.rig import LABEL, UNIX_MS, DoorBench


@pytest.fixture
def bench() -> DoorBench:
    return DoorBench()


class TestGrant:
    def test_unlocks_one_direction_for_one_person(self, bench: DoorBench) -> None:
        assert bench.command("GRANT", grant=5, direction=1, open=5_000) == ("DONE", 0)
        assert bench.reader.read("discrete", 0, 3) == [1, 0, 1]

        assert bench.reader.walk(bench.now_ms, "out") == "locked"
        assert bench.reader.walk(bench.now_ms, "in") == "passed"
        assert bench.reader.walk(bench.now_ms, "in") == "locked"

        assert bench.events() == [("GRANT", 5, 1), ("PASSAGE", 5, 1)]
        assert bench.reader.passages == {1: 1, 2: 0}

    def test_runs_out(self, bench: DoorBench) -> None:
        bench.command("GRANT", grant=5, direction=2, open=3_000)
        bench.run(2_900)
        assert bench.reader.state == "GRANTED_OUT"
        bench.run(100)

        assert bench.reader.state == "LOCKED"
        assert bench.events()[-1] == ("GRANT_TIMEOUT", 5, 2)

    def test_lasts_as_configured_when_it_names_no_time(self, bench: DoorBench) -> None:
        bench.command("GRANT", grant=5, direction=1)

        assert bench.reader.grant_left_ms() == 5_000

    def test_is_repeated_without_a_second_passage(self, bench: DoorBench) -> None:
        bench.command("GRANT", token=9, grant=5, direction=1)
        bench.reader.walk(bench.now_ms, "in")

        assert bench.command("GRANT", token=9, grant=5, direction=1)[0] == "DUPLICATE"
        assert bench.reader.walk(bench.now_ms, "in") == "locked"

    @pytest.mark.parametrize(
        ("fields", "answer"),
        [
            ({"grant": 0, "direction": 1}, ("BAD_STATE", 0)),
            ({"grant": 5, "direction": 0}, ("BAD_LIMIT", 1)),
            ({"grant": 5, "direction": 1, "count": 7}, ("BAD_LIMIT", 2)),
            ({"grant": 5, "direction": 1, "open": 499}, ("BAD_LIMIT", 3)),
            ({"grant": 5, "direction": 1, "not_after": UNIX_MS // 1000}, ("EXPIRED", 0)),
        ],
    )
    def test_is_refused(self, bench: DoorBench, fields: dict[str, int], answer: tuple[str, int]) -> None:
        assert bench.command("GRANT", **fields) == answer
        assert bench.reader.state == "LOCKED"

    def test_is_busy_with_another(self, bench: DoorBench) -> None:
        bench.command("GRANT", grant=5, direction=1)

        assert bench.command("GRANT", grant=6, direction=1)[0] == "BUSY"

    def test_needs_room_in_the_log(self, bench: DoorBench) -> None:
        grants = 0
        while (result := bench.command("GRANT", grant=grants + 1, direction=1)[0]) == "DONE":
            bench.reader.walk(bench.now_ms, "in")
            grants += 1

        assert result == "LOG_FULL"
        assert grants >= 59
        assert [kind for kind, _, _ in bench.events()].count("PASSAGE") == grants

    def test_does_not_survive_a_power_cut_but_counters_do(self, bench: DoorBench) -> None:
        bench.command("GRANT", grant=5, direction=1)
        bench.reader.walk(bench.now_ms, "in")
        bench.command("GRANT", grant=6, direction=1)

        again = AccessReader(bench.map, LABEL, bench.nvm, now_ms=bench.now_ms, unix_ms=UNIX_MS)

        assert (again.state, again.passages[1], again.boot_id) == ("LOCKED", 1, 2)


class TestWalk:
    def test_by_force_raises_an_alarm_until_cleared(self, bench: DoorBench) -> None:
        assert bench.reader.walk(bench.now_ms, "in", force=True) == "forced"
        assert bench.reader.state == "ALARM"
        assert bench.reader.fault_names() == ["DOOR_FORCED"]

        assert bench.command("CLEAR_FAULT")[0] == "DONE"
        assert bench.reader.state == "LOCKED"

    def test_through_a_free_door_counts_without_a_grant(self, bench: DoorBench) -> None:
        bench.command("FREE")
        bench.reader.walk(bench.now_ms, "out")

        assert bench.events()[-1] == ("PASSAGE", 0, 2)


class TestFire:
    def test_frees_the_door_and_the_bus_cannot_veto(self, bench: DoorBench) -> None:
        bench.reader.fire(bench.now_ms, True)
        assert bench.command("LOCK")[0] == "BAD_STATE"
        assert bench.reader.walk(bench.now_ms, "out") == "passed"

        bench.reader.fire(bench.now_ms, False)
        assert bench.reader.state == "LOCKED"


class TestStateTable:
    OPCODES = tuple(DoorBench().map.enums["opcode"].values())

    @pytest.mark.parametrize(("state", "opcode"), list(itertools.product(sorted(ALLOWED), OPCODES)))
    def test_allows_what_the_table_says_and_nothing_else(self, state: str, opcode: str) -> None:
        bench = DoorBench()
        if state.startswith("GRANTED"):
            bench.command("GRANT", grant=4, direction=1 if state == "GRANTED_IN" else 2)
        bench.reader.state = state

        result, _ = bench.command(opcode, grant=5, direction=1)

        refused = refusal(state, opcode)
        assert result == refused if refused else result in ("DONE", "ACCEPTED")

    def test_knows_every_state_and_opcode_of_the_map(self) -> None:
        assert set(ALLOWED) == set(DoorBench().map.enums["state"].values())
        assert set().union(*ALLOWED.values()) == set(self.OPCODES)


class TestMailboxes:
    def test_are_one_for_each_side(self, bench: DoorBench) -> None:
        post = {"source": 1, "payload": b"", "now_ms": bench.now_ms, "unix_time": 1}
        a = bench.reader.mailboxes["mbx_a"].post(uid=b"\x01\x02\x03\x04", **post)  # type: ignore[arg-type]
        b = bench.reader.mailboxes["mbx_b"].post(uid=b"\x05\x06\x07\x08", **post)  # type: ignore[arg-type]

        assert bench.reader.read("input", 207, 2) == [0x0102, 0x0304]
        assert bench.reader.read("input", 327, 2) == [0x0506, 0x0708]
        bench.reader.write("holding", 91, [b])
        assert bench.reader.read("discrete", 9, 1) == [1]
        assert bench.reader.read("discrete", 15, 1) == [0]
        bench.reader.write("holding", 68, [a])
        assert bench.reader.read("discrete", 9, 1) == [0]
