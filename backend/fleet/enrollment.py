"""
How a gateway gets a certificate, keeps it, and loses it.

An operator makes a claim code for a gateway. The gateway makes its keys on the box, asks with the code and a
certificate request, and signs what it asks with the key that will sign its records. A code works once; asking again
with the same code for the same key gives the same certificate, because the first answer may have been lost.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.x509 import CertificateSigningRequest
from sqlalchemy import Connection, RowMapping

from backend.errors import BackendError, Forbidden
from backend.fleet import device_ca, enrollment_repository, service
from backend.fleet.device_ca import Authority
from backend.kit.clock import from_epoch_ms
from gateway.contract.provisioning import EnrollRequest, code_from, common_name, tidy_code
from gateway.contract.signing import SignatureRefused, Signed, decode, public_from_text, verify

CODE_HOURS = 24
CODE_HOURS_MAX = 7 * 24
#: A certificate is renewed when a third of its life is left; before that asking again changes nothing for the better.
_CLOCKS_APART_MAX = timedelta(minutes=10)
_CERTIFICATES_MAX = 1_000


class ClaimCodeRefused(Forbidden):
    """The claim code cannot be used."""

    code = "claim_code_refused"


class GatewayKeyRefused(Forbidden):
    """The request is not signed by the key this gateway is known by."""

    code = "gateway_key_refused"


class RequestTooOld(BackendError):
    """The request was made at another time than now; check the gateway's clock."""

    code = "enrollment_clock"
    status = 409


class NameTooLong(BackendError):
    """Tenant and gateway together are too long for a certificate."""

    code = "gateway_name_too_long"
    status = 422


