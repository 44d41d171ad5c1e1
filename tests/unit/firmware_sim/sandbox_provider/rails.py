"""The merchant's side of the three brands, as small as it gets: signs, verifies, reads notifications."""

import base64
import hashlib
import json
import re
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from starlette.testclient import TestClient

from tests.patience import PATIENCE_S

TIME = "20261122200000"


def _key(path: Path) -> RSAPrivateKey:
    key = load_pem_private_key(path.read_bytes(), None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, RSAPrivateKey)
    return key


def _public(path: Path) -> RSAPublicKey:
    key = load_pem_public_key(path.read_bytes())
    assert isinstance(key, RSAPublicKey)
    return key


def _sign(key: RSAPrivateKey, message: bytes) -> str:
    return base64.b64encode(key.sign(message, padding.PKCS1v15(), hashes.SHA256())).decode()


def _verify(key: RSAPublicKey, message: bytes, signature: str) -> None:
    key.verify(base64.b64decode(signature), message, padding.PKCS1v15(), hashes.SHA256())


def _joined(fields: dict[str, str], *without: str) -> str:
    return "&".join(f"{name}={value}" for name, value in sorted(fields.items()) if value and name not in without)


@dataclass
class House:
    """The provider's application and the merchant files."""

    client: TestClient
    folder: Path
    ahead_s: int = 0

    def pass_time(self, seconds: int) -> None:
        """Let time pass there."""
        self.ahead_s += seconds
        now = datetime.now(UTC) + timedelta(seconds=self.ahead_s)
        assert self.client.post("/clock", json={"now": now.isoformat()}).status_code == 200

    def orders(self) -> list[dict[str, Any]]:
        """Return the provider's books."""
        found: list[dict[str, Any]] = self.client.get("/orders").json()["orders"]
        return found

    def order(self, number: str) -> dict[str, Any]:
        """Return one order of the books."""
        return next(order for order in self.orders() if order["order_no"] == number)

    def script(self, match: str, behaviour: str, **more: Any) -> None:
        """Say how a request to come is treated."""
        answer = self.client.post("/script", json={"match": match, "behaviour": behaviour, **more})
        assert answer.status_code == 200, answer.text

    def wait_for(self, number: str, status: str) -> dict[str, Any]:
        """Return an order once it has a status."""
        until = time.monotonic() + PATIENCE_S
        while (order := self.order(number))["status"] != status:
            assert time.monotonic() < until, order
            time.sleep(0.01)
        return order


class UnionPayClient:
    """Speaks acp."""

    def __init__(self, house: House) -> None:
        self.house = house
        folder = house.folder / "unionpay"
        self.values = tomllib.loads((folder / "merchant.toml").read_text())
        self.key = _key(folder / "merchant.key.pem")
        self.secret = (folder / "sm3.secret").read_text()
        certificate = x509.load_pem_x509_certificate((folder / "provider.cert.pem").read_bytes())
        provider_key = certificate.public_key()
        assert isinstance(provider_key, RSAPublicKey)
        self.provider_key = provider_key

    def fields(self, kind: str, number: str, **more: str) -> dict[str, str]:
        """Return the fields of a message, not signed."""
        common = {
            "version": "5.1.0", "encoding": "UTF-8", "signMethod": "01", "txnType": kind, "txnSubType": "01",
            "bizType": "000000", "channelType": "08", "accessType": "0", "merId": self.values["mer_id"],
            "orderId": number, "txnTime": TIME,
        }  # fmt: skip
        return common | more

    def signed(self, fields: dict[str, str]) -> dict[str, str]:
        """Return fields with their signature."""
        fields = dict(fields)
        if fields["signMethod"] == "12":
            secret = self._sm3(self.secret.encode())
            fields["signature"] = self._sm3(f"{_joined(fields, 'signature')}&{secret}".encode())
            return fields
        fields.setdefault("certId", self.values["cert_id"])
        digest = hashlib.sha256(_joined(fields, "signature").encode()).hexdigest()
        fields["signature"] = _sign(self.key, digest.encode())
        return fields

    def _sm3(self, message: bytes) -> str:
        digest = hashes.Hash(hashes.SM3())
        digest.update(message)
        return digest.finalize().hex()

    def verified(self, body: bytes) -> dict[str, str]:
        """Return the fields of an answer or a notification that the provider signed."""
        fields = dict(parse_qsl(body.decode(), strict_parsing=True, keep_blank_values=True))
        text = _joined(fields, "signature")
        if fields["signMethod"] == "12":
            assert fields["signature"] == self._sm3(f"{text}&{self._sm3(self.secret.encode())}".encode())
        else:
            _verify(self.provider_key, hashlib.sha256(text.encode()).hexdigest().encode(), fields["signature"])
        return fields

    def post(self, path: str, fields: dict[str, str]) -> dict[str, str]:
        """Return the verified answer to a message as it is."""
        answer = self.house.client.post(
            f"/unionpay{path}",
            content=urlencode(fields),
            headers={"content-type": "application/x-www-form-urlencoded"},
        )
        assert answer.status_code == 200, answer.text
        return self.verified(answer.content)

    def send(self, kind: str, number: str, amount: int, **more: str) -> dict[str, str]:
        """Return the answer to an order or step."""
        fields = self.fields(kind, number, txnAmt=str(amount), currencyCode="156", **more)
        return self.post("/gateway/api/backTransReq.do", self.signed(fields))

    def pay(self, number: str, amount: int, kind: str = "01", **more: str) -> dict[str, str]:
        """Return the answer to an order paid by the agreement on file."""
        return self.send(kind, number, amount, **({"tokenPayData": "{token=agr_1&trId=9}"} | more))

    def query(self, number: str, **more: str) -> dict[str, str]:
        """Return the answer to a question."""
        return self.post("/gateway/api/queryTrans.do", self.signed(self.fields("00", number, **more)))


