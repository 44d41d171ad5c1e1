"""
The water session at the edge, as a table. The backend keeps the twin of it.

authorized → opening → flowing ⇄ paused → closing → ended, and refused beside it.

- A command becomes `opening` once its sequence is on disk, and only then is a frame written.
- A device that says no, before any water, makes it `refused`. A device that says nothing leaves it `opening`: the
  session is then closed and settled from the device's log, because the frame may have arrived.
- A device may end a session in any state after `authorized`; it needs nobody's leave to close.
- What the table lacks is refused.
"""

from enum import StrEnum


class State(StrEnum):
    """Where a water session is."""

    AUTHORIZED = "authorized"
    OPENING = "opening"
    FLOWING = "flowing"
    PAUSED = "paused"
    CLOSING = "closing"
    ENDED = "ended"
    REFUSED = "refused"


class Happening(StrEnum):
    """What moves it on."""

    PERSISTED = "persisted"  # the command's sequence is on disk
    DENIED = "denied"  # checked before writing, or the device said no
    OPENED = "opened"  # read back open
    FLOW_STOPPED = "flow_stopped"
    FLOW_RESUMED = "flow_resumed"
    CLOSE_ASKED = "close_asked"  # command, cut-off, restart, shutdown
    SETTLED = "settled"  # END record, or register continuity


TABLE: dict[tuple[State, Happening], State] = {
    (State.AUTHORIZED, Happening.PERSISTED): State.OPENING,
    (State.AUTHORIZED, Happening.DENIED): State.REFUSED,
    (State.OPENING, Happening.OPENED): State.FLOWING,
    (State.OPENING, Happening.DENIED): State.REFUSED,
    (State.OPENING, Happening.CLOSE_ASKED): State.CLOSING,
    (State.OPENING, Happening.SETTLED): State.ENDED,
    (State.FLOWING, Happening.FLOW_STOPPED): State.PAUSED,
    (State.FLOWING, Happening.CLOSE_ASKED): State.CLOSING,
    (State.FLOWING, Happening.SETTLED): State.ENDED,
    (State.PAUSED, Happening.FLOW_RESUMED): State.FLOWING,
    (State.PAUSED, Happening.CLOSE_ASKED): State.CLOSING,
    (State.PAUSED, Happening.SETTLED): State.ENDED,
    (State.CLOSING, Happening.CLOSE_ASKED): State.CLOSING,
    (State.CLOSING, Happening.SETTLED): State.ENDED,
}

#: States in which the valve may be open.
LIVE = frozenset({State.OPENING, State.FLOWING, State.PAUSED, State.CLOSING})


class TransitionRefused(Exception):
    """The table has no such step."""


def step(state: State, happening: Happening) -> State:
    """
    Return the state after something happened.

    :raises TransitionRefused: if the table lacks it.
    """
    following = TABLE.get((state, happening))
    if following is None:
        raise TransitionRefused(f"a water session that is {state} cannot be {happening}")
    return following
