"""The machine's table, walked whole."""

import itertools

import pytest

from backend.water_sessions.machine import FINAL, LIVE, TABLE, Effect, Event, State, UnexpectedEvent, step

EVERY = list(itertools.product(State, Event))


class TestStep:
    @pytest.mark.parametrize(("state", "event"), EVERY)
    def test_takes_what_the_table_has_and_refuses_the_rest(self, state: State, event: Event) -> None:
        if (state, event) in TABLE:
            assert step(state, event) == TABLE[state, event]
        else:
            with pytest.raises(UnexpectedEvent):
                step(state, event)

    @pytest.mark.parametrize(("state", "event"), EVERY)
    def test_moves_only_with_effect_move(self, state: State, event: Event) -> None:
        entry = TABLE.get((state, event))

        assert entry is None or entry.effect is Effect.MOVE or entry.state is state

    @pytest.mark.parametrize("state", sorted(LIVE - {State.REQUESTED}))
    def test_settles_an_ending_from_every_live_state(self, state: State) -> None:
        assert step(state, Event.ENDED) == (State.METERED, Effect.MOVE)

    @pytest.mark.parametrize("state", sorted(FINAL))
    @pytest.mark.parametrize("event", [event for event in Event if event is not Event.DISPUTE_OPENED])
    def test_never_leaves_a_final_state(self, state: State, event: Event) -> None:
        entry = TABLE.get((state, event))

        assert entry is None or entry.state is state

    @pytest.mark.parametrize("state", [State.REFUSED, State.VOIDED])
    def test_never_charges_after_release(self, state: State) -> None:
        assert step(state, Event.ENDED).effect is Effect.LOSS
        assert step(state, Event.VALVE_OPENED).effect is Effect.REVOKE

    @pytest.mark.parametrize("event", [Event.VALVE_OPENED, Event.ENDED, Event.COMMAND_SENT, Event.COMMAND_REFUSED])
    def test_refuses_gateway_events_before_a_command_exists(self, event: Event) -> None:
        with pytest.raises(UnexpectedEvent):
            step(State.REQUESTED, event)

    @pytest.mark.parametrize("state", [State.FLOWING, State.PAUSED, State.SETTLED])
    def test_ignores_a_refusal_after_the_opening(self, state: State) -> None:
        assert step(state, Event.COMMAND_REFUSED) == (state, Effect.IGNORE)

    def test_walks_the_whole_way(self) -> None:
        state = State.REQUESTED
        for event in (
            Event.HOLD_PLACED,
            Event.COMMAND_SENT,
            Event.VALVE_OPENED,
            Event.FLOW_PAUSED,
            Event.FLOW_RESUMED,
            Event.CLOSE_REQUESTED,
            Event.ENDED,
            Event.CHARGED,
        ):
            state = step(state, event).state

        assert state is State.SETTLED