class AlipayClient:
    """Speaks to the gateway."""

    def __init__(self, house: House) -> None:
        self.house = house
        folder = house.folder / "alipay"
        self.values = tomllib.loads((folder / "merchant.toml").read_text())
        self.key = _key(folder / "app.key.pem")
        self.provider_key = _public(folder / "provider.pub.pem")

    def fields(self, method: str, biz: dict[str, Any], **more: str) -> dict[str, str]:
        """Return the parameters of a call, signed."""
        fields = {
            "app_id": self.values["app_id"], "method": method, "format": "JSON", "charset": "utf-8",
            "sign_type": "RSA2", "timestamp": "2026-11-22 20:00:00", "version": "1.0",
            "biz_content": json.dumps(biz, ensure_ascii=False),
        } | more  # fmt: skip
        return fields | {"sign": _sign(self.key, _joined(fields).encode())}

    def post(self, fields: dict[str, str]) -> httpx.Response:
        """Return the answer to parameters as they are."""
        answer: httpx.Response = self.house.client.post("/alipay/gateway.do", data=fields)
        return answer

    def call(self, method: str, **biz: Any) -> dict[str, Any]:
        """Return the verified answer to a call; `notify_url` goes beside the content."""
        beside = {"notify_url": biz.pop("notify_url")} if "notify_url" in biz else {}
        answer = self.post(self.fields(method, biz, **beside))
        assert answer.status_code == 200, answer.text
        name = f"{method.replace('.', '_')}_response"
        raw = re.fullmatch(rf'{{"{name}":(.*),"sign":"([^"]+)"}}', answer.text, re.DOTALL)
        assert raw is not None, answer.text
        _verify(self.provider_key, raw[1].encode(), raw[2])
        told: dict[str, Any] = json.loads(raw[1])
        return told

    def verified(self, body: bytes) -> dict[str, str]:
        """Return the fields of a notification that the provider signed."""
        fields = dict(parse_qsl(body.decode(), strict_parsing=True, keep_blank_values=True))
        _verify(self.provider_key, _joined(fields, "sign", "sign_type").encode(), fields["sign"])
        return fields


