"""
Randomness without a state: a draw is a hash of seed, purpose, index and count.

Any fixture's n-th draw can be had in any order and any number at once, so one fixture never changes what another gets,
and a run is the same to the last bit however it is cut into steps. The mixing is splitmix64's finalizer, three rounds.
"""

import numpy as np
import numpy.typing as npt

from firmware_sim.physics.kinds import Floats, Integers

_MASK = (1 << 64) - 1
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_GOLDEN = 0x9E3779B97F4A7C15

#: up to so many numbers are scrambled one by one
_FEW = 4

#: trials that nobody lives to see
NEVER = 1 << 62

#: what draws are for; each has its own stream
DEMAND, STUCK_OPEN, STUCK_CLOSED, BOUNCE, MISS, AIR, FLUSH, BURST = range(8)
DEAD_LEG, ERROR_LOW, ERROR_HIGH, K_FACTOR, LEAK, LEAK_SIZE, AGE = range(8, 15)


def _scramble(number: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    number = (number ^ (number >> np.uint64(30))) * _FIRST
    number = (number ^ (number >> np.uint64(27))) * _SECOND
    return number ^ (number >> np.uint64(31))


def _scramble_one(number: int) -> int:
    number = (number ^ (number >> 30)) * int(_FIRST) & _MASK
    number = (number ^ (number >> 27)) * int(_SECOND) & _MASK
    return number ^ (number >> 31)


def bits(seed: int, purpose: int, index: Integers, count: Integers | int = 0) -> npt.NDArray[np.uint64]:
    """Return 64 random bits for each index; `count` says which draw of that index it is."""
    index = np.atleast_1d(np.asarray(index, dtype=np.int64))
    counts = np.atleast_1d(np.asarray(count, dtype=np.int64))
    key = (seed * _GOLDEN + purpose * 0xD1342543DE82EF95 + 0x632BE59BD9B4E019) & _MASK
    if max(len(index), len(counts)) <= _FEW:
        return _few_bits(key, index, counts)
    mixed = _scramble(index.astype(np.uint64) + np.uint64(key))
    mixed = _scramble(mixed + counts.astype(np.uint64) * np.uint64(_GOLDEN))
    return _scramble(mixed ^ np.uint64(key))


def _few_bits(key: int, index: Integers, counts: Integers) -> npt.NDArray[np.uint64]:
    """Return the same bits number by number: a step draws for one or two fixtures, and arrays of one are slow."""
    made = []
    for number in range(max(len(index), len(counts)) if len(index) and len(counts) else 0):
        mixed = _scramble_one(int(index[number if len(index) > 1 else 0]) + key & _MASK)
        mixed = _scramble_one(mixed + int(counts[number if len(counts) > 1 else 0]) * _GOLDEN & _MASK)
        made.append(_scramble_one(mixed ^ key))
    return np.array(made, dtype=np.uint64)


def uniform(seed: int, purpose: int, index: Integers, count: Integers | int = 0) -> Floats:
    """Return a number from 0 up to, not including, 1 for each index."""
    drawn: Floats = (bits(seed, purpose, index, count) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return drawn


def normal(seed: int, purpose: int, index: Integers, count: Integers | int = 0) -> Floats:
    """Return a standard normal number for each index (Box and Muller)."""
    doubled = np.asarray(count, dtype=np.int64) * 2
    radius = np.sqrt(-2.0 * np.log1p(-uniform(seed, purpose, index, doubled)))
    drawn: Floats = radius * np.cos(2.0 * np.pi * uniform(seed, purpose, index, doubled + 1))
    return drawn


def waiting(seed: int, purpose: int, index: Integers, count: Integers | int, share: float) -> Integers:
    """Return for each index how many trials pass up to and with the first success, each with chance `share`."""
    if share <= 0:
        return np.full(np.shape(np.atleast_1d(index)), NEVER, dtype=np.int64)
    if share >= 1:
        return np.ones(np.shape(np.atleast_1d(index)), dtype=np.int64)
    trials = np.log1p(-uniform(seed, purpose, index, count)) / np.log1p(-share)
    whole: Integers = np.maximum(1, np.ceil(trials)).astype(np.int64)
    return whole
