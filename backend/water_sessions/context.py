"""What the use cases of sessions and their settlement are given once at start."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from backend.db import Database
from backend.kit.clock import Clock
from backend.payments.port import Provider
from backend.tenants import keys


@dataclass(frozen=True, slots=True)
class Context:
    """A database, a clock, the folder of secrets and the payment providers by name."""

    db: Database
    clock: Clock
    secrets_dir: Path
    providers: Mapping[str, Provider]

    def signing(self, tenant_id: str) -> tuple[str, Ed25519PrivateKey]:
        """Return the name and the private key that sign this tenant's commands."""
        return keys.command_key(self.secrets_dir, tenant_id)
