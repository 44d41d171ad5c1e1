"""
The states of a water session and what each event does to them.

    requested → authorized → opening → flowing ⇄ paused → closing → metered → settled
    with refused (nobody was charged, no water), voided (hold given back) and disputed beside it

A session is `requested` while its payment is being asked, and only then: the wallet answers at once. It is `authorized`
when the hold stands and the signed OpenValve is stored in the same transaction, `opening` once the broker took that
command, and `flowing` when the gateway read the outlet back open. `closing` means that somebody asked for the end; it
ends only by what the gateway reports. `metered` is passed through inside the one transaction that settles.

Events come late, twice and in any order, because the gateway repeats what was not acknowledged and several workers
share the load. So the table says for every late event that it is harmless:

- An end settles the session from any state in which a command may have left, also before its opening was heard of.
- An opening after the end, a repeated end, and a refusal of a command after the outlet opened change nothing and are
  counted (`IGNORE`). They are counted, because many of them mean a gateway that misbehaves.
- An opening of a session whose hold was given back means water without a grant: the outlet is told to close (`REVOKE`).
- An end of such a session with water is the operator's loss: written down with its pulses, never charged (`LOSS`).
- An opening while closing is remembered, and the session goes on closing.

What the table lacks is refused: it cannot happen unless a gateway reports on a session that was never sent to it.
"""

from enum import StrEnum
from typing import NamedTuple

from backend.errors import BackendError


class State(StrEnum):
    """Where a water session stands."""

    REQUESTED = "requested"
    AUTHORIZED = "authorized"
    OPENING = "opening"
    FLOWING = "flowing"
    PAUSED = "paused"
    CLOSING = "closing"
    METERED = "metered"
    SETTLED = "settled"
    REFUSED = "refused"
    VOIDED = "voided"
    DISPUTED = "disputed"


class Event(StrEnum):
    """What happens to a water session."""

    HOLD_PLACED = "hold_placed"
    HOLD_DECLINED = "hold_declined"
    COMMAND_SENT = "command_sent"
    COMMAND_REFUSED = "command_refused"
    VALVE_OPENED = "valve_opened"
    FLOW_PAUSED = "flow_paused"
    FLOW_RESUMED = "flow_resumed"
    CLOSE_REQUESTED = "close_requested"
    ENDED = "ended"
    CHARGED = "charged"
    NOTHING_FLOWED = "nothing_flowed"
    EXPIRED = "expired"
    DISPUTE_OPENED = "dispute_opened"
    DISPUTE_CLOSED = "dispute_closed"


class Effect(StrEnum):
    """What the service does with the step."""

    #: take the new state
    MOVE = "move"
    #: change nothing but the count of ignored events
    IGNORE = "ignore"
    #: tell the outlet to close: it is open without a grant
    REVOKE = "revoke"
    #: write the water down as the operator's loss
    LOSS = "loss"


class Step(NamedTuple):
    """The state after an event, and what to do."""

    state: State
    effect: Effect


#: States that occupy an outlet and a cardholder; the database allows one each.
LIVE: frozenset[State] = frozenset(
    {State.REQUESTED, State.AUTHORIZED, State.OPENING, State.FLOWING, State.PAUSED, State.CLOSING}
)
#: States that nothing but a dispute leaves.
FINAL: frozenset[State] = frozenset({State.SETTLED, State.REFUSED, State.VOIDED})


def _moves(table: dict[State, dict[Event, State]]) -> dict[tuple[State, Event], Step]:
    return {(s, e): Step(after, Effect.MOVE) for s, row in table.items() for e, after in row.items()}


def _same(state: State, effect: Effect, *events: Event) -> dict[tuple[State, Event], Step]:
    return {(state, event): Step(state, effect) for event in events}


#: What may trail in after a session is over.
_LATE = (
    Event.COMMAND_SENT,
    Event.COMMAND_REFUSED,
    Event.VALVE_OPENED,
    Event.FLOW_PAUSED,
    Event.FLOW_RESUMED,
    Event.CLOSE_REQUESTED,
)

