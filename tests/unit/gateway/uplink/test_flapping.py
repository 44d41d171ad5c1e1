import pytest

from gateway.contract.faults import FaultCode
from gateway.uplink.flapping import RAISES_MAX, STABLE_MS, STABLE_MS_MAX, WINDOW_MS, Holdback, hold_ms

TAMPER = frozenset({FaultCode.TAMPER})
NONE: frozenset[FaultCode] = frozenset()


def replay(steps: list[tuple[int, bool]]) -> list[bool]:
    """Return whether the fault counts as there after each step (time, whether it is there)."""
    holdback, shown, seen = Holdback(), NONE, []
    for now_ms, there in steps:
        shown = holdback.shown(TAMPER if there else NONE, before=shown, now_ms=now_ms)
        seen.append(bool(shown))
    return seen


def changes(seen: list[bool]) -> int:
    return sum(now != before for before, now in zip([False, *seen], seen, strict=False))


class TestHoldMs:
    @pytest.mark.parametrize(
        ("raises", "expected"),
        [
            (0, 0),
            (RAISES_MAX, 0),
            (RAISES_MAX + 1, STABLE_MS),
            (RAISES_MAX + 2, 2 * STABLE_MS),
            (RAISES_MAX + 3, 4 * STABLE_MS),
            (1_000_000, STABLE_MS_MAX),
        ],
    )
    def test_doubles_beyond_a_few(self, raises: int, expected: int) -> None:
        assert hold_ms(raises) == expected


class TestHoldback:
    def test_lets_a_fault_that_comes_and_goes_once_through(self) -> None:
        assert replay([(0, True), (10, False), (20, False)]) == [True, False, False]

    def test_holds_the_end_of_a_flapping_one_until_it_is_stable(self) -> None:
        steps = [(n * 100, n % 2 == 0) for n in range(2 * RAISES_MAX + 2)]  # raised once more than is let through
        last = steps[-1][0]
        seen = replay([*steps, (last + STABLE_MS - 1, False), (last + STABLE_MS, False)])
        assert seen[-3:] == [True, True, False]

    @pytest.mark.parametrize("pace_ms", [50, 1_000, 10_000, 40_000, 61_000, 200_000])
    def test_a_day_of_flapping_at_any_pace_stays_within_bounds(self, pace_ms: int) -> None:
        day_ms = 24 * 3600 * 1000
        steps = [(n * pace_ms, n % 2 == 0) for n in range(min(day_ms // pace_ms, 200_000))]
        windows = steps[-1][0] // WINDOW_MS + 1
        assert changes(replay(steps)) <= 2 * (RAISES_MAX + 5) * windows

    def test_forgets_what_was_long_ago(self) -> None:
        steps = [(n * 100, n % 2 == 0) for n in range(40)]
        later = steps[-1][0] + WINDOW_MS
        assert replay([*steps, (later, False), (later + 1, True), (later + 2, False)])[-3:] == [False, True, False]

    def test_faults_do_not_hold_each_other(self) -> None:
        holdback, shown = Holdback(), NONE
        for n in range(40):
            shown = holdback.shown(TAMPER if n % 2 == 0 else NONE, before=shown, now_ms=n)
        assert shown == TAMPER
        shown = holdback.shown(frozenset({FaultCode.NO_FLOW}), before=shown, now_ms=50)
        assert holdback.shown(NONE, before=shown, now_ms=51) == TAMPER
