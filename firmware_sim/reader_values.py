"""The points only a door has."""

from collections.abc import Mapping

from firmware_sim.allow_list import checksum
from firmware_sim.common_values import Getter
from firmware_sim.reader_state import ReaderState


def _allow_crc(reader: ReaderState) -> int:
    return checksum(reader.allow.loading_salt, reader.allow.loading)


READER_GETTERS: Mapping[str, Getter] = {
    "grant_id": lambda reader: reader.grant.grant_id if reader.grant else 0,
    "grant_left": ReaderState.grant_left_ms,
    "pass_in": lambda reader: reader.passages[1] & 0xFFFFFFFF,
    "pass_out": lambda reader: reader.passages[2] & 0xFFFFFFFF,
    "forced": lambda reader: reader.forced & 0xFFFF,
    "held_open": lambda reader: reader.held & 0xFFFF,
    "tailgate": lambda reader: reader.tailgates & 0xFFFF,
    "grants": lambda reader: reader.grants & 0xFFFFFFFF,
    "denials": lambda reader: reader.denials & 0xFFFFFFFF,
    "sensors": ReaderState.sensors,
    "unlocked": lambda reader: int(reader.grant is not None or reader.state == "FREE"),
    "door_open": lambda reader: int(reader.inputs.door_open),
    "forced_now": lambda reader: int(reader.state == "ALARM"),
    "granted": lambda reader: int(reader.grant is not None),
    "fire": lambda reader: int(reader.inputs.fire),
    "allow_count": lambda reader: len(reader.allow.loading),
    "allow_at": lambda reader: reader.allow.at,
    "allow_part": lambda reader: b"",
    "allow_crc": _allow_crc,
    "allow_salt": lambda reader: reader.allow.loading_salt,
    "allow_version": lambda reader: reader.allow.version,
}
