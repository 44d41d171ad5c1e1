"""
What a gateway remembers across a restart, beside the journal and in the same transactions.

Sessions and passages are remembered until they are over; devices for good; command ids for a day.
"""

import re
import sqlite3

import msgspec

from gateway.uplink.verification import Remembered

COMMAND_MEMORY_MS = 24 * 3600 * 1000

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS devices (device_id TEXT PRIMARY KEY, body TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS sessions (water_session_id TEXT PRIMARY KEY, body TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS passages (passage_id TEXT PRIMARY KEY, body TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS commands (cmd_id TEXT PRIMARY KEY, sha256 TEXT NOT NULL, at_ms INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS room (one INTEGER PRIMARY KEY, filling BLOB NOT NULL)",
)


#: words of a damaged row that tell what it was about
_TRACES = (re.compile(rb'"type":"([a-z_]{1,40})"'), re.compile(rb'"(?:water_session_id|passage_id)":"(\w{1,64})"'))


def _traces(content: bytes) -> list[str]:
    """Return what a damaged row was about, as far as that can still be read."""
    return [found[1].decode("ascii", "replace") for trace in _TRACES if (found := trace.search(content))]


class DeviceMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a device."""

    device_id: str
    #: highest command sequence accepted or refused
    last_sequence: int = 0
    #: last event record of its log that has been journaled
    log_sequence: int = 0
    boot_id: int = 0
    register_pulses: int | None = None
    #: faults raised and not yet cleared
    faults: list[str] = []
    #: what has been said of faults that may have more than one cause; the gateway's own only
    told: list[str] = []


class SessionMemory(msgspec.Struct, frozen=True, kw_only=True):
    """A water session that is not over."""

    water_session_id: str
    device_id: str
    #: the id the device knows it by
    session_u32: int
    cmd_id: str
    #: a `gateway.sessions.machine.State`
    state: str
    volume_limit_ml: int
    duration_limit_s: int
    lease_s: int
    idle_limit_s: int
    temperature_limit_decidegc: int
    k_factor_pulses_per_m3: int
    #: by the gateway's clock, when the opening began
    begun_at_ms: int
    #: the register just before opening; what the settlement falls back on
    register_before_pulses: int
    #: the register at the opening, once read back or found in the log
    opening_pulses: int | None = None
    #: the device's own time of opening, in tenths of a second since 1970
    started_at_ds: int | None = None
    #: why we told it to close, when we did
    asked_stop: str | None = None
    #: the register when the device was last seen to count for this session, and when that was
    seen_pulses: int | None = None
    seen_at_ms: int | None = None
    #: where the register stood when somebody else began to use the outlet, as its log says
    foreign_from_pulses: int | None = None


class PassageMemory(msgspec.Struct, frozen=True, kw_only=True):
    """A grant at a door whose passage has not been seen yet."""

    passage_id: str
    device_id: str
    grant_u32: int
    direction: str
    granted_at_ms: int


class Memory:
    """Reads and writes what is remembered; every method runs inside the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def device(self, device_id: str) -> DeviceMemory:
        """Return what is remembered of a device; a fresh memory when there is none."""
        row = self._connection.execute("SELECT body FROM devices WHERE device_id = ?", (device_id,)).fetchone()
        return msgspec.json.decode(row[0], type=DeviceMemory) if row else DeviceMemory(device_id=device_id)

    def change_device(self, device_id: str, **changes: object) -> None:
        """Change some of what is remembered of a device, leaving the rest as the last transaction left it."""
        self.save_device(msgspec.structs.replace(self.device(device_id), **changes))

    def save_device(self, device: DeviceMemory) -> None:
        """Remember a device."""
        body = msgspec.json.encode(device).decode()
        self._connection.execute("INSERT OR REPLACE INTO devices VALUES (?, ?)", (device.device_id, body))

    def set_aside(self, *, since_ms: int) -> list[str]:
        """Return the damaged rows that were set aside since a time, by place, with what can still be read in them."""
        rows = self._connection.execute(
            "SELECT place, content FROM damaged WHERE at_ms >= ? ORDER BY number", (since_ms,)
        )
        return [" ".join([place, *_traces(content)]) for place, content in rows]

    def take_and_return(self, octets: int) -> None:
        """Take room in the file and give it back, which fails when the disk is full."""
        self._connection.execute("INSERT OR REPLACE INTO room VALUES (1, zeroblob(?))", (octets,))
        self._connection.execute("DELETE FROM room")

    def sessions(self) -> list[SessionMemory]:
        """Return all sessions that are not over."""
        rows = self._connection.execute("SELECT body FROM sessions ORDER BY water_session_id")
        return [msgspec.json.decode(row[0], type=SessionMemory) for row in rows]

    def save_session(self, session: SessionMemory) -> None:
        """Remember a session."""
        body = msgspec.json.encode(session).decode()
        self._connection.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?)", (session.water_session_id, body))

    def forget_session(self, water_session_id: str) -> None:
        """Forget a session that is over."""
        self._connection.execute("DELETE FROM sessions WHERE water_session_id = ?", (water_session_id,))

    def passages(self) -> list[PassageMemory]:
        """Return all grants whose passage has not been seen."""
        rows = self._connection.execute("SELECT body FROM passages ORDER BY passage_id")
        return [msgspec.json.decode(row[0], type=PassageMemory) for row in rows]

    def save_passage(self, passage: PassageMemory) -> None:
        """Remember a grant."""
        body = msgspec.json.encode(passage).decode()
        self._connection.execute("INSERT OR REPLACE INTO passages VALUES (?, ?)", (passage.passage_id, body))

    def forget_passage(self, passage_id: str) -> None:
        """Forget a grant whose passage was seen."""
        self._connection.execute("DELETE FROM passages WHERE passage_id = ?", (passage_id,))

    def remembered(self, cmd_id: str, sha256: str) -> Remembered:
        """Return whether a command with this id, and with these bytes, was dealt with before."""
        row = self._connection.execute("SELECT sha256 FROM commands WHERE cmd_id = ?", (cmd_id,)).fetchone()
        if row is None:
            return Remembered.NEW
        return Remembered.SAME if row[0] == sha256 else Remembered.DIFFERENT

    def remember_command(self, cmd_id: str, sha256: str, at_ms: int) -> None:
        """Remember that a command was dealt with, and forget those of the day before."""
        self._connection.execute("INSERT OR IGNORE INTO commands VALUES (?, ?, ?)", (cmd_id, sha256, at_ms))
        self._connection.execute("DELETE FROM commands WHERE at_ms < ?", (at_ms - COMMAND_MEMORY_MS,))