@dataclass(frozen=True, slots=True)
class ClaimCode:
    """A code as it is shown once."""

    tenant_id: str
    gateway_id: str
    claim_code: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that was given to a gateway."""

    tenant_id: str
    serial: str
    gateway_id: str
    certificate_pem: str
    #: enrolled or renewed
    cause: str
    issued_at: datetime
    not_after: datetime
    revoked_at: datetime | None = None


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def _common_name(tenant_id: str, gateway_id: str) -> str:
    try:
        return common_name(tenant_id, gateway_id)
    except ValueError as error:
        raise NameTooLong(str(error)) from error


def claim_code(
    conn: Connection,
    tenant_id: str,
    gateway_id: str,
    now: datetime,
    *,
    hours: int = CODE_HOURS,
    allows_new_key: bool = False,
) -> ClaimCode:
    """
    Return a new claim code for a gateway, which works once and not for long.

    With `allows_new_key` the gateway may come with another key than the one it is known by: a box was replaced.

    :raises GatewayUnknown: if there is no such gateway.
    """
    assert 0 < hours <= CODE_HOURS_MAX, "a code does not live for ever"
    service.gateway(conn, tenant_id, gateway_id)
    _common_name(tenant_id, gateway_id)
    code = code_from(secrets.token_bytes(10))
    expires_at = now + timedelta(hours=hours)
    enrollment_repository.insert_code(
        conn,
        {
            "tenant_id": tenant_id,
            "code_sha256": _digest(tidy_code(code)),
            "gateway_id": gateway_id,
            "allows_new_key": allows_new_key,
            "created_at": now,
            "expires_at": expires_at,
        },
    )
    return ClaimCode(tenant_id, gateway_id, code, expires_at)


def _asked(signed: Signed) -> EnrollRequest:
    """Return what a gateway asks, if the key it names signed it."""
    try:
        asked = decode(signed.payload, EnrollRequest)
        key = public_from_text(asked.public_key)
        return verify(signed, keys={asked.gateway: key}, as_type=EnrollRequest)
    except (SignatureRefused, ValueError) as error:
        raise GatewayKeyRefused(f"the request is not signed by the key it names: {error}") from error


def _check_time(asked: EnrollRequest, now: datetime) -> None:
    limit_ms = _CLOCKS_APART_MAX // timedelta(milliseconds=1)
    apart_ms = (now - from_epoch_ms(0)) // timedelta(milliseconds=1) - asked.at_ms
    if abs(apart_ms) > limit_ms:
        raise RequestTooOld(f"the request is {apart_ms // 1000} s old; set the gateway's clock and ask again")


def _usable_code(conn: Connection, asked: EnrollRequest, key_sha256: str, now: datetime) -> RowMapping:
    try:
        code_sha256 = _digest(tidy_code(asked.claim_code))
    except ValueError as error:
        raise ClaimCodeRefused(str(error), reason="malformed") from error
    row = enrollment_repository.find_code(conn, asked.tenant, code_sha256)
    if row is None or row["gateway_id"] != asked.gateway:
        raise ClaimCodeRefused("no such claim code for this gateway", reason="unknown")
    if row["used_at"] is not None and row["used_for_sha256"] != key_sha256:
        raise ClaimCodeRefused("the claim code was used already, for another key; make a new one", reason="used")
    if now >= row["expires_at"]:
        raise ClaimCodeRefused("the claim code has expired; make a new one", reason="expired")
    return row


def enroll(conn: Connection, authority: Authority, signed: Signed, now: datetime) -> Certificate:
    """
    Give a gateway its first certificate, or another one after it was replaced, for a claim code.

    :raises ClaimCodeRefused: if the code is unknown, used for another key, or expired.
    :raises GatewayKeyRefused: if the request is not signed by the gateway's key.
    :raises CsrRefused: if the certificate request is not in order.
    """
    asked = _asked(signed)
    _check_time(asked, now)
    name = _common_name(asked.tenant, asked.gateway)
    csr = device_ca.read_csr(asked.csr_pem, name)
    used_for = _digest(device_ca.key_digest(csr) + asked.public_key)
    enrollment_repository.lock_gateway(conn, asked.tenant, asked.gateway)
    code = _usable_code(conn, asked, used_for, now)
    known = service.gateway(conn, asked.tenant, asked.gateway)
    if known.public_key not in ("", asked.public_key) and not code["allows_new_key"]:
        raise GatewayKeyRefused(
            f"{asked.gateway} is known by another key; if the box was replaced, make a claim code with --new-key"
        )
    if code["used_at"] is not None:
        there = enrollment_repository.find_certificate(conn, asked.tenant, code["serial"])
        assert there is not None, "a used code names its certificate"
        return _certificate(there)
    made = _issue(conn, authority, csr, asked, "enrolled", now)
    enrollment_repository.set_key(conn, asked.tenant, asked.gateway, asked.public_key)
    enrollment_repository.use_code(
        conn, asked.tenant, code["code_sha256"], used_for=used_for, serial=made.serial, now=now
    )
    return made


def renew(conn: Connection, authority: Authority, signed: Signed, now: datetime) -> Certificate:
    """
    Give an enrolled gateway its next certificate; its own key vouches for it.

    :raises GatewayKeyRefused: if the request is not signed by the key the gateway is known by, or it never enrolled,
        or its certificates were revoked.
    """
    asked = _asked(signed)
    _check_time(asked, now)
    known = service.gateway(conn, asked.tenant, asked.gateway)
    if not known.public_key or known.public_key != asked.public_key:
        raise GatewayKeyRefused(f"{asked.gateway} is known by another key")
    csr = device_ca.read_csr(asked.csr_pem, _common_name(asked.tenant, asked.gateway))
    enrollment_repository.lock_gateway(conn, asked.tenant, asked.gateway)
    latest = certificates(conn, asked.tenant, asked.gateway, limit=1)
    if not latest or latest[0].revoked_at is not None:
        raise GatewayKeyRefused(f"{asked.gateway} has no certificate to renew; it needs a claim code")
    return _issue(conn, authority, csr, asked, "renewed", now)


def _issue(
    conn: Connection,
    authority: Authority,
    csr: CertificateSigningRequest,
    asked: EnrollRequest,
    cause: str,
    now: datetime,
) -> Certificate:
    made = device_ca.sign_gateway(authority, csr, common_name(asked.tenant, asked.gateway), now)
    given = Certificate(
        tenant_id=asked.tenant,
        serial=device_ca.serial_of(made),
        gateway_id=asked.gateway,
        certificate_pem=device_ca.pem_of(made),
        cause=cause,
        issued_at=now,
        not_after=made.not_valid_after_utc,
    )
    enrollment_repository.insert_certificate(
        conn,
        {
            "tenant_id": given.tenant_id,
            "serial": given.serial,
            "gateway_id": given.gateway_id,
            "key_sha256": device_ca.key_digest(csr),
            "certificate_pem": given.certificate_pem,
            "cause": cause,
            "issued_at": now,
            "not_after": given.not_after,
        },
    )
    return given


def _certificate(row: RowMapping) -> Certificate:
    return Certificate(**{name: row[name] for name in Certificate.__slots__})


def certificates(
    conn: Connection, tenant_id: str, gateway_id: str | None = None, *, limit: int = _CERTIFICATES_MAX
) -> list[Certificate]:
    """Return the certificates given to a tenant's gateways, or one of them, the latest first."""
    rows = enrollment_repository.find_certificates(conn, tenant_id, gateway_id, limit)
    return [_certificate(row) for row in rows]


def revoke(conn: Connection, tenant_id: str, gateway_id: str, now: datetime) -> list[str]:
    """
    Revoke all good certificates of a gateway and return their serials; the broker hears of it by `revocation_list`.

    :raises GatewayUnknown: if there is no such gateway.
    """
    service.gateway(conn, tenant_id, gateway_id)
    return enrollment_repository.revoke(conn, tenant_id, gateway_id, now)


def revocation_list(conn: Connection, authority: Authority, tenant_id: str, now: datetime) -> str:
    """Return the list of a school's revoked certificates as the broker reads it."""
    rows = enrollment_repository.find_revoked(conn, tenant_id, now)
    return device_ca.revocation_list(authority, [(row["serial"], row["revoked_at"]) for row in rows], now)
