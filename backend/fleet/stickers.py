"""
Sticker tokens: what an outlet's QR code carries. Opaque and random, never a payment code, never a number in a row.

A token is a version letter, 26 characters of base 32 for 128 random bits, and two check characters over what precedes,
all in small letters and 2-7. A mistyped token is recognized as such; the answer to it is the same as to an unknown one.
"""

import base64
import hashlib
import re
import secrets

VERSION = "a"
_SHAPE = re.compile(r"a[a-z2-7]{28}")
_CHECK_CHARS = 2


def _check(text: str) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest()[:5]).decode().lower()[:_CHECK_CHARS]


def new_token(entropy: bytes | None = None) -> str:
    """Return a new sticker token. Tests pass 16 bytes of `entropy`."""
    body = VERSION + base64.b32encode(entropy or secrets.token_bytes(16)).decode().rstrip("=").lower()
    return body + _check(body)


def is_well_formed(token: str) -> bool:
    """Return whether a text has the shape and the check characters of a token; it may still name nothing."""
    return bool(_SHAPE.fullmatch(token)) and _check(token[:-_CHECK_CHARS]) == token[-_CHECK_CHARS:]
