"""A door without its gateway, its list of cards, its leaf and its inputs."""

import struct
from dataclasses import replace

import pytest

from firmware_sim.access_reader import AccessReader
from firmware_sim.allow_list import COUNT_MAX, PART_COUNT, AllowList, checksum, hashed
from firmware_sim.device import Identity
from firmware_sim.registers import BusRefusal
from tests.unit.firmware_sim.rig import UNIX_MS, DoorBench

SALT = bytes(range(16))
CARD, OTHER = bytes.fromhex("04A1B2C3D4E5F6"), bytes.fromhex("DEADBEEF")
LABEL = Identity(device_id="dev_d", serial="AC-00001", device_uid=2, model="ACR-1")


@pytest.fixture
def bench() -> DoorBench:
    return DoorBench()


def unlock(bench: DoorBench) -> None:
    bench.reader.write("holding", 1, [0x55AA])


def words(data: bytes) -> list[int]:
    return list(struct.unpack(f">{len(data) // 2}H", data))


def load(bench: DoorBench, cards: list[bytes]) -> None:
    """Load a list as a gateway would, part by part."""
    numbers = [hashed(SALT, card) for card in cards]
    unlock(bench)
    bench.reader.write("holding", 704, words(SALT))
    bench.reader.write("holding", 600, [len(numbers)])
    for at in range(0, len(numbers), PART_COUNT):
        part = numbers[at : at + PART_COUNT]
        data = struct.pack(f">{PART_COUNT}I", *part, *[0] * (PART_COUNT - len(part)))
        bench.reader.write("holding", 601, [at, *words(data)])
    bench.reader.write("holding", 702, words(checksum(SALT, numbers).to_bytes(4, "big")))


def allow_until(bench: DoorBench, unix_s: int) -> None:
    unlock(bench)
    at = bench.map.points["cfg_offline"].address
    bench.reader.write("holding", at, [1, unix_s >> 16, unix_s & 0xFFFF])


