"""Configuration from the environment, read once at start by `bootstrap`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class ConfigError(Exception):
    """A setting is missing or malformed; the message names it and says what to write."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the server processes are told from outside. Secrets live in files below `secrets_dir`."""

    database_url: str
    secrets_dir: Path
    broker_host: str
    broker_port: int
    public_url: str
    http_host: str
    http_port: int
    provider_url: str
    ingest_batch: int = 500
    outbox_poll_ms: int = 20
    #: folder with broker-ca.pem, server.cert.pem and server.key.pem, from `campustap broker files`; None is no TLS
    broker_tls: Path | None = None


def _int(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, str(default))
    try:
        return int(text)
    except ValueError as error:
        raise ConfigError(f"{name} must be a whole number, not {text!r}") from error


def load(env: Mapping[str, str] | None = None) -> Config:
    """
    Return the configuration that `CAMPUSTAP_*` variables describe.

    :raises ConfigError: naming the variable and what it should hold.
    """
    env = os.environ if env is None else env
    http_port = _int(env, "CAMPUSTAP_HTTP_PORT", 8080)
    return Config(
        database_url=env.get("CAMPUSTAP_DATABASE_URL", "sqlite:///var/campustap.db"),
        secrets_dir=Path(env.get("CAMPUSTAP_SECRETS_DIR", "var/secrets")),
        broker_host=env.get("CAMPUSTAP_BROKER_HOST", "127.0.0.1"),
        broker_port=_int(env, "CAMPUSTAP_BROKER_PORT", 1883),
        public_url=env.get("CAMPUSTAP_PUBLIC_URL", f"http://127.0.0.1:{http_port}"),
        http_host=env.get("CAMPUSTAP_HTTP_HOST", "127.0.0.1"),
        http_port=http_port,
        provider_url=env.get("CAMPUSTAP_PROVIDER_URL", ""),
        ingest_batch=_int(env, "CAMPUSTAP_INGEST_BATCH", 500),
        outbox_poll_ms=_int(env, "CAMPUSTAP_OUTBOX_POLL_MS", 20),
        broker_tls=Path(env["CAMPUSTAP_BROKER_TLS"]) if env.get("CAMPUSTAP_BROKER_TLS") else None,
    )
