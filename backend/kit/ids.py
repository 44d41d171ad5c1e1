"""Typed, prefixed, time-ordered ids. Whoever starts a thing mints its id and retries with the same one."""

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 26


def _base32(value: int) -> str:
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(5 * (_LENGTH - 1), -1, -5))


def new_id(prefix: str, *, time_ms: int | None = None, entropy: int | None = None) -> str:
    """
    Return a new id: the prefix, an underscore and 26 characters that sort by creation time.

    48 bits of milliseconds and 80 random bits, in Crockford's base 32, lower case. Tests pass `time_ms` and `entropy`.
    """
    millis = time.time_ns() // 1_000_000 if time_ms is None else time_ms
    noise = secrets.randbits(80) if entropy is None else entropy
    return f"{prefix}_{_base32((millis << 80) | noise)}"
