"""
Makes the keys and merchant files with which a school and the sandbox provider trust each other.

    python -m firmware_sim.sandbox_keys --secrets DIR --tenant T --url http://127.0.0.1:8090

The school's side goes to `DIR/providers/T/<method>/`, the provider's to `DIR/sandbox/`. What is there already is kept,
so it may run before every start, and twice at once.
"""

import argparse
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.x509.oid import NameOID

BRANDS = ("unionpay", "alipay", "wechat")
_KEY_BITS = 2048
_CERTIFICATE_DAYS = 3_650


def private_key() -> RSAPrivateKey:
    """Return a fresh RSA key."""
    return generate_private_key(public_exponent=65_537, key_size=_KEY_BITS)


def key_pem(key: RSAPrivateKey) -> bytes:
    """Return a private key as PKCS#8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem(key: RSAPrivateKey) -> bytes:
    """Return the public half of a key as PEM."""
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def certificate(key: RSAPrivateKey, name: str) -> x509.Certificate:
    """Return a self-signed certificate of a key."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_CERTIFICATE_DAYS))
        .sign(key, hashes.SHA256())
    )


def _certificate_pem(made: x509.Certificate) -> bytes:
    return made.public_bytes(serialization.Encoding.PEM)


def merchant_number(brand: str, tenant_id: str) -> str:
    """Return the number under which a brand knows a tenant as merchant; the same each time."""
    digits = str(int.from_bytes(hashlib.sha256(f"{brand}|{tenant_id}".encode()).digest()[:8], "big")).zfill(20)
    return {"unionpay": f"777{digits[-12:]}", "alipay": f"2021{digits[-12:]}", "wechat": f"16{digits[-8:]}"}[brand]


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    fresh.replace(path)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "making.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_provider(secrets_dir: Path) -> Path:
    """Return the folder with the provider's own keys, having made those that are missing."""
    folder = secrets_dir / "sandbox"
    with _alone(folder):
        _make_provider(folder)
    return folder


def _make_provider(folder: Path) -> None:
    for brand in BRANDS:
        last = folder / f"{brand}.pub.pem"
        if last.exists():
            continue
        key = private_key()
        made = certificate(key, f"sandbox {brand}")
        _write(folder / f"{brand}.key.pem", key_pem(key))
        _write(folder / f"{brand}.cert.pem", _certificate_pem(made))
        _write(folder / f"{brand}.serial", f"{made.serial_number:X}".encode())
        _write(last, public_pem(key))


def _toml(values: Mapping[str, str]) -> bytes:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()).encode()


def _unionpay(number: str, key: RSAPrivateKey, sandbox: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    made = certificate(key, f"merchant {number}")
    values = {"mer_id": number, "sign_method": "01", "cert_id": str(made.serial_number)}
    files = {
        "merchant.key.pem": key_pem(key),
        "merchant.cert.pem": _certificate_pem(made),
        "provider.cert.pem": (sandbox / "unionpay.cert.pem").read_bytes(),
        "sm3.secret": secrets.token_hex(16).encode(),
    }
    return values, files


def _alipay(number: str, key: RSAPrivateKey, sandbox: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    values = {"app_id": number, "seller_id": f"2088{number[-12:]}"}
    return values, {"app.key.pem": key_pem(key), "provider.pub.pem": (sandbox / "alipay.pub.pem").read_bytes()}


def _wechat(number: str, key: RSAPrivateKey, sandbox: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    made = certificate(key, f"merchant {number}")
    values = {
        "mch_id": number,
        "app_id": f"wx{hashlib.sha256(number.encode()).hexdigest()[:16]}",
        "serial_no": f"{made.serial_number:X}",
        "platform_serial": (sandbox / "wechat.serial").read_text(encoding="ascii"),
    }
    files = {
        "merchant.key.pem": key_pem(key),
        "platform.pub.pem": (sandbox / "wechat.pub.pem").read_bytes(),
        "apiv3.key": secrets.token_hex(16).encode(),
    }
    return values, files


_MAKERS = {"unionpay": _unionpay, "alipay": _alipay, "wechat": _wechat}


def make(secrets_dir: Path, tenant_id: str, url: str, *, keys: Mapping[str, RSAPrivateKey] | None = None) -> None:
    """
    Make what is missing between a tenant and the provider at a base address; only the address is ever renewed.

    `keys` gives private keys by brand to use instead of fresh ones, for those who make merchants by the dozen.
    """
    sandbox = secrets_dir / "sandbox"
    with _alone(sandbox):
        _make_provider(sandbox)
        for brand in BRANDS:
            number = merchant_number(brand, tenant_id)
            folder = secrets_dir / "providers" / tenant_id / brand
            last = sandbox / "merchants" / f"{brand}_{number}.json"
            if last.exists() and (folder / "merchant.toml").exists():
                _renew_address(folder / "merchant.toml", f"{url}/{brand}")
                continue
            key = keys[brand] if keys is not None else private_key()
            values, files = _MAKERS[brand](number, key, sandbox)
            for name, content in files.items():
                _write(folder / name, content)
            _write(folder / "merchant.toml", _toml({"url": f"{url}/{brand}", **values}))
            known: dict[str, Any] = {"tenant_id": tenant_id, "merchant_id": number, **values}
            known["public_key"] = public_pem(key).decode()
            known |= {name: files[name].decode() for name in ("sm3.secret", "apiv3.key") if name in files}
            _write(last, json.dumps(known, indent=1).encode())


def _renew_address(path: Path, url: str) -> None:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    renewed = "".join([f"url = {json.dumps(url)}\n", *(line for line in lines if not line.startswith("url "))])
    if renewed != "".join(lines):
        _write(path, renewed.encode())


def main(argv: Sequence[str] | None = None) -> int:
    """Make the files for each tenant named and return the exit status."""
    parser = argparse.ArgumentParser(prog="sandbox-keys", description="Keys between schools and the sandbox provider.")
    parser.add_argument("--secrets", type=Path, required=True, help="folder of secrets, the backend's")
    parser.add_argument("--tenant", action="append", required=True, help="a tenant's id; may be given several times")
    parser.add_argument("--url", required=True, help="where the sandbox provider listens, without a path")
    options = parser.parse_args(argv)
    for tenant_id in options.tenant:
        make(options.secrets, tenant_id, options.url.rstrip("/"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
