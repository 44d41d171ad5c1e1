"""
The authorities that sign certificates: one for each school's gateways, one for the broker and our own processes.

Key and certificate of an authority are one PEM file of mode 0600 below the secrets folder, made at first use. A
gateway's certificate names it as `tenant/gateway`, which is its account at the broker.
"""

import contextlib
import hashlib
import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from backend.errors import BackendError

GATEWAY_DAYS = 90
#: What our own clock and a gateway's may differ by.
_BACKDATED = timedelta(minutes=5)
_AUTHORITY_DAYS = 20 * 365
_SERVER_DAYS = 825
_CRL_DAYS = 30


class CsrRefused(BackendError):
    """The certificate request cannot be signed."""

    code = "csr_refused"
    status = 422


@dataclass(frozen=True, slots=True)
class Authority:
    """Who signs."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> str:
        """Return its certificate, for those who shall believe it."""
        return pem_of(self.certificate)


def pem_of(certificate: x509.Certificate) -> str:
    """Return a certificate as text."""
    return certificate.public_bytes(Encoding.PEM).decode()


def private_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """Return a private key as text, not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def serial_of(certificate: x509.Certificate) -> str:
    """Return a certificate's number in hexadecimal."""
    return f"{certificate.serial_number:x}"


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: str, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _new_authority(common_name: str, now: datetime) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(common_name, _name(common_name), key.public_key(), now, _AUTHORITY_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    return Authority(key, builder.sign(key, hashes.SHA256()))


def _read(path: Path) -> Authority:
    text = path.read_bytes()
    key = load_pem_private_key(text, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey), f"{path.name} holds another kind of key"
    return Authority(key, x509.load_pem_x509_certificate(text))


def _load_or_create(path: Path, common_name: str, now: datetime) -> Authority:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = _new_authority(common_name, now)
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
        fresh.touch(mode=0o600)
        fresh.write_text(private_pem(made.key) + made.pem, encoding="ascii")
        with contextlib.suppress(FileExistsError):  # the first of two wins; both then read the same one
            path.hardlink_to(fresh)
        fresh.unlink()
    return _read(path)


def device_authority(secrets_dir: Path, tenant_id: str, now: datetime) -> Authority:
    """Return the authority of a school's gateways, making it at first use."""
    return _load_or_create(secrets_dir / f"device-ca-{tenant_id}.pem", f"CampusTap devices {tenant_id}"[:64], now)


def broker_authority(secrets_dir: Path, now: datetime) -> Authority:
    """Return the authority of the broker and of our own processes, making it at first use."""
    return _load_or_create(secrets_dir / "broker-ca.pem", "CampusTap broker", now)


def key_digest(csr: x509.CertificateSigningRequest) -> str:
    """Return the digest of the public key a request is for."""
    raw = csr.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(raw).hexdigest()


def read_csr(pem: str, common_name: str) -> x509.CertificateSigningRequest:
    """
    Return a request that its own key signed, for the name that is due.

    :raises CsrRefused: if it cannot be read, names somebody else, or is not proven to come from the key's owner.
    """
    try:
        csr = x509.load_pem_x509_csr(pem.encode())
        key = csr.public_key()
        is_own = csr.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CsrRefused(f"the certificate request cannot be read: {error}", reason="unreadable") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CsrRefused("the certificate request is not for a P-256 key", reason="key_kind")
    if not is_own:
        raise CsrRefused("the certificate request is not signed by the key it is for", reason="signature")
    names = [str(each.value) for each in csr.subject]
    if names != [common_name]:
        raise CsrRefused(f"the certificate request names {names}, not {common_name!r}", reason="name")
    return csr


def sign_gateway(
    authority: Authority, csr: x509.CertificateSigningRequest, common_name: str, now: datetime
) -> x509.Certificate:
    """Return a certificate with which a gateway shows the broker who it is."""
    key = csr.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey), "checked when it was read"
    return _leaf(authority, common_name, key, now, GATEWAY_DAYS, ExtendedKeyUsageOID.CLIENT_AUTH)


def _leaf(
    authority: Authority,
    common_name: str,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    days: int,
    purpose: x509.ObjectIdentifier,
    names: Sequence[x509.GeneralName] = (),
) -> x509.Certificate:
    issuer = authority.certificate
    builder = _builder(common_name, issuer.subject, key, now, days)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    known_by = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known_by)
    builder = builder.add_extension(identifier, critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(authority.key, hashes.SHA256())


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def make_server(authority: Authority, hosts: Sequence[str], now: datetime) -> tuple[str, str]:
    """Return private key and certificate of a broker that is reached under these names or addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = [_general_name(host) for host in hosts]
    purpose = ExtendedKeyUsageOID.SERVER_AUTH
    made = _leaf(authority, hosts[0][:64], key.public_key(), now, _SERVER_DAYS, purpose, names)
    return private_pem(key), pem_of(made)


def make_client(authority: Authority, account: str, now: datetime) -> tuple[str, str]:
    """Return private key and certificate with which one of our own processes comes to the broker."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = _leaf(authority, account, key.public_key(), now, _SERVER_DAYS, ExtendedKeyUsageOID.CLIENT_AUTH)
    return private_pem(key), pem_of(made)


def revocation_list(authority: Authority, revoked: Sequence[tuple[str, datetime]], now: datetime) -> str:
    """Return the list of certificates an authority no longer stands for: (serial, since when)."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now - _BACKDATED)
        .next_update(now + timedelta(days=_CRL_DAYS))
    )
    for serial, at in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(int(serial, 16)).revocation_date(at).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
