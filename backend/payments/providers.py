"""Builds the providers the configuration names."""

from collections.abc import Mapping
from pathlib import Path

from backend.payments.capabilities import EXTERNAL_METHODS
from backend.payments.port import Provider
from backend.payments.sandbox import SandboxProvider
from backend.tenants import keys


def build(provider_url: str, secrets_dir: Path, *, timeout_ms: int = 5_000) -> Mapping[str, Provider]:
    """Return a provider for each external method, all served by the sandbox at one address."""
    key = keys.secret(secrets_dir, "provider_hmac")
    return {
        method: SandboxProvider(method, url=provider_url, key=key, timeout_ms=timeout_ms) for method in EXTERNAL_METHODS
    }
