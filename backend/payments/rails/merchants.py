"""
What a school is at each provider: one folder per tenant and method below the secrets, read when first needed.

`<secrets>/providers/<tenant>/<method>/merchant.toml` holds the names, the files beside it the keys. Keys live in
objects without a printable form.
"""

import logging
import re
import threading
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

_log = logging.getLogger(__name__)
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", re.ASCII)
_FIELD = re.compile(r"[!-~]{1,128}", re.ASCII)
_SERIAL = re.compile(r"[0-9A-F]{1,40}", re.ASCII)
_APIV3_KEY_BYTES = 32
_KEY_BITS_MIN = 2048

NOT_CONFIGURED = "method_not_configured"
MISCONFIGURED = "method_misconfigured"


class MerchantFileWrong(Exception):
    """A merchant's file cannot be used. The message names the file, the field where there is one, and the problem."""

    def __init__(self, file: Path, problem: str, *, field: str = "") -> None:
        super().__init__(f"{file}: {field}: {problem}" if field else f"{file}: {problem}")
        self.file = file
        self.field = field


@dataclass(frozen=True, slots=True, repr=False)
class UnionPayMerchant:
    """A school at UnionPay. With sign method 01 the keys are given, with 12 the shared secret."""

    url: str
    mer_id: str
    sign_method: str
    cert_id: str
    key: RSAPrivateKey | None
    provider_key: RSAPublicKey | None
    sm3_secret: bytes


@dataclass(frozen=True, slots=True, repr=False)
class AlipayMerchant:
    """A school at Alipay."""

    url: str
    app_id: str
    seller_id: str
    key: RSAPrivateKey
    provider_key: RSAPublicKey


@dataclass(frozen=True, slots=True, repr=False)
class WeChatMerchant:
    """A school at WeChat Pay. Serials are upper-case hexadecimal."""

    url: str
    mch_id: str
    app_id: str
    serial_no: str
    platform_serial: str
    key: RSAPrivateKey
    platform_key: RSAPublicKey
    apiv3_key: bytes


M = TypeVar("M", UnionPayMerchant, AlipayMerchant, WeChatMerchant)


