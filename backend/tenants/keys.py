"""Keys and secrets of the server, in files of mode 0600 below the secrets folder. They never reach the database."""

import re
import secrets
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.contract.signing import load_or_create_key

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")
_SECRET_BYTES = 32


def _path(secrets_dir: Path, name: str, suffix: str) -> Path:
    assert _NAME.fullmatch(name), f"{name!r} cannot name a secret"
    return secrets_dir / f"{name}.{suffix}"


@lru_cache(maxsize=256)
def _command_key(path: Path) -> Ed25519PrivateKey:
    return load_or_create_key(path)


def command_key(secrets_dir: Path, tenant_id: str) -> tuple[str, Ed25519PrivateKey]:
    """Return the name and the private key a tenant's commands are signed with, making the key at first use."""
    kid = f"{tenant_id}-1"
    return kid, _command_key(_path(secrets_dir, f"command-{kid}", "key"))


def _load_or_create_secret(path: Path) -> bytes:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
        fresh.touch(mode=0o600)
        fresh.write_bytes(secrets.token_bytes(_SECRET_BYTES))
        try:
            path.hardlink_to(fresh)  # the first of two starting processes wins; both then read the same secret
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    value = path.read_bytes()
    assert len(value) == _SECRET_BYTES, f"{path.name} is not {_SECRET_BYTES} bytes"
    return value


@lru_cache(maxsize=256)
def _secret(path: Path) -> bytes:
    return _load_or_create_secret(path)


def secret(secrets_dir: Path, name: str) -> bytes:
    """Return a named secret of 32 random bytes, making it at first use."""
    return _secret(_path(secrets_dir, name, "secret"))
