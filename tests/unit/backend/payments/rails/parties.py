"""
A school's merchants and the providers' private side, with keys made for the tests, and wires that are functions.

What a provider signs is written here once more, from its documents, so a mistake has two chances to show.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from backend.payments.port import Order, Provider, Step
from backend.payments.rails import merchants
from backend.payments.rails.alipay import Alipay
from backend.payments.rails.unionpay import UnionPay
from backend.payments.rails.wechat import WeChat
from backend.payments.rails.wire import Wire

TENANT = "north_campus"
NOW = datetime(2026, 3, 1, 12, 0, 7, tzinfo=UTC)
PUBLIC_URL = "https://card.example.edu"
MER_ID, APP_ID, SELLER_ID = "777290058110001", "2021000000000001", "2088000000000001"
MCH_ID, WX_APP_ID, APIV3_KEY = "1600000001", "wx0000000000000001", b"0123456789abcdef0123456789abcdef"
PLATFORM_SERIAL, SM3_SECRET = "5157F09EFDC096DE15EBE81A47057A7232F1B8E1", b"a shared secret"
CODES = {"unionpay": "6212345678901234567", "alipay": "281234567890123456", "wechat": "134524350966727175"}

ORDER = Order(TENANT, "auth_0000000001", "charge", 300, NOW)
HOLD = Order(TENANT, "auth_0000000002", "hold", 300, NOW)


def step(kind: Any, amount_minor: int = 300, *, after: timedelta = timedelta(minutes=5)) -> Step:
    """Return a step of an order."""
    return Step(f"op_{kind}_00000001", kind, amount_minor, NOW + after)


@lru_cache
def key(name: str) -> rsa.RSAPrivateKey:
    """Return the private key of a party; the same each time."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def private_pem(name: str) -> bytes:
    """Return a party's private key as PEM."""
    return key(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(name: str) -> bytes:
    """Return a party's public key as PEM."""
    return key(name).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@lru_cache
def certificate(name: str) -> x509.Certificate:
    """Return a party's certificate; the same each time."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key(name).public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(NOW)
    return builder.not_valid_after(NOW + timedelta(days=9)).sign(key(name), hashes.SHA256())


def sign(name: str, text: bytes) -> str:
    """Return a party's RSA-SHA256 signature in base64."""
    return base64.b64encode(key(name).sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()


def is_signed(name: str, text: bytes, signature: str) -> None:
    """Raise if a party has not signed this."""
    key(name).public_key().verify(base64.b64decode(signature), text, padding.PKCS1v15(), hashes.SHA256())


def folder(secrets: Path, method: str, **fields: str) -> Path:
    """Return a merchant's folder after writing it whole; `fields` change what its TOML says."""
    path = secrets / "providers" / TENANT / method
    path.mkdir(parents=True, exist_ok=True)
    toml: dict[str, str] = {"url": f"http://{method}.example/base"}
    pem = certificate("merchant").public_bytes(Encoding.PEM)
    files: dict[str, bytes]
    if method == "unionpay":
        toml |= {"mer_id": MER_ID, "sign_method": "01", "cert_id": str(certificate("merchant").serial_number)}
        files = {
            "merchant.key.pem": private_pem("merchant"),
            "merchant.cert.pem": pem,
            "provider.cert.pem": certificate("provider").public_bytes(Encoding.PEM),
            "sm3.secret": SM3_SECRET,
        }
    elif method == "alipay":
        toml |= {"app_id": APP_ID, "seller_id": SELLER_ID}
        files = {"app.key.pem": private_pem("merchant"), "provider.pub.pem": public_pem("provider")}
    else:
        serial = f"{certificate('merchant').serial_number:X}"
        toml |= {"mch_id": MCH_ID, "app_id": WX_APP_ID, "serial_no": serial, "platform_serial": PLATFORM_SERIAL}
        files = {
            "merchant.key.pem": private_pem("merchant"),
            "platform.pub.pem": public_pem("provider"),
            "apiv3.key": APIV3_KEY,
        }
    for name, content in files.items():
        (path / name).write_bytes(content)
    lines = [f"{name} = {json.dumps(value)}" for name, value in (toml | fields).items()]
    (path / "merchant.toml").write_text("\n".join(lines), encoding="utf-8")
    return path


class _Once(httpx.SyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        yield self._body


Handler = Callable[[httpx.Request], tuple[int, Mapping[str, str], bytes]]


@dataclass
class World:
    """One provider's adapter, whose wire is a function, and the requests it made."""

    secrets: Path
    method: str
    answer: Handler
    now: datetime = NOW
    asked: list[httpx.Request] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    provider: Provider = field(init=False)

    def __post_init__(self) -> None:
        folder(self.secrets, self.method, **self.fields)
        wire = Wire(timeout_ms=400, transport=httpx.MockTransport(self._handle))
        self.provider = adapter(self.method, self.secrets, wire, lambda: self.now)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        status, headers, body = self.answer(request)
        return httpx.Response(status, headers=headers, stream=_Once(body))


def adapter(method: str, secrets: Path, wire: Wire, clock: Callable[[], datetime] = lambda: NOW) -> Provider:
    """Return the adapter of a method on a wire."""
    if method == "unionpay":
        unionpay = merchants.Merchants(method, secrets, merchants.load_unionpay)
        return UnionPay(unionpay, wire, public_url=PUBLIC_URL, clock=clock)
    if method == "alipay":
        alipay = merchants.Merchants(method, secrets, merchants.load_alipay)
        return Alipay(alipay, wire, public_url=PUBLIC_URL, clock=clock)
    return WeChat(merchants.Merchants(method, secrets, merchants.load_wechat), wire, public_url=PUBLIC_URL, clock=clock)


def form_of(request: httpx.Request) -> dict[str, str]:
    """Return the fields of a form that was sent."""
    return dict(parse_qsl(request.content.decode(), keep_blank_values=True, strict_parsing=True))


def sorted_text(fields: Mapping[str, str], *without: str) -> bytes:
    """Return fields as UnionPay and Alipay sign them."""
    return "&".join(
        f"{name}={fields[name]}" for name in sorted(fields) if fields[name] and name not in without
    ).encode()


def unionpay_form(fields: Mapping[str, str], *, signer: str = "provider", escaped: bool = True) -> bytes:
    """Return a form as UnionPay signs it (01), escaped or as its gateway sends answers."""
    fields = {"signMethod": "01", **fields}
    digest = hashlib.sha256(sorted_text(fields, "signature")).hexdigest().encode()
    fields["signature"] = sign(signer, digest)
    return urlencode(fields).encode() if escaped else "&".join(f"{k}={v}" for k, v in fields.items()).encode()


def unionpay_echo(request: httpx.Request, **more: str) -> bytes:
    """Return UnionPay's answer to a request: what was asked, and more; an empty text leaves a field out."""
    asked = form_of(request)
    kept = ("merId", "orderId", "txnTime", "txnType", "txnAmt", "currencyCode")
    fields = {name: asked[name] for name in kept if name in asked} | more
    return unionpay_form({name: value for name, value in fields.items() if value})


def alipay_answer(method: str, node: Mapping[str, Any], *, signer: str = "provider") -> bytes:
    """Return Alipay's answer to a method, with blanks and escapes that only the raw text keeps."""
    text = json.dumps(node, separators=(" ,", ": ")).replace("/", "\\/")
    signature = sign(signer, text.encode())
    return f'{{"{method.replace(".", "_")}_response":{text},"sign":"{signature}"}}'.encode()


def alipay_form(*, signer: str = "provider", **fields: str) -> bytes:
    """Return a notification as Alipay signs it."""
    fields = {"app_id": APP_ID, "seller_id": SELLER_ID, "notify_id": "n1", "sign_type": "RSA2", **fields}
    return urlencode({**fields, "sign": sign(signer, sorted_text(fields, "sign", "sign_type"))}).encode()


def wechat_headers(body: bytes, *, at: datetime = NOW, signer: str = "provider", **more: str) -> dict[str, str]:
    """Return the headers with which WeChat signs a body."""
    timestamp, nonce = str(int(at.timestamp())), "abc123"
    made = sign(signer, f"{timestamp}\n{nonce}\n".encode() + body + b"\n")
    headers = {
        "wechatpay-timestamp": timestamp,
        "wechatpay-nonce": nonce,
        "wechatpay-signature": made,
        "wechatpay-serial": PLATFORM_SERIAL,
    }
    return headers | {f"wechatpay-{name}": value for name, value in more.items()}


def wechat_message(content: Mapping[str, Any], *, apiv3_key: bytes = APIV3_KEY, **resource: Any) -> bytes:
    """Return a notification whose content is sealed."""
    nonce, associated = "nonce0000012", "transaction"
    sealed = AESGCM(apiv3_key).encrypt(nonce.encode(), json.dumps(content).encode(), associated.encode())
    message = {
        "id": "EV-1",
        "resource": {
            "algorithm": "AEAD_AES_256_GCM",
            "ciphertext": base64.b64encode(sealed).decode(),
            "nonce": nonce,
            "associated_data": associated,
            **resource,
        },
    }
    return json.dumps(message).encode()


def one_bit_wrong(data: bytes, at: int) -> bytes:
    """Return data with its bit number `at` flipped, counted around."""
    at %= len(data) * 8
    changed = bytearray(data)
    changed[at // 8] ^= 1 << at % 8
    return bytes(changed)