class WeChatClient:
    """Speaks APIv3."""

    def __init__(self, house: House) -> None:
        self.house = house
        folder = house.folder / "wechat"
        self.values = tomllib.loads((folder / "merchant.toml").read_text())
        self.key = _key(folder / "merchant.key.pem")
        self.platform_key = _public(folder / "platform.pub.pem")
        self.apiv3_key = (folder / "apiv3.key").read_bytes()

    def authorization(self, method: str, path: str, body: bytes, *, at_s: int | None = None) -> str:
        """Return the header that signs a request."""
        stamp, nonce = str(at_s if at_s is not None else int(time.time())), "n" * 32
        text = f"{method}\n{path}\n{stamp}\n{nonce}\n".encode() + body + b"\n"
        return (
            f'WECHATPAY2-SHA256-RSA2048 mchid="{self.values["mch_id"]}",nonce_str="{nonce}",'
            f'signature="{_sign(self.key, text)}",timestamp="{stamp}",serial_no="{self.values["serial_no"]}"'
        )

    def raw(self, method: str, path: str, body: bytes = b"", *, header: str = "") -> httpx.Response:
        """Return the answer to a request; `header` replaces the signature."""
        path = path if path.startswith("/wechat") else f"/wechat{path}"
        headers = {"authorization": header or self.authorization(method, path, body)}
        answer: httpx.Response = self.house.client.request(method, path, content=body, headers=headers)
        return answer

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Return the status and the verified answer."""
        answer = self.raw(method, path, json.dumps(body).encode() if body is not None else b"")
        self.verify(answer.headers, answer.content)
        told: dict[str, Any] = answer.json()
        return answer.status_code, told

    def verify(self, headers: Any, body: bytes) -> None:
        """Fail unless the platform signed this."""
        assert headers["wechatpay-serial"] == self.values["platform_serial"]
        text = f"{headers['wechatpay-timestamp']}\n{headers['wechatpay-nonce']}\n".encode() + body + b"\n"
        _verify(self.platform_key, text, headers["wechatpay-signature"])

    def pay(self, number: str, total: int, code: str, **more: Any) -> tuple[int, dict[str, Any]]:
        """Return the answer to an order."""
        return self.call("POST", "/v3/pay/transactions/codepay", self.order(number, total, code) | more)

    def order(self, number: str, total: int, code: str) -> dict[str, Any]:
        """Return the body of an order."""
        return {
            "appid": self.values["app_id"], "mchid": self.values["mch_id"], "description": "热水",
            "out_trade_no": number, "payer": {"auth_code": code}, "amount": {"total": total, "currency": "CNY"},
        }  # fmt: skip

    def query(self, number: str) -> tuple[int, dict[str, Any]]:
        """Return the answer to a question."""
        return self.call("GET", f"/v3/pay/transactions/out-trade-no/{number}?mchid={self.values['mch_id']}")

    def reverse(self, number: str) -> tuple[int, dict[str, Any]]:
        """Return the answer to a reverse."""
        body = {"appid": self.values["app_id"], "mchid": self.values["mch_id"]}
        return self.call("POST", f"/v3/pay/transactions/out-trade-no/{number}/reverse", body)

    def refund(self, number: str, refund_no: str, back: int, total: int, **more: Any) -> tuple[int, dict[str, Any]]:
        """Return the answer to a refund."""
        body = {"out_trade_no": number, "out_refund_no": refund_no}
        amount = {"refund": back, "total": total, "currency": "CNY"}
        return self.call("POST", "/v3/refund/domestic/refunds", body | {"amount": amount} | more)

    def opened(self, body: bytes) -> dict[str, Any]:
        """Return what a notification's resource says."""
        resource = json.loads(body)["resource"]
        sealed = base64.b64decode(resource["ciphertext"])
        nonce, associated = resource["nonce"].encode(), resource["associated_data"].encode()
        told: dict[str, Any] = json.loads(AESGCM(self.apiv3_key).decrypt(nonce, sealed, associated))
        return told


@dataclass
class Inbox:
    """A merchant's address for notifications. `answers` are given in turn, the last one for ever."""

    url: str = ""
    answers: list[tuple[int, bytes]] = field(default_factory=lambda: [(200, b"success")])
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    _more: threading.Condition = field(default_factory=threading.Condition)

    def take(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Keep a notification and return the answer to it."""
        with self._more:
            self.received.append((headers, body))
            self._more.notify_all()
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def wait_for(self, count: int) -> list[bytes]:
        """Return the bodies received once there are so many."""
        with self._more:
            assert self._more.wait_for(lambda: len(self.received) >= count, timeout=PATIENCE_S), len(self.received)
            return [body for _, body in self.received]


@contextmanager
def inbox(*answers: tuple[int, bytes]) -> Iterator[Inbox]:
    """Yield an address that answers notifications."""
    box = Inbox(answers=list(answers) or [(200, b"success")])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, said = box.take({name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(status)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    box.url = f"http://127.0.0.1:{server.server_port}/notify"
    try:
        yield box
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
