"""What every device keeps through a power cut, as one JSON body."""

import json
from dataclasses import asdict, dataclass, field

from firmware_sim.event_log import EventLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a command led to; `pulses` is the low half of the register (or the passage count) at that moment."""

    token: int
    code: int
    detail: int
    subject_id: int
    pulses: int
    snap_seq: int


@dataclass(slots=True, kw_only=True)
class Kept:
    """Everything kept; the defaults are a new device's."""

    boot_id: int = 0
    log: EventLog = field(default_factory=EventLog)
    #: fault bits that a power cut does not heal
    latched: int = 0
    #: results of the last commands by token, oldest first
    results: dict[int, Result] = field(default_factory=dict)
    config: dict[str, int] = field(default_factory=dict)
    config_seq: int = 0
    #: what the device kind keeps, as JSON values
    own: dict[str, object] = field(default_factory=dict)


def pack(kept: Kept) -> bytes:
    """Return the body to save."""
    body = {
        "boot_id": kept.boot_id,
        "head": kept.log.head,
        "acked": kept.log.acked,
        "records": {str(seq): data.hex() for seq, data in kept.log.records.items()},
        "latched": kept.latched,
        "results": [asdict(result) for result in kept.results.values()],
        "config": kept.config,
        "config_seq": kept.config_seq,
        "own": kept.own,
    }
    return json.dumps(body, separators=(",", ":")).encode()


def unpack(body: bytes | None) -> Kept:
    """Return what a body keeps; None is a new device."""
    if body is None:
        return Kept()
    kept = json.loads(body)
    return Kept(
        boot_id=kept["boot_id"],
        log=EventLog(
            head=kept["head"],
            acked=kept["acked"],
            records={int(seq): bytes.fromhex(data) for seq, data in kept["records"].items()},
        ),
        latched=kept["latched"],
        results={fields["token"]: Result(**fields) for fields in kept["results"]},
        config=kept["config"],
        config_seq=kept["config_seq"],
        own=kept["own"],
    )