TABLE: dict[tuple[State, Event], Step] = {
    **_moves(
        {
            State.REQUESTED: {
                Event.HOLD_PLACED: State.AUTHORIZED,
                Event.HOLD_DECLINED: State.REFUSED,
                Event.CLOSE_REQUESTED: State.VOIDED,
                Event.EXPIRED: State.REFUSED,
            },
            State.AUTHORIZED: {
                Event.COMMAND_SENT: State.OPENING,
                Event.COMMAND_REFUSED: State.REFUSED,
                Event.VALVE_OPENED: State.FLOWING,
                Event.CLOSE_REQUESTED: State.CLOSING,
                Event.ENDED: State.METERED,
                Event.EXPIRED: State.VOIDED,
            },
            State.OPENING: {
                Event.COMMAND_REFUSED: State.REFUSED,
                Event.VALVE_OPENED: State.FLOWING,
                Event.CLOSE_REQUESTED: State.CLOSING,
                Event.ENDED: State.METERED,
                Event.EXPIRED: State.VOIDED,
            },
            State.FLOWING: {
                Event.FLOW_PAUSED: State.PAUSED,
                Event.CLOSE_REQUESTED: State.CLOSING,
                Event.ENDED: State.METERED,
            },
            State.PAUSED: {
                Event.FLOW_RESUMED: State.FLOWING,
                Event.CLOSE_REQUESTED: State.CLOSING,
                Event.ENDED: State.METERED,
            },
            State.CLOSING: {
                Event.COMMAND_REFUSED: State.REFUSED,
                Event.VALVE_OPENED: State.CLOSING,
                Event.ENDED: State.METERED,
                Event.EXPIRED: State.VOIDED,
            },
            State.METERED: {Event.CHARGED: State.SETTLED, Event.NOTHING_FLOWED: State.VOIDED},
            State.SETTLED: {Event.DISPUTE_OPENED: State.DISPUTED},
            State.DISPUTED: {Event.DISPUTE_CLOSED: State.SETTLED},
        }
    ),
    **_same(State.OPENING, Effect.IGNORE, Event.COMMAND_SENT),
    **_same(State.FLOWING, Effect.IGNORE, Event.COMMAND_SENT, Event.COMMAND_REFUSED, Event.VALVE_OPENED),
    **_same(State.FLOWING, Effect.IGNORE, Event.FLOW_RESUMED),
    **_same(State.PAUSED, Effect.IGNORE, Event.COMMAND_SENT, Event.COMMAND_REFUSED, Event.VALVE_OPENED),
    **_same(State.PAUSED, Effect.IGNORE, Event.FLOW_PAUSED),
    **_same(State.CLOSING, Effect.IGNORE, Event.COMMAND_SENT, Event.CLOSE_REQUESTED),
    **_same(State.CLOSING, Effect.IGNORE, Event.FLOW_PAUSED, Event.FLOW_RESUMED),
    **{
        key: step
        for state in (State.SETTLED, State.DISPUTED)
        for key, step in _same(state, Effect.IGNORE, *_LATE).items()
    },
    **_same(State.SETTLED, Effect.IGNORE, Event.ENDED),
    **_same(State.DISPUTED, Effect.IGNORE, Event.ENDED),
    **{
        key: step
        for state in (State.REFUSED, State.VOIDED)
        for key, step in _same(state, Effect.IGNORE, *_LATE).items()
    },
    **{(state, Event.VALVE_OPENED): Step(state, Effect.REVOKE) for state in (State.REFUSED, State.VOIDED)},
    **{(state, Event.ENDED): Step(state, Effect.LOSS) for state in (State.REFUSED, State.VOIDED)},
}


class UnexpectedEvent(BackendError):
    """The session is not in a state where this can happen."""

    code = "unexpected_event"
    status = 409


def step(state: State, event: Event) -> Step:
    """
    Return what an event does to a session in a state.

    :raises UnexpectedEvent: if the table lacks it.
    """
    try:
        return TABLE[state, event]
    except KeyError:
        raise UnexpectedEvent(f"{event.value} cannot happen to a session that is {state.value}") from None