def silence(bench: DoorBench, ms: int = 31_000) -> None:
    """Let time pass with nobody polling."""
    for _ in range(ms // 50):
        bench.now_ms += 50
        bench.reader.tick(bench.now_ms)


def present(bench: DoorBench, card: bytes, side: str = "mbx_a", source: int = 1) -> int:
    return bench.reader.mailboxes[side].post(
        source=source, uid=card, payload=b"", now_ms=bench.now_ms, unix_time=UNIX_MS // 1000
    )


class TestAllowList:
    def test_is_loaded_in_parts_and_comes_into_force_by_its_sum(self, bench: DoorBench) -> None:
        cards = [number.to_bytes(4, "big") for number in range(120)]

        load(bench, cards)

        assert all(bench.reader.allow.holds(card) for card in cards)
        assert not bench.reader.allow.holds(OTHER)
        assert bench.reader.read("holding", 712, 1) == [1]

    def test_holds_two_thousand_and_survives_a_power_cut(self, bench: DoorBench) -> None:
        cards = [number.to_bytes(4, "big") for number in range(COUNT_MAX)]
        load(bench, cards)

        again = AccessReader(bench.map, LABEL, bench.nvm, now_ms=bench.now_ms, unix_ms=UNIX_MS)

        assert len(again.allow.numbers) == COUNT_MAX
        assert again.allow.holds(cards[-1])
        with pytest.raises(BusRefusal):
            bench.reader.write("holding", 600, [COUNT_MAX + 1])

    def test_with_a_wrong_sum_leaves_the_old_one_in_force(self, bench: DoorBench) -> None:
        load(bench, [CARD])
        bench.reader.write("holding", 600, [1])

        with pytest.raises(BusRefusal) as refused:
            bench.reader.write("holding", 702, [1, 2])

        assert refused.value.code == 3
        assert bench.reader.allow.holds(CARD)

    def test_needs_the_unlock_and_a_place_for_each_part(self, bench: DoorBench) -> None:
        with pytest.raises(BusRefusal):
            bench.reader.write("holding", 600, [5])
        unlock(bench)
        with pytest.raises(BusRefusal):
            bench.reader.write("holding", 602, [0] * 100)

    def test_leaves_out_what_lies_beyond_its_end(self) -> None:
        allow = AllowList()
        allow.begin(3)
        allow.at = 2
        allow.put(struct.pack(f">{PART_COUNT}I", *range(1, PART_COUNT + 1)))

        assert allow.loading == [0, 0, 1]


class TestOffline:
    def ready(self, bench: DoorBench) -> None:
        load(bench, [CARD])
        allow_until(bench, UNIX_MS // 1000 + 3_600)
        silence(bench)

    def test_lets_a_listed_card_in_and_nobody_else(self, bench: DoorBench) -> None:
        self.ready(bench)

        present(bench, OTHER)
        assert bench.reader.state == "LOCKED"
        present(bench, CARD)

        assert bench.reader.state == "GRANTED_IN"
        assert bench.reader.walk(bench.now_ms, "in") == "passed"
        kinds = [kind for kind, _, _ in bench.events() if kind not in ("CONFIG", "FAULT_SET")]
        assert kinds == ["DENIED", "GRANT", "PASSAGE"]
        assert not bench.reader.mailboxes["mbx_a"].pending

    def test_lets_out_at_the_other_side(self, bench: DoorBench) -> None:
        self.ready(bench)
        present(bench, CARD, "mbx_b")

        assert bench.reader.state == "GRANTED_OUT"

    def test_does_not_decide_while_somebody_polls(self, bench: DoorBench) -> None:
        self.ready(bench)
        bench.run(100)
        present(bench, CARD)

        assert bench.reader.state == "LOCKED"
        assert bench.reader.mailboxes["mbx_a"].pending

    def test_denies_by_default_and_leaves_the_card_to_the_gateway(self, bench: DoorBench) -> None:
        load(bench, [CARD])
        silence(bench)
        present(bench, CARD)

        assert bench.reader.state == "LOCKED"
        assert bench.reader.mailboxes["mbx_a"].pending

    @pytest.mark.parametrize("why", ["expired", "clock", "code", "ajar lock", "full log"])
    def test_denies_a_listed_card(self, bench: DoorBench, why: str) -> None:
        self.ready(bench)
        source = 1
        match why:
            case "expired":
                silence(bench, 3_600_000)
            case "clock":
                bench.reader.clock.lose()
            case "code":
                source = 3
            case "ajar lock":
                bench.reader.force_fault("LOCK_FAILED", True)
            case "full log":
                while bench.reader.log.has_room("GRANT"):
                    bench.reader.append("CONFIG")

        present(bench, CARD, source=source)

        assert bench.reader.state == "LOCKED"
        assert bench.reader.denials == 1

    def test_is_a_fault_until_polled_again(self, bench: DoorBench) -> None:
        silence(bench)
        assert bench.reader.fault_names() == ["COMM_TIMEOUT"]

        bench.run(50)

        assert bench.reader.fault_names() == []


class TestLeaf:
    def leaf(self, bench: DoorBench, is_open: bool) -> None:
        bench.reader.inputs = replace(bench.reader.inputs, door_open=is_open)
        bench.run(50)

    def test_that_opens_without_a_grant_is_forced(self, bench: DoorBench) -> None:
        self.leaf(bench, True)

        assert bench.reader.state == "ALARM"
        assert bench.reader.read("discrete", 1, 1) == [1]
        assert ("FORCED", 0, 0) in bench.events()

    def test_that_opens_for_a_grant_is_not(self, bench: DoorBench) -> None:
        bench.command("GRANT", grant=5, direction=1)
        self.leaf(bench, True)
        assert bench.reader.read("input", bench.map.points["sensors"].address, 1) == [3]
        bench.reader.walk(bench.now_ms, "in")
        self.leaf(bench, False)

        assert bench.reader.state == "LOCKED"
        assert bench.reader.forced == 0

    def test_that_stays_open_is_held(self, bench: DoorBench) -> None:
        bench.command("GRANT", grant=5, direction=1)
        self.leaf(bench, True)
        bench.reader.walk(bench.now_ms, "in")
        bench.run(19_900)
        assert bench.reader.held == 0
        bench.run(100)

        assert (bench.reader.held, bench.reader.fault_names()) == (1, ["DOOR_HELD"])
        self.leaf(bench, False)
        assert bench.reader.fault_names() == []


class TestInputs:
    def test_fire_frees_the_door_through_a_reboot(self, bench: DoorBench) -> None:
        bench.reader.inputs = replace(bench.reader.inputs, fire=True)
        bench.run(50)
        assert bench.reader.state == "FREE"
        bench.reader.reboot()
        bench.run(50)

        assert bench.reader.state == "FREE"
        assert [kind for kind, _, _ in bench.events()].count("FIRE_FREE") == 2

    def test_fire_is_logged_in_a_ring_that_is_nearly_full(self, bench: DoorBench) -> None:
        while bench.reader.log.has_room("GRANT"):
            bench.reader.append("CONFIG")

        bench.reader.fire(bench.now_ms, True)

        assert "FIRE_FREE" in [kind for kind, _, _ in bench.events()]

    @pytest.mark.parametrize(
        ("changes", "faults"),
        [
            ({"reader_online": False}, ["READER_A_OFFLINE"]),
            ({"reader_b_online": False}, ["READER_B_OFFLINE"]),
            ({"door_sensor_ok": False}, ["SENSOR_FAILED"]),
            ({"tamper": True}, ["TAMPER"]),
            ({"supply_mv": 18_500, "backup_mv": 100}, ["LOW_SUPPLY", "LOW_BACKUP"]),
        ],
    )
    def test_that_are_broken_show(self, bench: DoorBench, changes: dict[str, object], faults: list[str]) -> None:
        bench.reader.inputs = replace(bench.reader.inputs, **changes)  # type: ignore[arg-type]
        bench.run(50)

        assert bench.reader.fault_names() == faults

    def test_a_silent_reader_posts_nothing_on_its_side(self, bench: DoorBench) -> None:
        bench.reader.inputs = replace(bench.reader.inputs, reader_b_online=False)
        bench.run(50)

        assert present(bench, CARD, "mbx_b") == 0
        assert present(bench, CARD, "mbx_a") > 0

    def test_the_service_key_locks_out_and_a_self_test_finds_the_coil(self, bench: DoorBench) -> None:
        bench.reader.inputs = replace(bench.reader.inputs, service_key=True, coil_ok=False)
        bench.run(50)
        assert bench.command("GRANT", grant=1, direction=1)[0] == "BAD_STATE"
        assert bench.command("SELF_TEST") == ("ACCEPTED", 0)
        assert bench.command("SELF_TEST") == ("BUSY", 0)
        bench.run(1_000)
        assert bench.reader.fault_names() == ["LOCK_FAILED"]
        bench.reader.inputs = replace(bench.reader.inputs, service_key=False)
        bench.run(50)

        assert bench.reader.state == "LOCKED"
        assert bench.command("GRANT", grant=1, direction=1)[0] == "FAULTED"
