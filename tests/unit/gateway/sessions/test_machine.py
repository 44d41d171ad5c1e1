import itertools

import pytest

from gateway.sessions.machine import LIVE, TABLE, Happening, State, TransitionRefused, step

ALLOWED = """
authorized persisted → opening
authorized denied → refused
opening opened → flowing
opening denied → refused
opening close_asked → closing
opening settled → ended
flowing flow_stopped → paused
flowing close_asked → closing
flowing settled → ended
paused flow_resumed → flowing
paused close_asked → closing
paused settled → ended
closing close_asked → closing
closing settled → ended
"""


class TestStep:
    @pytest.mark.parametrize(("state", "happening"), list(itertools.product(State, Happening)))
    def test_every_state_and_event(self, state: State, happening: Happening) -> None:
        wanted = {
            (before, event): after
            for before, event, _, after in (line.split() for line in ALLOWED.strip().splitlines())
        }.get((state.value, happening.value))

        if wanted is None:
            with pytest.raises(TransitionRefused, match=state.value):
                step(state, happening)
        else:
            assert step(state, happening) == wanted

    def test_nothing_leaves_an_end(self) -> None:
        assert not [state for state, _ in TABLE if state in (State.ENDED, State.REFUSED)]

    def test_whatever_may_be_open_can_be_settled(self) -> None:
        assert all(step(state, Happening.SETTLED) is State.ENDED for state in LIVE)
