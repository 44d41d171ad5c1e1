import pytest

from gateway.devices.lookout import MISSES_MAX, Walk, addresses, shown_identity
from gateway.modbus.codec import encode_block
from hardware.points import load, map_ids

OUTLET, DOOR = load("chw.hwo1"), load("chw.acr1")


class TestAddresses:
    @pytest.mark.parametrize(
        ("configured", "expected"),
        [
            ([1, 2, 5], (3, 4, *range(6, 22))),
            ([], tuple(range(1, 17))),
            ([247], tuple(range(1, 247))),
        ],
    )
    def test_go_a_little_beyond_the_highest_configured_one(
        self, configured: list[int], expected: tuple[int, ...]
    ) -> None:
        assert addresses(configured) == expected


class TestWalk:
    def asked(self, walk: Walk, present: set[int], count: int) -> list[int]:
        found = []
        for _ in range(count):
            unit = walk.next()
            assert unit is not None
            found.append(unit)
            walk.heard("shows X" if unit in present else None)
        return found

    def test_goes_round(self) -> None:
        walk = Walk([2])
        others = list(addresses([2]))
        assert self.asked(walk, set(), 2 * len(others)) == others * 2
        assert (walk.rounds, walk.strangers) == (2, {})

    def test_asks_the_same_until_it_was_heard(self) -> None:
        walk = Walk([1])
        assert [walk.next(), walk.next()] == [2, 2]

    def test_comes_back_to_a_stranger_every_second_time(self) -> None:
        walk = Walk([1])
        asked = self.asked(walk, {3, 5}, 40)
        assert walk.strangers == {3: "shows X", 5: "shows X"}
        assert asked.count(3) + asked.count(5) >= 18
        assert set(asked) == set(addresses([1]))

    def test_forgets_a_stranger_that_has_missed_twice(self) -> None:
        walk = Walk([1])
        self.asked(walk, {3}, 6)
        self.asked(walk, set(), 2 * MISSES_MAX)
        assert walk.strangers == {}

    def test_has_nobody_to_ask_on_a_full_line(self) -> None:
        assert Walk(range(1, 248)).next() is None


class TestShownIdentity:
    def test_reads_what_fits_a_map(self) -> None:
        block = next(block for block in DOOR.blocks if block.id == "id")
        words = encode_block(block, {"model": "ACR-1", "serial": "S7"})
        words[: len(DOOR.match.words)] = DOOR.match.words
        assert shown_identity(words, (OUTLET, DOOR)) == "shows ACR-1 S7"

    def test_is_not_misled_by_devices_of_other_makers(self) -> None:
        maps = [load(map_id) for map_id in map_ids()]
        assert shown_identity([0] * 60, maps) == "shows 0000 0000 0000"

    def test_shows_the_registers_of_what_fits_none(self) -> None:
        assert shown_identity([0x1234, 5, 6, 7], (OUTLET, DOOR)) == "shows 1234 0005 0006"
