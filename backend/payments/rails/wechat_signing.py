"""
WeChat Pay APIv3: who said something.

Lines, each ended by a line feed, signed with RSA-SHA256: method, target, time, nonce, body of a request; time, nonce,
body of an answer or a notification, taken from its raw bytes. Content of notifications is AES-256-GCM under the
merchant's APIv3 key.
"""

import base64
import binascii
import json
import re
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from backend.kit.clock import epoch_ms
from backend.payments.rails.merchants import WeChatMerchant

SCHEMA = "WECHATPAY2-SHA256-RSA2048"
#: An answer or notification may be this much older or younger than our clock.
TIME_WINDOW = timedelta(minutes=5)
_NONCE_BYTES = 12
_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)


def _lines(*parts: bytes) -> bytes:
    return b"".join(part + b"\n" for part in parts)


def target_of(url: str) -> str:
    """Return the part of an address that is signed: the path and the query."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def authorization(
    merchant: WeChatMerchant, *, method: str, url: str, body: bytes, now: datetime, nonce: str | None = None
) -> str:
    """Return the Authorization header of a request."""
    nonce = nonce or secrets.token_hex(16).upper()
    timestamp = str(epoch_ms(now) // 1000)
    message = _lines(method.encode(), target_of(url).encode(), timestamp.encode(), nonce.encode(), body)
    made = base64.b64encode(merchant.key.sign(message, padding.PKCS1v15(), hashes.SHA256())).decode()
    return (
        f'{SCHEMA} mchid="{merchant.mch_id}",nonce_str="{nonce}",signature="{made}",'
        f'timestamp="{timestamp}",serial_no="{merchant.serial_no}"'
    )


def why_not_theirs(merchant: WeChatMerchant, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """Return why a message is not provably the provider's and recent, or an empty text when it is."""
    timestamp, nonce, signature, serial = (
        headers.get(f"wechatpay-{name}", "") for name in ("timestamp", "nonce", "signature", "serial")
    )
    if not timestamp or not nonce or not signature:
        return "unsigned"
    if headers.get("wechatpay-signature-type", SCHEMA) != SCHEMA:
        return "unsigned"
    if serial.upper().lstrip("0") != merchant.platform_serial:
        return "wrong_serial"
    if not _SECONDS.fullmatch(timestamp):
        return "stale"
    if abs(epoch_ms(now) - int(timestamp) * 1000) > TIME_WINDOW // timedelta(milliseconds=1):
        return "stale"
    try:
        given = base64.b64decode(signature, validate=True)
        message = _lines(timestamp.encode(), nonce.encode(), body)
        merchant.platform_key.verify(given, message, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, binascii.Error, ValueError):
        return "forged"
    return ""


def opened(apiv3_key: bytes, resource: Any) -> dict[str, Any] | None:
    """Return the content of a notification's resource, or None when it was not sealed with the key."""
    match resource:
        case {"algorithm": "AEAD_AES_256_GCM", "ciphertext": str(ciphertext), "nonce": str(nonce), **rest}:
            associated = rest.get("associated_data") or ""
        case _:
            return None
    if not isinstance(associated, str) or len(nonce.encode()) != _NONCE_BYTES:
        return None
    try:
        sealed = base64.b64decode(ciphertext, validate=True)
        text = AESGCM(apiv3_key).decrypt(nonce.encode(), sealed, associated.encode())
        content = json.loads(text)
    except (InvalidTag, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
