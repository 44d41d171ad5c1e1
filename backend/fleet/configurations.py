"""Configurations gateways should have: stored with a version, sent signed until the gateway has heard of it."""

import tomllib
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from backend.errors import BackendError
from backend.fleet import births, enrollment_repository, service
from backend.kit.clock import epoch_ms
from gateway.contract.provisioning import CONFIGURATION_BYTES_MAX, CONFIRM_S_MAX, CONFIRM_S_MIN, ConfigurationDocument
from gateway.contract.signing import Signed, sign

#: A gateway that did not say it heard is told again after so long.
RESEND = timedelta(seconds=20)
LIFE = timedelta(seconds=60)
_DUE_MAX = 20


class ConfigurationRefused(BackendError):
    """The configuration cannot be meant for this gateway."""

    code = "configuration_refused"
    status = 422


@dataclass(frozen=True, slots=True)
class Configuration:
    """One version of what a gateway should have."""

    tenant_id: str
    gateway_id: str
    version: int
    toml: str
    confirm_s: int
    created_at: datetime


def desire(
    conn: Connection, tenant_id: str, gateway_id: str, toml: str, now: datetime, *, confirm_s: int = 60
) -> Configuration:
    """
    Store what a gateway should have from now on and return it with its version.

    Only what every configuration must have is checked here; the gateway checks the rest and says what it refuses.

    :raises GatewayUnknown: if there is no such gateway.
    :raises ConfigurationRefused: if the text is no TOML, too long, or for somebody else.
    """
    service.gateway(conn, tenant_id, gateway_id)
    try:
        said = tomllib.loads(toml)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationRefused(f"the configuration is not TOML: {error}", reason="toml") from error
    if (said.get("tenant"), said.get("gateway")) != (tenant_id, gateway_id):
        whose = f"{said.get('tenant')}/{said.get('gateway')}"
        raise ConfigurationRefused(f"the configuration is for {whose}, not for {tenant_id}/{gateway_id}", reason="for")
    if len(toml.encode()) > CONFIGURATION_BYTES_MAX:
        raise ConfigurationRefused(f"the configuration is longer than {CONFIGURATION_BYTES_MAX} bytes", reason="size")
    if not CONFIRM_S_MIN <= confirm_s <= CONFIRM_S_MAX:
        raise ConfigurationRefused(
            f"the time to come back healthy must be {CONFIRM_S_MIN} to {CONFIRM_S_MAX} s", reason="confirm"
        )
    enrollment_repository.lock_gateway(conn, tenant_id, gateway_id)
    latest = enrollment_repository.latest_version(conn, tenant_id, gateway_id)
    heard = births.care(conn, tenant_id, gateway_id).configuration_version
    made = Configuration(tenant_id, gateway_id, max(latest, heard) + 1, toml, confirm_s, now)
    values = {name: getattr(made, name) for name in Configuration.__slots__}
    enrollment_repository.insert_configuration(conn, values)
    return made


def desired(conn: Connection, tenant_id: str, gateway_id: str) -> Configuration | None:
    """Return what a gateway should have, or None when nobody ever said."""
    version = enrollment_repository.latest_version(conn, tenant_id, gateway_id)
    row = enrollment_repository.find_configuration(conn, tenant_id, gateway_id, version)
    return None if row is None else Configuration(**{name: row[name] for name in Configuration.__slots__})


def due(conn: Connection, now: datetime) -> list[Configuration]:
    """Return what connected gateways have not heard of and were not just sent."""
    rows = enrollment_repository.find_unsent(conn, sent_before=now - RESEND, limit=_DUE_MAX)
    return [Configuration(**{name: row[name] for name in Configuration.__slots__}) for row in rows]


def mark_sent(conn: Connection, sent: Configuration, now: datetime) -> None:
    """Note that a configuration was handed to the broker."""
    enrollment_repository.mark_configuration_sent(conn, sent.tenant_id, sent.gateway_id, sent.version, now)


def document(of: Configuration, signing: tuple[str, Ed25519PrivateKey], now: datetime) -> Signed:
    """Return a configuration as it travels, signed by the tenant's command key."""
    kid, key = signing
    return sign(
        ConfigurationDocument(
            tenant=of.tenant_id,
            gateway=of.gateway_id,
            version=of.version,
            issued_at_ms=epoch_ms(now),
            not_after_ms=epoch_ms(now + LIFE),
            toml=of.toml,
            confirm_s=of.confirm_s,
        ),
        key=key,
        kid=kid,
    )
