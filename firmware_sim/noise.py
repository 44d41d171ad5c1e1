"""
What goes wrong on a line, as data: bit errors, and frames lost, late, doubled, cut, echoed, glued or misaddressed.

Each unit has its own generator, drawn from only when it is spoken to: the same seed and the same conversation give the
same mishaps, whatever the neighbors do. Everything can be changed while the line runs.
"""

import difflib
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, fields

#: bits of a character on the wire: start, eight of data, parity, stop
CHARACTER_BITS = 11
DATA_BITS = range(1, 9)
BABBLE_BYTES_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Probabilities are per frame; `ber` is per bit, both ways."""

    ber: float = 0.0
    #: the request is not heard, so nothing is done
    lost_request: float = 0.0
    #: the answer is not heard, though what was asked is done
    lost: float = 0.0
    late: float = 0.0
    late_ms: int = 500
    duplicated: float = 0.0
    truncated: float = 0.0
    #: the adapter hears itself: the request stands before the answer
    echoed: float = 0.0
    #: the answer waits and comes together with the next one
    glued: float = 0.0
    #: the answer carries the next unit's address
    wrong_unit: float = 0.0
    #: somebody talks into the answer
    babbling: float = 0.0
    dead: bool = False

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "late_ms":
                good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 60_000
            elif each.name == "dead":
                good = isinstance(value, bool)
            else:
                good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
            if not good:
                raise ValueError(f"{each.name} = {value!r} is out of bounds")


CLEAN = Noise()


def noise_of(settings: Mapping[str, object]) -> Noise:
    """
    Return the noise that settings describe.

    :raises ValueError: if one is unknown or out of bounds; the message says which, and what may have been meant.
    """
    known = [each.name for each in fields(Noise)]
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ValueError(f"no noise is called {name!r}; {hint}")
    return Noise(**settings)  # type: ignore[arg-type]


class Mishaps:
    """The generator of one unit."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._ber = 0.0
        #: bits until the next one that is wrong
        self._clean_bits = 0

    def happens(self, probability: float) -> bool:
        """Return whether something of this probability happens now; nothing is drawn for what cannot."""
        return probability > 0 and self._random.random() < probability

    def wrong_bits(self, count: int, ber: float) -> list[int]:
        """Return which of the next bits on the wire are wrong."""
        if ber <= 0:
            return []
        if ber != self._ber:
            self._ber, self._clean_bits = ber, self._gap(ber)
        wrong = []
        at = self._clean_bits
        while at < count:
            wrong.append(at)
            at += 1 + self._gap(ber)
        self._clean_bits = at - count
        return wrong

    def _gap(self, ber: float) -> int:
        if ber >= 1:
            return 0
        return int(math.log(1.0 - self._random.random()) / math.log1p(-ber))

    def below(self, end: int) -> int:
        """Return a number from 0, below `end`."""
        return self._random.randrange(end)

    def bytes(self, count: int) -> bytes:
        """Return random bytes."""
        return self._random.randbytes(count)


def flipped(frame: bytes, wrong: list[int]) -> bytes | None:
    """Return the frame with these bits of the wire wrong, None when a receiver notices before it looks at the sum."""
    damaged = bytearray(frame)
    for bit in wrong:
        character, place = divmod(bit, CHARACTER_BITS)
        if place not in DATA_BITS:
            return None  # start, parity or stop: the receiver throws the character away and with it the frame
        damaged[character] ^= 1 << place - 1
    return bytes(damaged)


class LineNoise:
    """The noise of a line and of single units on it."""

    def __init__(self, *, seed: str = "0") -> None:
        self._seed = seed
        self._line = CLEAN
        self._units: dict[int, Noise] = {}
        self._mishaps: dict[int, Mishaps] = {}

    def set(self, noise: Noise, unit_id: int | None = None) -> None:
        """Give the whole line, or one unit, another noise from now on; a unit's own takes the place of the line's."""
        if unit_id is None:
            self._line = noise
        elif noise == CLEAN:
            self._units.pop(unit_id, None)
        else:
            self._units[unit_id] = noise

    @property
    def is_clean(self) -> bool:
        """Return whether nothing can go wrong."""
        return self._line == CLEAN and not self._units

    def of(self, unit_id: int) -> Noise:
        """Return a unit's noise."""
        return self._units.get(unit_id, self._line)

    def babbling(self) -> float:
        """Return how likely somebody talks into an answer, whoever it is."""
        return max([self._line.babbling, *(noise.babbling for noise in self._units.values())])

    def mishaps(self, unit_id: int) -> Mishaps:
        """Return a unit's generator."""
        found = self._mishaps.get(unit_id)
        if found is None:
            found = self._mishaps[unit_id] = Mishaps(f"{self._seed}/{unit_id}")
        return found
