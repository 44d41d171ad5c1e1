"""
The certificate with which a gateway shows the broker who it is: made on the box, kept in one file with its key.

A new key waits in a file of its own until the answer to its request is here, so that a request whose answer was lost
can be made again for the same key.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from gateway.contract.provisioning import common_name

FOLDER = "broker"


class CertificateRefused(Exception):
    """A certificate cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Held:
    """A certificate and whose name it bears."""

    common_name: str
    not_before: datetime
    not_after: datetime
    serial: str

    def is_due(self, now: datetime) -> bool:
        """Return whether a third of its life or less is left, so that it should be renewed."""
        return now >= self.not_before + (self.not_after - self.not_before) * 2 / 3

    def left(self, now: datetime) -> timedelta:
        """Return how long it is still good; negative when it has run out."""
        return self.not_after - now


def identity_path(state_dir: Path) -> Path:
    """Return where certificate and key are kept."""
    return state_dir / FOLDER / "identity.pem"


def ca_path(state_dir: Path) -> Path:
    """Return where the broker's authority is kept."""
    return state_dir / FOLDER / "ca.pem"


def _pending_path(state_dir: Path) -> Path:
    return state_dir / FOLDER / "pending.key.pem"


def write(path: Path, data: bytes, *, is_secret: bool = False) -> None:
    """Write a file whole or not at all; a secret can be read by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600 if is_secret else 0o644)
    fresh.write_bytes(data)
    fresh.replace(path)


def _private(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("another kind of key")
    return key


def _pending_key(state_dir: Path) -> ec.EllipticCurvePrivateKey:
    """Return the key that waits for its certificate, making it when there is none."""
    path = _pending_path(state_dir)
    try:
        return _private(path.read_bytes())
    except (OSError, ValueError):
        key = ec.generate_private_key(ec.SECP256R1())
        write(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), is_secret=True)
        return key


def request_pem(state_dir: Path, tenant: str, gateway: str) -> str:
    """Return a certificate request for the key that waits; its private half never leaves the box."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name(tenant, gateway))])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(_pending_key(state_dir), hashes.SHA256())
    return csr.public_bytes(Encoding.PEM).decode()


def _spki(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise CertificateRefused("it is for another kind of key than ours")
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def install(state_dir: Path, tenant: str, gateway: str, *, certificate_pem: str, ca_pem: str) -> Held:
    """
    Keep a certificate that was given for the key that waits.

    :raises CertificateRefused: if it is for another key or name, or cannot be read.
    """
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
        x509.load_pem_x509_certificate(ca_pem.encode())
        pending = _private(_pending_path(state_dir).read_bytes())
    except FileNotFoundError as error:
        raise CertificateRefused("no request was made on this box: there is no key that waits for it") from error
    except ValueError as error:
        raise CertificateRefused(f"it cannot be read: {error}") from error
    if _spki(certificate.public_key()) != _spki(pending.public_key()):
        raise CertificateRefused("it is for another key than the one that waits here")
    held = _held(certificate)
    if held.common_name != common_name(tenant, gateway):
        raise CertificateRefused(f"it names {held.common_name!r}, not {common_name(tenant, gateway)!r}")
    key_pem = pending.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write(ca_path(state_dir), ca_pem.encode())
    write(identity_path(state_dir), key_pem + certificate_pem.encode(), is_secret=True)
    _pending_path(state_dir).unlink()
    return held


def _held(certificate: x509.Certificate) -> Held:
    names = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return Held(
        common_name=names[0] if names else "",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        serial=f"{certificate.serial_number:x}",
    )


def held(path: Path) -> Held:
    """
    Return the certificate in a file.

    :raises CertificateRefused: if there is none that can be read.
    """
    try:
        return _held(x509.load_pem_x509_certificate(path.read_bytes()))
    except OSError as error:
        raise CertificateRefused(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CertificateRefused(f"{path}: holds no certificate") from error
