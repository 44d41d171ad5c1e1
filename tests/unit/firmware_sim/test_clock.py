"""A clock that says how much it may be believed."""

from firmware_sim.clock import FREE_RUNNING, SYNCED_MS, SYNCHRONIZED, UNSET, Clock


class TestClock:
    def test_is_unset_without_a_battery(self) -> None:
        clock = Clock(now_ms=5, unix_ms=None)

        assert (clock.unix_ms(100), clock.quality(100)) == (0, UNSET)

    def test_runs_freely_on_a_battery(self) -> None:
        clock = Clock(now_ms=5, unix_ms=1_000_005)

        assert (clock.unix_ms(100), clock.quality(100)) == (1_000_100, FREE_RUNNING)

    def test_is_synchronized_for_a_day_after_it_was_set(self) -> None:
        clock = Clock(now_ms=0, unix_ms=1_000_000)

        assert clock.set(1_007_900, 0) == 7
        assert clock.quality(SYNCED_MS - 1) == SYNCHRONIZED
        assert clock.quality(SYNCED_MS) == FREE_RUNNING
        assert clock.unix_ms(100) == 1_008_000
