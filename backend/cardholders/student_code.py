"""
SC1, the student code: 28 bytes that a phone shows as QR, good for at most 45 s and for one use.

    01 | kid:2 | cred:8 | step:4 | n:1 | mac:12        step = unix // 15
    K_cred = HKDF-SHA256(master of kid, salt = tenant, info = "SC1|cred|" + cred)
    mac    = HMAC-SHA256(K_cred, "SC1|" + tenant + "|" + body)[:12]
    text   = "SC1:" + base 32 without padding, 49 characters in all

`n` lets the app draw a new code within a step. Pure: keys and time are handed in.
"""

import base64
import binascii
import hmac
import struct
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from backend.kit.clock import epoch_ms, from_epoch_ms

STEP_S = 15
#: How many steps a code may lag, or lead, the reader's.
STEPS_LATE, STEPS_EARLY = 2, 1
DRAWS_PER_STEP = 256
_PREFIX = "SC1:"
_VERSION = 1
_BODY = struct.Struct(">BH8sIB")
_MAC_BYTES = 12
_TEXT_CHARS = 49


class UnreadableCode(ValueError):
    """The text is not an SC1 code."""


@dataclass(frozen=True, slots=True)
class ReadCode:
    """What a code says of itself; worth nothing before `is_genuine`."""

    kid: int
    credential: bytes
    step: int
    draw: int
    body: bytes
    mac: bytes


def step_at(now: datetime) -> int:
    """Return the number of the 15-second step a time lies in."""
    return epoch_ms(now) // (STEP_S * 1000)


def expires_at(step: int) -> datetime:
    """Return the instant from which a code of this step is refused."""
    return from_epoch_ms((step + STEPS_LATE + 1) * STEP_S * 1000)


def is_current(step: int, now: datetime) -> bool:
    """Return whether a code of this step is accepted now: at most 2 steps late or 1 early."""
    return step_at(now) - STEPS_LATE <= step <= step_at(now) + STEPS_EARLY


def credential_key(*, master: bytes, tenant_id: str, credential: bytes) -> bytes:
    """Return the key of one credential."""
    derivation = HKDF(algorithm=SHA256(), length=32, salt=tenant_id.encode(), info=b"SC1|cred|" + credential)
    return derivation.derive(master)


def _mac(*, master: bytes, tenant_id: str, credential: bytes, body: bytes) -> bytes:
    key = credential_key(master=master, tenant_id=tenant_id, credential=credential)
    return hmac.digest(key, b"SC1|" + tenant_id.encode() + b"|" + body, "sha256")[:_MAC_BYTES]


def write(*, master: bytes, kid: int, tenant_id: str, credential: bytes, step: int, draw: int) -> str:
    """Return the text of a code, 49 characters that fit QR's alphanumeric mode."""
    body = _BODY.pack(_VERSION, kid, credential, step, draw)
    token = body + _mac(master=master, tenant_id=tenant_id, credential=credential, body=body)
    return _PREFIX + base64.b32encode(token).decode().rstrip("=")


def read(text: str) -> ReadCode:
    """
    Return what a code says of itself.

    :raises UnreadableCode: if it is not exactly the text that `write` would have written for some token.
    """
    if len(text) != _TEXT_CHARS or not text.startswith(_PREFIX):
        raise UnreadableCode("not an SC1 text of 49 characters")
    encoded = text[len(_PREFIX) :]
    try:
        token = base64.b32decode(encoded + "===")
    except (binascii.Error, ValueError) as error:
        raise UnreadableCode("not base 32") from error
    if base64.b32encode(token).decode().rstrip("=") != encoded:
        raise UnreadableCode("spare bits are not zero")
    body, mac = token[: _BODY.size], token[_BODY.size :]
    version, kid, credential, step, draw = _BODY.unpack(body)
    if version != _VERSION:
        raise UnreadableCode(f"version {version} is unknown")
    return ReadCode(kid=kid, credential=credential, step=step, draw=draw, body=body, mac=mac)


def is_genuine(code: ReadCode, *, master: bytes, tenant_id: str) -> bool:
    """Return whether a code was made with this master key for this tenant, in constant time."""
    expected = _mac(master=master, tenant_id=tenant_id, credential=code.credential, body=code.body)
    return hmac.compare_digest(expected, code.mac)
