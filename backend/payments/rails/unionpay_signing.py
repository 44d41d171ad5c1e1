"""
UnionPay acp 5.1.0: who said something.

Fields without `signature` and without empty ones, sorted by name, joined as `k=v&k=v`. Sign method 01 is RSA-SHA256
over the lower-case hexadecimal SHA-256 of that text; 12 is the SM3 of the text, `&` and the SM3 of the shared secret.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from backend.payments.rails.merchants import UnionPayMerchant

_FIELDS_MAX = 200


def sm3_hex(data: bytes) -> str:
    """Return the SM3 of bytes in lower-case hexadecimal."""
    digest = hashes.Hash(hashes.SM3())
    digest.update(data)
    return digest.finalize().hex()


def canonical(fields: Mapping[str, str]) -> bytes:
    """Return the text that is signed."""
    return "&".join(f"{k}={v}" for k, v in sorted(fields.items()) if v and k != "signature").encode()


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()


def _sm3_signature(secret: bytes, text: bytes) -> str:
    return sm3_hex(text + b"&" + sm3_hex(secret).encode())


def signed_form(merchant: UnionPayMerchant, fields: Mapping[str, str]) -> bytes:
    """Return fields as a form body with the merchant's signature."""
    complete = {**fields, "signMethod": merchant.sign_method}
    if merchant.key is None:
        complete["signature"] = _sm3_signature(merchant.sm3_secret, canonical(complete))
    else:
        complete["certId"] = merchant.cert_id
        made = merchant.key.sign(_digest(canonical(complete)), padding.PKCS1v15(), hashes.SHA256())
        complete["signature"] = base64.b64encode(made).decode()
    return urlencode(complete).encode()


def is_theirs(merchant: UnionPayMerchant, fields: Mapping[str, str]) -> bool:
    """Return whether the provider signed these fields, by the method agreed with the merchant."""
    signature = fields.get("signature", "")
    if fields.get("signMethod") != merchant.sign_method or not signature:
        return False
    if merchant.provider_key is None:
        return hmac.compare_digest(_sm3_signature(merchant.sm3_secret, canonical(fields)).encode(), signature.encode())
    try:
        given = base64.b64decode(signature, validate=True)
        if base64.b64encode(given).decode() != signature:
            return False  # the same bytes, spelled otherwise
        merchant.provider_key.verify(given, _digest(canonical(fields)), padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def form_fields(body: bytes) -> dict[str, str] | None:
    """Return the fields of a form body, or None when it is malformed or names a field twice."""
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_FIELDS_MAX
        )
    except ValueError:
        return None
    return _unique(pairs)


def plain_fields(body: bytes) -> dict[str, str] | None:
    """Return the fields of an answer, which UnionPay joins without escaping; None as for `form_fields`."""
    try:
        parts = body.decode().strip("\r\n").split("&")
    except UnicodeDecodeError:
        return None
    if len(parts) > _FIELDS_MAX:
        return None
    return _unique([(name, value) for name, _, value in (part.partition("=") for part in parts)])


def _unique(pairs: list[tuple[str, str]]) -> dict[str, str] | None:
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else None


def verified_answer(merchant: UnionPayMerchant, body: bytes) -> dict[str, str] | None:
    """Return the fields of an answer that is provably the provider's, escaped or not; None when it is not."""
    for fields in (plain_fields(body), form_fields(body)):
        if fields is not None and is_theirs(merchant, fields):
            return fields
    return None
