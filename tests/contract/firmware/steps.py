"""What can happen to an outlet, as values that print as what makes them: the steps of a scenario."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from firmware_sim.codec import bytes_of, crc16
from firmware_sim.command_mac import command_mac
from hardware.points import load

MAP = load("chw.hwo1")
UNIT = 1
COMMIT = int(MAP.caps["commit_xor"])
DEVICE_UID = 0x4357_0000_0000_0001
#: of the units whose commands are sealed
KEY = bytes(range(7, 23))


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passes, with what was measured meanwhile; `inputs` are levels that differ from the usual ones."""

    ms: int
    #: pulses if the valve is driven open
    pulses: int = 0
    temp: int | None = 400
    #: pulses whatever the valve does
    leak: int = 0
    reverse: int = 0
    inputs: Mapping[str, int | bool | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame on the line, `ms` after what was before; `good` with a right checksum."""

    pdu: bytes
    unit: int = UNIT
    ms: int = 10
    good: bool = True

    def adu(self) -> bytes:
        """Return the bytes on the line."""
        body = bytes((self.unit,)) + self.pdu
        crc = crc16(body) ^ (0 if self.good else 0x0101)
        return body + crc.to_bytes(2, "little")


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The gateway acknowledges the log but for the last `but` records."""

    but: int = 0


@dataclass(frozen=True, slots=True)
class TakeMail:
    """The gateway takes the item that the mailbox shows."""


@dataclass(frozen=True, slots=True)
class Post:
    """Somebody holds something before the reader."""

    source: int
    uid: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class Press:
    """Somebody presses the stop button."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The power goes for `off_ms`; `warned` when the firmware notices its falling supply first."""

    off_ms: int
    warned: bool = False


@dataclass(frozen=True, slots=True)
class CutInSave:
    """The power will go in the n-th save from now: before it counts, or just after."""

    saves: int
    kept: bool


@dataclass(frozen=True, slots=True)
class Damage:
    """The power goes, and when it comes back nothing that was saved can be read."""


Step = Tick | Frame | Acknowledge | TakeMail | Post | Press | Cut | CutInSave | Damage


def read(function: int, address: int, count: int) -> bytes:
    """Return the request that reads bits or registers."""
    return struct.pack(">BHH", function, address, count)


def write(address: int, *words: int) -> bytes:
    """Return the FC16 request."""
    return struct.pack(">BHHB", 16, address, len(words), len(words) * 2) + bytes_of(words)


def write_one(address: int, word: int) -> bytes:
    """Return the FC06 request."""
    return struct.pack(">BHH", 6, address, word)


def write_read(at: int, words: list[int], address: int, count: int) -> bytes:
    """Return the FC23 request."""
    return struct.pack(">BHHHHB", 23, address, count, at, len(words), len(words) * 2) + bytes_of(words)


def long(value: int) -> tuple[int, int]:
    """Return the two words of a 32-bit number."""
    return value >> 16 & 0xFFFF, value & 0xFFFF


def command(opcode: str | int, *, token: int, **fields: int) -> list[int]:
    """Return the 19 registers of a command; fields are named as in the map, without `cmd_`."""
    number = MAP.code("opcode", opcode) if isinstance(opcode, str) else opcode
    values = {"token": token, "opcode": number, "commit": COMMIT ^ token, **fields}
    words: list[int] = []
    for point in MAP.block("cmd").points:
        value = values.get(point.name.removeprefix("cmd_"), 0) & (1 << 16 * point.words) - 1
        data = value.to_bytes(point.words * 2, "big")
        words += struct.unpack(f">{point.words}H", data)
    return words


def order(opcode: str | int, *, token: int, **fields: int) -> Frame:
    """Return the frame that sends a command and reads its result in one transaction."""
    return Frame(write_read(256, command(opcode, token=token, **fields), 288, 8))


def sealed(opcode: str, *, token: int, key: bytes = KEY, device_uid: int = DEVICE_UID, **fields: int) -> Frame:
    """Return the frame with a seal on it, or with a wrong one when key or device are others."""
    mac = command_mac(key, command(opcode, token=token, **fields), device_uid)
    return order(opcode, token=token, mac=mac, **fields)


def open_order(*, token: int, session: int, **changes: int) -> Frame:
    """Return an OPEN with generous limits."""
    usual = {"limit_volume": 10_000, "limit_time": 600, "lease": 60, "idle": 30, "token_tag": 99}
    return order("OPEN", token=token, session=session, **{**usual, **changes})
