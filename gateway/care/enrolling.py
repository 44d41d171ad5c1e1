"""Asks the backend for a certificate, over HTTP or through files that a person carries."""

import json
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.care import certificates
from gateway.care.certificates import CertificateRefused, Held
from gateway.contract.provisioning import EnrollAnswer, EnrollRequest
from gateway.contract.signing import Signed, public_from_text, public_text, sign
from gateway.kit import now_ms

TIMEOUT_S = 15.0
_ANSWER_BYTES_MAX = 100_000
_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


class EnrollmentFailed(Exception):
    """No certificate came; the message says why and what to do."""


def request(state_dir: Path, key: Ed25519PrivateKey, *, tenant: str, gateway: str, claim_code: str = "") -> Signed:
    """Return what to ask, signed by the key that signs the gateway's records."""
    asked = EnrollRequest(
        tenant=tenant,
        gateway=gateway,
        public_key=public_text(key.public_key()),
        csr_pem=certificates.request_pem(state_dir, tenant, gateway),
        claim_code=claim_code,
        at_ms=now_ms(),
    )
    return sign(asked, key=key, kid=gateway)


def check_url(url: str) -> str:
    """
    Return a backend's address without a slash at its end.

    :raises EnrollmentFailed: if it is none, or would carry a claim code over a network in clear.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as error:
        raise EnrollmentFailed(f"{url!r} is no address: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise EnrollmentFailed(f"{url!r} is no address; write for example https://campustap.example.edu")
    if parts.scheme == "http" and host not in _LOCAL:
        raise EnrollmentFailed(f"{url}: use https, or whoever listens gets the claim code")
    return url.rstrip("/")


def ask(url: str, signed: Signed, *, is_renewal: bool = False, timeout_s: float = TIMEOUT_S) -> EnrollAnswer:
    """
    Return the backend's answer.

    :raises EnrollmentFailed: if it refuses or cannot be reached.
    """
    address = f"{check_url(url)}/api/v1/gateways/{'renew' if is_renewal else 'enroll'}"
    headers = {"content-type": "application/json", "accept": "application/json"}
    asking = urllib.request.Request(address, msgspec.json.encode(signed), headers, method="POST")
    try:
        with urllib.request.urlopen(asking, timeout=timeout_s) as answer:
            raw = answer.read(_ANSWER_BYTES_MAX)
    except urllib.error.HTTPError as error:
        raise EnrollmentFailed(f"the backend refuses: {_words(error.read(_ANSWER_BYTES_MAX), error.code)}") from error
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise EnrollmentFailed(f"the backend at {url} cannot be reached: {reason}") from error
    return read_answer(raw)


def _words(raw: bytes, status: int) -> str:
    """Return what the backend said of a refusal."""
    try:
        said = json.loads(raw)
        why = said["details"].get("reason", "")
        return f"{said['message_en']} ({said['code']}{f': {why}' if why else ''})"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"status {status}"


def read_answer(raw: bytes) -> EnrollAnswer:
    """
    Return an answer that came over HTTP or as a file.

    :raises EnrollmentFailed: if it is none.
    """
    try:
        answer = msgspec.json.decode(raw, type=EnrollAnswer)
        for key in answer.command_keys.values():
            public_from_text(key)
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError) as error:
        raise EnrollmentFailed(f"the answer cannot be read: {error}") from error
    if not answer.command_keys:
        raise EnrollmentFailed("the answer names no key whose commands to obey")
    return answer


def install(state_dir: Path, answer: EnrollAnswer, *, tenant: str, gateway: str) -> Held:
    """
    Keep what the backend gave.

    :raises EnrollmentFailed: if it is not for this box.
    """
    if (answer.tenant, answer.gateway) != (tenant, gateway):
        raise EnrollmentFailed(f"the answer is for {answer.tenant}/{answer.gateway}, not for {tenant}/{gateway}")
    try:
        return certificates.install(
            state_dir, tenant, gateway, certificate_pem=answer.certificate_pem, ca_pem=answer.broker_ca_pem
        )
    except CertificateRefused as error:
        raise EnrollmentFailed(f"the certificate cannot be used: {error}") from error


def renew(state_dir: Path, key: Ed25519PrivateKey, *, url: str, tenant: str, gateway: str) -> Held:
    """
    Get and keep the next certificate.

    :raises EnrollmentFailed: if none came; the present one stays.
    """
    asked = request(state_dir, key, tenant=tenant, gateway=gateway)
    return install(state_dir, ask(url, asked, is_renewal=True), tenant=tenant, gateway=gateway)


def starting_toml(answer: EnrollAnswer, state_dir: Path, backend_url: str) -> str:
    """Return the beginning of a configuration file: all but lines and devices."""

    def text(value: str) -> str:
        return json.dumps(value, ensure_ascii=False)  # a JSON string is a TOML basic string

    lines = [
        f"tenant = {text(answer.tenant)}",
        f"gateway = {text(answer.gateway)}",
        f"state_dir = {text(str(state_dir))}",
        *([f"backend_url = {text(backend_url)}"] if backend_url else []),
        "metrics_port = 9464",
        "",
        "[broker]",
        f"host = {text(answer.broker_host)}",
        f"port = {answer.broker_port}",
        f"ca = {text(str(certificates.ca_path(state_dir)))}",
        f"cert = {text(str(certificates.identity_path(state_dir)))}",
        f"key = {text(str(certificates.identity_path(state_dir)))}",
        "",
        "[command_keys]",
        *(f"{text(kid)} = {text(key)}" for kid, key in answer.command_keys.items()),
        "",
        "# [[lines]]",
        '# line_id = "line-1"',
        '# transport = "serial"',
        '# path = "/dev/ttyUSB0"',
        "",
        "# [[devices]]",
        '# device_id = "dev_101"',
        '# line_id = "line-1"',
        "# unit = 1",
        '# map_id = "chw.hwo1"',
        '# kind = "outlet"',
    ]
    return "\n".join(lines) + "\n"
