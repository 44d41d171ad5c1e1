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

    def test_finds_out_how_fast_it_is_when_it_is_set_an_hour_later(self) -> None:
        clock = Clock(now_ms=0, unix_ms=1_000_000_000, ppm=40)
        clock.set(2_000_000_000, 0)
        hour_ms = 3_600_000
        assert clock.unix_ms(hour_ms) == 2_000_000_000 + hour_ms + 144

        clock.set(2_000_000_000 + hour_ms - 1, hour_ms)  # too early to say anything
        assert clock.drift_ppm == 0
        clock.set(2_000_000_000 + 3 * hour_ms - 1, 3 * hour_ms)

        assert clock.drift_ppm == 40

    def test_keeps_an_absurd_drift_within_its_register(self) -> None:
        clock = Clock(now_ms=0, unix_ms=1)
        clock.set(0, 0)

        clock.set(3_600_000, 900_000_000)

        assert clock.drift_ppm == 32_767

    def test_runs_slow_rounded_down(self) -> None:
        clock = Clock(now_ms=0, unix_ms=1_000_000, ppm=-100)

        assert clock.unix_ms(15_000) == 1_000_000 + 15_000 - 2

    def test_may_slip_and_be_lost(self) -> None:
        clock = Clock(now_ms=0, unix_ms=1_000)
        clock.slip(-5)
        assert clock.unix_ms(0) == 995
        clock.lose()
        clock.slip(7)

        assert (clock.unix_ms(9), clock.quality(9)) == (0, UNSET)
