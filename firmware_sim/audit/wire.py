"""What passes between gateways and broker: whose it is, who signed it, and whether what was confirmed is kept."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.contract import topics
from gateway.contract.commands import Command
from gateway.contract.events import JournalRecord, WaterSessionEnded
from gateway.contract.messages import Acknowledged, CommandMessage, Decision, EventBatch, MeterSampled, TelemetryBatch
from gateway.contract.signing import SignatureRefused, Signed, decode, verify

if TYPE_CHECKING:
    from firmware_sim.scenarios.uplink import Passing

#: tenant, gateway, epoch
Journal = tuple[str, str, str]


@dataclass(slots=True)
class Heard:
    """What one message said, for whoever judges water and rows."""

    found: list[str] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    ends: list[WaterSessionEnded] = field(default_factory=list)
    acks: list[tuple[Journal, int]] = field(default_factory=list)
    samples: list[MeterSampled] = field(default_factory=list)


class Wire:
    """Follows the messages of all schools' gateways."""

    def __init__(self, keys: Mapping[str, Mapping[str, Ed25519PublicKey]], marks: Mapping[str, frozenset[str]]) -> None:
        """`keys` are each school's command keys; `marks` words that stand in nobody's messages but one school's."""
        self._keys = keys
        self._marks = marks
        #: the highest sequence that was on its way up
        self.told: dict[Journal, int] = {}

    def hear(self, passing: "Passing") -> Heard:
        """Return what a message says and what it breaks."""
        heard = Heard()
        if passing.what not in ("up", "down") or not passing.topic:
            return heard
        try:
            address = topics.parse(passing.topic)
        except topics.MalformedTopic:
            parts = passing.topic.split("/")
            address = topics.Address(*parts[2:6]) if len(parts) == 6 else topics.Address("", "", passing.what, "")
        if passing.client.removesuffix("-doctor") != f"ct-{address.tenant}-{address.gateway}":
            heard.found.append(f"tenants_apart: {passing.topic} passes on the connection of {passing.client}")
        heard.found += self._foreign(address.tenant, passing)
        try:
            self._read(address, passing.payload, heard)
        except SignatureRefused as refused:
            heard.found.append(f"nothing_lost: {passing.topic} carries what nobody can read: {refused}")
        return heard

    def _foreign(self, tenant: str, passing: "Passing") -> Iterator[str]:
        text = passing.payload.decode("utf-8", "replace")
        for other, marks in self._marks.items():
            if other != tenant:
                for mark in sorted(mark for mark in marks if mark in text):
                    yield f"tenants_apart: {passing.topic} speaks of {mark}, which is {other}'s"

    def _read(self, address: topics.Address, payload: bytes, heard: Heard) -> None:
        match address.direction, address.kind:
            case "down", "command":
                self._command(address, decode(payload, CommandMessage).signed, heard)
            case "down", "decision":
                decision = decode(payload, Decision)
                if decision.command is not None:
                    self._command(address, decision.command, heard)
            case "down", "ack":
                ack = decode(decode(payload, Signed).payload, Acknowledged)
                heard.acks.append(((address.tenant, address.gateway, ack.epoch), ack.acked_through))
            case "up", "telemetry":
                heard.samples += decode(payload, TelemetryBatch).samples
            case "up", "event":
                for signed in decode(payload, EventBatch).records:
                    self._record(address, decode(signed.payload, JournalRecord), heard)

    def _command(self, address: topics.Address, signed: Signed, heard: Heard) -> None:
        try:
            command = verify(signed, keys=dict(self._keys.get(address.tenant, {})), as_type=Command)
        except SignatureRefused:
            return  # a gateway refuses it as well; should a valve open from it, no grant is found
        if (command.tenant, command.gateway) != (address.tenant, address.gateway):
            heard.found.append(f"tenants_apart: {command.cmd_id} is for {command.tenant}, and went to {address.tenant}")
            return
        heard.commands.append(command)

    def _record(self, address: topics.Address, record: JournalRecord, heard: Heard) -> None:
        journal = (address.tenant, address.gateway, record.epoch)
        self.told[journal] = max(self.told.get(journal, 0), record.sequence)
        if isinstance(record.event, WaterSessionEnded) and record.event.evidence == "device_log":
            heard.ends.append(record.event)
