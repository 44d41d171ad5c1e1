"""When a moving register is a leak, and when a fallen one is believed again."""

from gateway.devices.stillness import LEAK_ML, LEAK_TOLD_MS, LEAK_WINDOW_MS, STEADY_MS, Stillness

NOW = 1_000_000


class TestLeaked:
    def test_half_a_liter_at_once_is_worth_a_record_and_a_fault(self) -> None:
        still = Stillness()
        assert not still.leaked(LEAK_ML - 1, "CLOSED", NOW)
        assert still.leaked(1, "CLOSED", NOW + 1)
        assert still.faults(NOW + 1) == {"LEAK_CLOSED"}
        assert still.evidence(NOW + 1) == "the meter counted 0.5 L with the valve closed"

    def test_drops_of_different_hours_are_none(self) -> None:
        still = Stillness()
        assert not any(still.leaked(LEAK_ML // 2, "CLOSED", NOW + hour * LEAK_WINDOW_MS) for hour in range(9))
        assert still.faults(NOW) == frozenset()

    def test_goes_on_being_told_while_it_runs_and_is_over_a_while_after(self) -> None:
        still = Stillness()
        for minute in range(10):
            still.leaked(2_000, "UNKNOWN", NOW + minute * 60_000)
        last = NOW + 9 * 60_000
        assert still.faults(last) == {"STUCK_OPEN"}
        assert still.evidence(last) == "the meter counted 20.0 L behind a valve that does not answer"
        assert still.faults(last + LEAK_TOLD_MS) == frozenset()
        assert still.evidence(last + LEAK_TOLD_MS) == ""


class TestSaw:
    def test_a_register_that_fell_is_a_gap_for_a_while(self) -> None:
        still = Stillness()
        still.saw(1_000, 10, 0, NOW)
        still.saw(10, 12, 2, NOW + 1)
        assert still.faults(NOW + STEADY_MS - 1) == {"REGISTER_GAP"}
        assert "fell from 1000 to 10" in still.refusal(NOW + STEADY_MS - 1)
        assert still.faults(NOW + STEADY_MS) == frozenset()
        assert still.refusal(NOW + STEADY_MS) == ""

    def test_one_that_rolled_over_and_one_never_seen_before_are_none(self) -> None:
        still = Stillness()
        still.saw(9_990, 5, 15, NOW)
        still.saw(None, 5, 0, NOW)
        assert still.refusal(NOW) == ""


class TestMet:
    def test_another_serial_number_is_a_gap(self) -> None:
        still = Stillness()
        for serial in ("7", "7", "8"):
            assert still.refusal(NOW) == ""
            still.met(serial, NOW)
        assert "'7' before, now '8'" in still.refusal(NOW)
