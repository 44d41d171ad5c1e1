"""
Ed25519 signatures over the exact bytes that travel (RFC 8032). Nothing is re-serialized before it is verified.
"""

import base64
import binascii
from pathlib import Path
from typing import TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

T = TypeVar("T")


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """A payload, as the text that was signed, with the key's name and the signature in base 64."""

    kid: str
    payload: str
    signature: str


class SignatureRefused(Exception):
    """The payload is not what a known key signed. `code` is a RefusalCode value."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def sign(message: msgspec.Struct, *, key: Ed25519PrivateKey, kid: str) -> Signed:
    """Return a message with its signature."""
    payload = msgspec.json.encode(message)
    return Signed(kid=kid, payload=payload.decode(), signature=base64.b64encode(key.sign(payload)).decode())


def decode(raw: bytes | str, as_type: type[T]) -> T:
    """
    Return a message read from JSON; every way in which bytes can fail to be one is the same refusal.

    :raises SignatureRefused: `malformed`, also for broken UTF-8 and for nesting deeper than any message.
    """
    try:
        return msgspec.json.decode(raw, type=as_type)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise SignatureRefused("malformed", f"not readable: {error}") from error


def verify(signed: Signed, *, keys: dict[str, Ed25519PublicKey], as_type: type[T]) -> T:
    """
    Return the payload, decoded, if one of the known keys signed exactly these bytes.

    :raises SignatureRefused: `unsigned`, `unknown_key`, `bad_signature` or `malformed`.
    """
    if not signed.signature:
        raise SignatureRefused("unsigned", "the message carries no signature")
    key = keys.get(signed.kid)
    if key is None:
        raise SignatureRefused("unknown_key", f"no key is known as {signed.kid!r}")
    try:
        payload = signed.payload.encode()
        key.verify(base64.b64decode(signed.signature, validate=True), payload)
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise SignatureRefused("bad_signature", "the signature does not fit the payload") from error
    return decode(payload, as_type)


def public_text(key: Ed25519PublicKey) -> str:
    """Return a public key's 32 bytes in base 64."""
    return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def public_from_text(text: str) -> Ed25519PublicKey:
    """
    Return the public key that `public_text` wrote.

    :raises ValueError: if the text is not 32 bytes in base 64.
    """
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))


def load_or_create_key(path: Path) -> Ed25519PrivateKey:
    """Return the private key in a file of 32 raw bytes, making it (mode 0600, folder included) when it is missing."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        raw = Ed25519PrivateKey.generate().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        fresh = path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_bytes(raw)
        try:
            path.hardlink_to(fresh)  # the first of two starting processes wins; both then read the same key
        except FileExistsError:
            pass
        finally:
            fresh.unlink(missing_ok=True)
    return Ed25519PrivateKey.from_private_bytes(path.read_bytes())