class _Folder:
    """One merchant's folder, read with errors that say where."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.toml = path.joinpath("merchant.toml")
        try:
            self._fields: dict[str, Any] = tomllib.loads(self._read("merchant.toml").decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise MerchantFileWrong(self.toml, f"is not TOML in UTF-8: {error}") from error

    def field(self, name: str) -> str:
        value = self._fields.get(name)
        if not isinstance(value, str) or not _FIELD.fullmatch(value):
            raise MerchantFileWrong(self.toml, "must be a text of printable ASCII without spaces", field=name)
        return value

    def serial(self, name: str) -> str:
        value = self.field(name).upper().lstrip("0")
        if not _SERIAL.fullmatch(value):
            raise MerchantFileWrong(self.toml, "must be a certificate's serial in hexadecimal", field=name)
        return value

    def secret(self, name: str) -> bytes:
        value = self._read(name).strip()
        if not value:
            raise MerchantFileWrong(self.path.joinpath(name), "is empty")
        return value

    def private_key(self, name: str) -> RSAPrivateKey:
        try:
            key = load_pem_private_key(self._read(name), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise MerchantFileWrong(
                self.path.joinpath(name), "is not a private key in PEM, or has a password"
            ) from error
        if not isinstance(key, RSAPrivateKey) or key.key_size < _KEY_BITS_MIN:
            raise MerchantFileWrong(self.path.joinpath(name), f"must be an RSA key of at least {_KEY_BITS_MIN} bits")
        return key

    def public_key(self, name: str) -> RSAPublicKey:
        try:
            key = load_pem_public_key(self._read(name))
        except (ValueError, UnsupportedAlgorithm) as error:
            raise MerchantFileWrong(self.path.joinpath(name), "is not a public key in PEM") from error
        return self._checked(name, key)

    def certificate(self, name: str) -> tuple[int, RSAPublicKey]:
        try:
            certificate = x509.load_pem_x509_certificate(self._read(name))
            return certificate.serial_number, self._checked(name, certificate.public_key())
        except (ValueError, UnsupportedAlgorithm) as error:
            raise MerchantFileWrong(self.path.joinpath(name), "is not a certificate in PEM") from error

    def _checked(self, name: str, key: object) -> RSAPublicKey:
        if not isinstance(key, RSAPublicKey) or key.key_size < _KEY_BITS_MIN:
            raise MerchantFileWrong(self.path.joinpath(name), f"must be an RSA key of at least {_KEY_BITS_MIN} bits")
        return key

    def _read(self, name: str) -> bytes:
        try:
            return self.path.joinpath(name).read_bytes()
        except OSError as error:
            raise MerchantFileWrong(self.path.joinpath(name), f"cannot be read: {error.strerror}") from error


def load_unionpay(folder: Path) -> UnionPayMerchant:
    """
    Return the merchant a folder describes.

    :raises MerchantFileWrong: naming file and field.
    """
    read = _Folder(folder)
    sign_method = read.field("sign_method")
    if sign_method not in ("01", "12"):
        raise MerchantFileWrong(read.toml, 'must be "01" (RSA) or "12" (SM3)', field="sign_method")
    url, mer_id, cert_id = read.field("url"), read.field("mer_id"), read.field("cert_id")
    if sign_method == "12":
        return UnionPayMerchant(url, mer_id, sign_method, cert_id, None, None, read.secret("sm3.secret"))
    serial, public_key = read.certificate("merchant.cert.pem")
    if cert_id != str(serial):
        raise MerchantFileWrong(read.toml, "is not the decimal serial of merchant.cert.pem", field="cert_id")
    key = read.private_key("merchant.key.pem")
    if key.public_key() != public_key:
        raise MerchantFileWrong(folder.joinpath("merchant.key.pem"), "is not the key of merchant.cert.pem")
    _, provider_key = read.certificate("provider.cert.pem")
    return UnionPayMerchant(url, mer_id, sign_method, cert_id, key, provider_key, b"")


def load_alipay(folder: Path) -> AlipayMerchant:
    """
    Return the merchant a folder describes.

    :raises MerchantFileWrong: naming file and field.
    """
    read = _Folder(folder)
    return AlipayMerchant(
        url=read.field("url"),
        app_id=read.field("app_id"),
        seller_id=read.field("seller_id"),
        key=read.private_key("app.key.pem"),
        provider_key=read.public_key("provider.pub.pem"),
    )


def load_wechat(folder: Path) -> WeChatMerchant:
    """
    Return the merchant a folder describes.

    :raises MerchantFileWrong: naming file and field.
    """
    read = _Folder(folder)
    apiv3_key = read.secret("apiv3.key")
    if len(apiv3_key) != _APIV3_KEY_BYTES:
        raise MerchantFileWrong(folder.joinpath("apiv3.key"), f"must be {_APIV3_KEY_BYTES} characters")
    return WeChatMerchant(
        url=read.field("url"),
        mch_id=read.field("mch_id"),
        app_id=read.field("app_id"),
        serial_no=read.serial("serial_no"),
        platform_serial=read.serial("platform_serial"),
        key=read.private_key("merchant.key.pem"),
        platform_key=read.public_key("platform.pub.pem"),
        apiv3_key=apiv3_key,
    )


class Merchants(Generic[M]):
    """The merchants of one method, each loaded when it is first needed and kept. For any number of threads."""

    def __init__(self, method: str, secrets_dir: Path, load: Callable[[Path], M], *, provider_url: str = "") -> None:
        self._method = method
        self._folder = secrets_dir.joinpath("providers")
        self._load: Callable[[Path], M] = load
        self._url = f"{provider_url.rstrip('/')}/{method}" if provider_url else ""
        self._loaded: dict[str, M] = {}
        self._lock = threading.Lock()

    def find(self, tenant_id: str) -> M | str:
        """Return a school's merchant, or why it has none: `method_not_configured`, `method_misconfigured` (logged)."""
        with self._lock:
            if tenant_id in self._loaded:
                return self._loaded[tenant_id]
            if not _TENANT.fullmatch(tenant_id):
                return NOT_CONFIGURED
            folder = self._folder.joinpath(tenant_id, self._method)
            if not folder.is_dir():
                return NOT_CONFIGURED
            try:
                merchant = self._load(folder)
            except MerchantFileWrong as error:
                _log.error("payments by %s are off for %s: %s", self._method, tenant_id, error)
                return MISCONFIGURED
            self._loaded[tenant_id] = merchant
            return merchant

    def address(self, merchant: M, path: str) -> str:
        """Return the address of a path at the provider: below the one the configuration names, or the merchant's."""
        return (self._url or merchant.url.rstrip("/")) + path
