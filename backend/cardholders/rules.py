"""Rules of the cardholders slice: passwords, card numbers, tokens, when a pass is valid. Pure."""

import base64
import binascii
import hashlib
import hmac
from datetime import datetime, timedelta

SIGN_IN_LIFE = timedelta(hours=12)
#: So many wrong passwords within the window close a login until the oldest of them leaves it.
FAILURES_MAX = 5
FAILURE_WINDOW = timedelta(minutes=15)
#: What a card number and a single-use code prove.
ASSURANCE = {"uid": 0, "code": 1}
_SCRYPT_LOG2_N, _SCRYPT_R, _SCRYPT_P = 14, 8, 1
_UID_BYTES = (4, 7, 10)


def _scrypt(password: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=1 << log2_n, r=r, p=p, maxmem=1 << 27, dklen=32)


def password_hash(password: str, salt: bytes) -> str:
    """Return what is stored of a password: the function, its costs, the salt and the digest."""
    digest = _scrypt(password, salt, _SCRYPT_LOG2_N, _SCRYPT_R, _SCRYPT_P)
    parts = (base64.b64encode(salt).decode(), base64.b64encode(digest).decode())
    return f"scrypt${_SCRYPT_LOG2_N}${_SCRYPT_R}${_SCRYPT_P}${parts[0]}${parts[1]}"


def is_password(password: str, stored: str) -> bool:
    """Return whether a password fits its stored hash, in constant time."""
    _, log2_n, r, p, salt, digest = stored.split("$")
    found = _scrypt(password, base64.b64decode(salt), int(log2_n), int(r), int(p))
    return hmac.compare_digest(found, base64.b64decode(digest))


def token_hash(token: str) -> str:
    """Return what is stored of a sign-in token."""
    return hashlib.sha256(token.encode()).hexdigest()


def card_number(uid: str) -> str | None:
    """Return a card's number in upper-case hex, or None if it is not one (4, 7 or 10 bytes, not all zero)."""
    try:
        raw = binascii.unhexlify(uid.strip())
    except (binascii.Error, ValueError):
        return None
    return raw.hex().upper() if len(raw) in _UID_BYTES and any(raw) else None


def card_lookup(*, pepper: bytes, tenant_id: str, number: str) -> str:
    """Return the keyed hash a card's number is found by; without the pepper it says nothing."""
    return hmac.digest(pepper, f"{tenant_id}|{number}".encode(), "sha256").hex()


def is_pass_valid(
    *,
    person_class: str,
    kind: str,
    not_before: datetime | None,
    not_after: datetime | None,
    uses_left: int | None,
    now: datetime,
) -> bool:
    """Return whether a credential may be used now. A visitor's code needs a period; any period is half open."""
    if person_class == "visitor" and kind == "code" and not_after is None:
        return False
    if not_before is not None and now < not_before:
        return False
    if not_after is not None and now >= not_after:
        return False
    return uses_left is None or uses_left > 0
