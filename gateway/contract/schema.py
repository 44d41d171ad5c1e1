"""
Generates the contract's JSON Schema and AsyncAPI 3 document from the message types.

`python -m gateway.contract.schema` writes both beside this module; a test proves them fresh.
"""

import json
from pathlib import Path
from typing import Any

import msgspec

from gateway.contract import CONTRACT_VERSION, commands, events, messages
from gateway.contract.signing import Signed
from gateway.contract.topics import DOWN_EXPIRY_S, Down, Up

_HERE = Path(__file__).parent
SCHEMA_PATH = _HERE / "campustap.schema.json"
ASYNCAPI_PATH = _HERE / "asyncapi.json"

#: What travels on each topic; the signed ones carry the second type inside.
CHANNELS: dict[Up | Down, tuple[type[msgspec.Struct], type[msgspec.Struct] | None, str]] = {
    Up.HELLO: (Signed, messages.Hello, "A gateway was born or reconnected."),
    Up.GONE: (messages.Gone, None, "Last will: the gateway's connection is lost."),
    Up.EVENT: (messages.EventBatch, events.JournalRecord, "Money-bearing events, journaled until acknowledged."),
    Up.TELEMETRY: (messages.TelemetryBatch, None, "Live samples; may be dropped, never billed."),
    Up.HEALTH: (Signed, messages.HealthReport, "Health of every device with evidence and age."),
    Up.PRESENT: (Signed, messages.CredentialPresented, "Request: someone tapped or showed a code (reply on decision)."),
    Down.COMMAND: (messages.CommandMessage, commands.Command, "Signed command for one device; never retained."),
    Down.ACK: (Signed, messages.Acknowledged, "The backend has committed journal records up to a sequence."),
    Down.DECISION: (messages.Decision, None, "Response to a presented credential."),
}


def _components() -> dict[str, Any]:
    types = [kind for outer, inner, _ in CHANNELS.values() for kind in (outer, inner) if kind is not None]
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    return dict(sorted(components.items()))


def json_schema() -> dict[str, Any]:
    """Return one JSON Schema (draft 2020-12) that defines every message and everything inside the signed ones."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"CampusTap contract {CONTRACT_VERSION}",
        "components": {"schemas": _components()},
    }


def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document: topics, who sends what, and the schemas."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    message_objects: dict[str, Any] = {}
    for kind, (outer, inner, summary) in CHANNELS.items():
        direction = "up" if isinstance(kind, Up) else "down"
        name = f"Signed{inner.__name__}" if outer is Signed and inner is not None else outer.__name__
        about = summary if inner is None else f"{summary} Each signed payload is a {inner.__name__}."
        message_objects[name] = {
            "name": name,
            "contentType": "application/json",
            "summary": about,
            "payload": {"$ref": f"#/components/schemas/{outer.__name__}"},
        }
        channels[kind.value] = {
            "address": f"ct/v1/{{tenant}}/{{gateway}}/{direction}/{kind.value}",
            "parameters": {
                "tenant": {"description": "The school."},
                "gateway": {"description": "The gateway; the broker pins it to its own prefix."},
            },
            "messages": {name: {"$ref": f"#/components/messages/{name}"}},
            "bindings": {"mqtt": {"bindingVersion": "0.2.0"}},
        }
        expiry = {"messageExpiryInterval": DOWN_EXPIRY_S} if direction == "down" else {}
        operations[f"{direction}_{kind.value}"] = {
            # from the backend's point of view
            "action": "receive" if direction == "up" else "send",
            "channel": {"$ref": f"#/channels/{kind.value}"},
            "messages": [{"$ref": f"#/channels/{kind.value}/messages/{name}"}],
            "bindings": {
                "mqtt": {"qos": 0 if kind is Up.TELEMETRY else 1, "retain": False, "bindingVersion": "0.2.0", **expiry}
            },
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "CampusTap gateway contract",
            "version": CONTRACT_VERSION,
            "description": "Commands go down, events come up, nothing else crosses. MQTT 5.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": message_objects, "schemas": _components()},
    }


def render(document: dict[str, Any]) -> str:
    """Return a document as the text that is committed."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write both documents."""
    SCHEMA_PATH.write_text(render(json_schema()), encoding="utf-8")
    ASYNCAPI_PATH.write_text(render(asyncapi()), encoding="utf-8")


if __name__ == "__main__":
    main()
