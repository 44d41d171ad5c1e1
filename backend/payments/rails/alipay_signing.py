"""
Alipay open platform: who said something.

Requests and notifications: the fields that are not empty, sorted by name, joined as `k=v&k=v`, signed with RSA-SHA256
(RSA2). Answers are signed over the JSON text of their node exactly as it was sent, so it is cut out, never rewritten.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from backend.payments.rails.merchants import AlipayMerchant

_FIELDS_MAX = 200
_MEMBERS_MAX = 10
_BLANK = " \t\r\n"


def canonical(fields: Mapping[str, str], *, without: tuple[str, ...] = ("sign",)) -> bytes:
    """Return the text that is signed. Notifications are signed without `sign_type` as well."""
    return "&".join(f"{k}={v}" for k, v in sorted(fields.items()) if v and k not in without).encode()


def signed_form(merchant: AlipayMerchant, fields: Mapping[str, str]) -> bytes:
    """Return fields as a form body with the app's signature."""
    made = merchant.key.sign(canonical(fields), padding.PKCS1v15(), hashes.SHA256())
    return urlencode({**fields, "sign": base64.b64encode(made).decode()}).encode()


def is_signed(key: RSAPublicKey, text: bytes, signature: str) -> bool:
    """Return whether the owner of a key signed a text."""
    try:
        key.verify(base64.b64decode(signature, validate=True), text, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def verified_notification(merchant: AlipayMerchant, body: bytes) -> dict[str, str] | None:
    """Return the fields of a notification, None when it is malformed, and nothing in them when it is forged."""
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_FIELDS_MAX
        )
    except ValueError:
        return None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        return None
    text = canonical(fields, without=("sign", "sign_type"))
    theirs = fields.get("sign_type") == "RSA2" and is_signed(merchant.provider_key, text, fields.get("sign", ""))
    return fields if theirs else {}


def _members(text: str) -> dict[str, tuple[Any, str]]:
    """
    Return the members of a JSON object, each with its text as written.

    :raises ValueError: if it is no JSON object, or names a member twice.
    """
    decoder = json.JSONDecoder()

    def skip(at: int) -> int:
        while at < len(text) and text[at] in _BLANK:
            at += 1
        return at

    def expect(at: int, signs: str) -> str:
        if at >= len(text) or text[at] not in signs:
            raise ValueError(f"one of {signs} is missing")
        return text[at]

    at = skip(0)
    expect(at, "{")
    members: dict[str, tuple[Any, str]] = {}
    while len(members) < _MEMBERS_MAX:
        at = skip(at + 1)
        expect(at, '"')
        name, at = decoder.raw_decode(text, at)
        at = skip(at)
        expect(at, ":")
        begin = skip(at + 1)
        value, at = decoder.raw_decode(text, begin)
        if name in members:
            raise ValueError("a member is there twice")
        members[name] = value, text[begin:at]
        at = skip(at)
        if expect(at, ",}") == "}":
            if skip(at + 1) != len(text):
                raise ValueError("something follows")
            return members
    raise ValueError("too many members")


def verified_answer(merchant: AlipayMerchant, method: str, body: bytes) -> dict[str, Any] | None:
    """Return the node that answers a method, or None when it is malformed or not provably the provider's."""
    try:
        members = _members(body.decode())
    except (ValueError, RecursionError):
        return None
    node = members.get(f"{method.replace('.', '_')}_response") or members.get("error_response")
    signature, _ = members.get("sign", ("", ""))
    if node is None or not isinstance(node[0], dict) or not isinstance(signature, str):
        return None
    return node[0] if is_signed(merchant.provider_key, node[1].encode(), signature) else None
