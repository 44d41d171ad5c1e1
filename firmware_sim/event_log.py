"""
The event log ring of a device: records of 40 bytes, numbered from 1, kept until acknowledged.

Only acknowledged records are overwritten. The last eight places are reserved: a session start may not use them, faults
may use all but two, and the end of a session or a passage may use every one, so an end always finds room.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from firmware_sim.codec import crc16

CAPACITY = 128
RECORD_BYTES = 40
RECORD_WORDS = 20
RECORDS_PER_WINDOW = 6
RESERVED = 8
_BODY = struct.Struct(">IHHIHIIIQHh")

#: how many records may wait unacknowledged when a record of this type is appended; others leave RESERVED free
_ROOM = {
    "END": CAPACITY,
    "PASSAGE": CAPACITY,
    "GRANT_TIMEOUT": CAPACITY,
    "FORCED": CAPACITY - 2,
    "TAILGATE": CAPACITY - 2,
    "FAULT_SET": CAPACITY - 2,
    "FAULT_CLR": CAPACITY - 2,
    "UNBILLED_FLOW": CAPACITY - 2,
    "FIRE_FREE": CAPACITY - 2,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One log record; `subject_id` is the session or the grant, `count` its pulses or passages."""

    seq: int
    type: int
    boot_id: int
    unix_time: int
    quality: int
    deciseconds: int
    subject_id: int
    token_tag: int
    count: int
    total: int
    aux: int
    temp: int

    def pack(self) -> bytes:
        """Return the 40 bytes as the log window shows them."""
        body = _BODY.pack(
            self.seq,
            self.type,
            self.boot_id,
            self.unix_time,
            self.quality << 12 | self.deciseconds,
            self.subject_id,
            self.token_tag,
            self.count,
            self.total,
            self.aux,
            self.temp,
        )
        return body + crc16(body).to_bytes(2, "big")


def unpack(data: bytes) -> Record:
    """
    Return the record in 40 bytes.

    :raises ValueError: if the checksum does not hold.
    """
    if crc16(data[:-2]) != int.from_bytes(data[-2:], "big"):
        raise ValueError("log record with a wrong checksum")
    seq, type_, boot, unix, sub, subject, tag, count, total, aux, temp = _BODY.unpack(data[:-2])
    return Record(
        seq=seq,
        type=type_,
        boot_id=boot,
        unix_time=unix,
        quality=sub >> 12,
        deciseconds=sub & 0x0FFF,
        subject_id=subject,
        token_tag=tag,
        count=count,
        total=total,
        aux=aux,
        temp=temp,
    )


@dataclass(slots=True)
class EventLog:
    """The ring. `head` is the newest sequence, `acked` the highest acknowledged one; 0 means none yet."""

    head: int = 0
    acked: int = 0
    records: dict[int, bytes] = field(default_factory=dict)
    #: records that found no room; never an END
    dropped: int = 0

    @property
    def waiting(self) -> int:
        """Return how many records wait for an acknowledgement."""
        return self.head - self.acked

    def has_room(self, type_name: str) -> bool:
        """Return whether a record of that type may be appended now."""
        return self.waiting < _ROOM.get(type_name, CAPACITY - RESERVED)

    def append(self, type_name: str, make: Callable[[int], Record]) -> Record | None:
        """Append what `make` returns for the next sequence, or count it as dropped and return None."""
        if not self.has_room(type_name):
            assert type_name != "END", "the reserve must always leave room for an END"
            self.dropped += 1
            return None
        record = make(self.head + 1)
        self.head += 1
        self.records[self.head] = record.pack()
        self.records.pop(self.head - CAPACITY, None)
        return record

    def acknowledge(self, sequence: int) -> bool:
        """Acknowledge everything up to a sequence; older values change nothing. Return whether anything changed."""
        if sequence <= self.acked:
            return False
        self.acked = sequence
        return True

    def window(self, cursor: int) -> list[bytes]:
        """Return up to six records from `cursor`, or from the oldest kept one when that is newer."""
        oldest = max(1, self.head - CAPACITY + 1)
        first = max(cursor, oldest)
        return [self.records[seq] for seq in range(first, min(first + RECORDS_PER_WINDOW, self.head + 1))]
