"""Writes the configuration file of a gateway: where its broker and lines are and whose commands it obeys."""

import json

from backend.bootstrap.plan import PlannedDevice, PlannedGateway


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)  # a JSON string is a TOML basic string


def gateway_toml(
    gateway: PlannedGateway,
    devices: list[PlannedDevice],
    *,
    tenant_id: str,
    state_dir: str,
    broker_host: str,
    broker_port: int,
    command_keys: dict[str, str],
) -> str:
    """Return the text of a gateway's configuration; `command_keys` maps a key's name to 32 bytes in base 64."""
    parts = [
        f"tenant = {_text(tenant_id)}",
        f"gateway = {_text(gateway.gateway_id)}",
        f"state_dir = {_text(state_dir)}",
        "",
        "[broker]",
        f"host = {_text(broker_host)}",
        f"port = {broker_port}",
        "",
        "[command_keys]",
        *(f"{_text(kid)} = {_text(key)}" for kid, key in command_keys.items()),
    ]
    for line in gateway.lines:
        parts += [
            "",
            "[[lines]]",
            f"line_id = {_text(line.line_id)}",
            f"transport = {_text(line.transport)}",
            f"host = {_text(line.host)}",
            f"port = {line.port}",
            f"timeout_ms = {line.timeout_ms}",
        ]
    for device in devices:
        if device.gateway_id == gateway.gateway_id:
            parts += [
                "",
                "[[devices]]",
                f"device_id = {_text(device.device_id)}",
                f"line_id = {_text(device.line_id)}",
                f"unit = {device.unit}",
                f"map_id = {_text(device.map_id)}",
                f"kind = {_text(device.kind)}",
            ]
    return "\n".join(parts) + "\n"
