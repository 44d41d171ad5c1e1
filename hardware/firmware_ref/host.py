"""
Drive the reference firmware's shared library: time, water, power and the bus are in the caller's hands.

Only what a real board has goes in and out: bytes on the line, measurements, FRAM cells, the valve's gate. `peek` looks
into the registers without a frame, so that a comparison does not disturb what it compares.
"""

import ctypes
from dataclasses import dataclass
from pathlib import Path

NO_TEMPERATURE = -32768
FRAM_BYTES = 8192
DEAD = -1
SENT_BYTES_MAX = 4096
#: the library's numbers of the register tables
TABLES = {"coil": 0, "discrete": 1, "holding": 2, "input": 3}
#: silence after a frame, more than 3.5 characters at every speed from 19200 baud up
SILENCE_US = 2_500


class PowerLost(Exception):
    """The supply failed while the firmware was writing, as `cut_at_write` or `cut_at_save` asked for."""


class Sample(ctypes.Structure):
    """What one tick measures; mirrors `struct hal_sample`."""

    _fields_ = (
        ("pulses", ctypes.c_uint32),
        ("reverse_pulses", ctypes.c_uint32),
        ("temp", ctypes.c_int16),
        ("temp_in", ctypes.c_int16),
        ("temp_mcu", ctypes.c_int16),
        ("supply_mv", ctypes.c_uint16),
        ("backup_mv", ctypes.c_uint16),
        ("flow_unplugged", ctypes.c_bool),
        ("lid_open", ctypes.c_bool),
        ("reader_silent", ctypes.c_bool),
        ("service_key", ctypes.c_bool),
        ("coil_open", ctypes.c_bool),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What is printed on the label of a unit."""

    model: str
    serial: str
    device_uid: int
    k_factor_pulses_per_m3: int
    unit: int = 1
    temp_in: bool = False
    #: 16 bytes with which command frames are sealed; empty when they need no seal
    mac_key: bytes = b""


def load(path: Path) -> ctypes.CDLL:
    """Return the library with the types of its functions declared."""
    library = ctypes.CDLL(str(path))
    handle, u8, u16, u32, u64 = ctypes.c_void_p, ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64
    sample = ctypes.POINTER(Sample)
    text, whole = ctypes.c_char_p, ctypes.c_int
    declared = {
        "new": (handle, (text, text, u64, u32, u8, whole, text)),
        "cmac": (None, (text, text, u16, ctypes.POINTER(u8))),
        "free": (None, (handle,)),
        "fram": (ctypes.POINTER(u8), (handle,)),
        "fram_writes": (u32, (handle,)),
        "saves": (u32, (handle,)),
        "valve": (whole, (handle,)),
        "cut_at_write": (None, (handle, u32, u16)),
        "cut_at_save": (None, (handle, u32, u16)),
        "power_up": (whole, (handle, sample, u64, u64)),
        "pull_the_plug": (None, (handle,)),
        "tick": (whole, (handle, u64, sample)),
        "feed": (whole, (handle, text, u16, u64)),
        "look": (whole, (handle, u64)),
        "take": (whole, (handle, ctypes.POINTER(u8))),
        "peek": (whole, (handle, whole, u16, u16, ctypes.POINTER(u16))),
        "post": (whole, (handle, u16, text, u16, text, u16)),
        "press_stop": (whole, (handle, u64)),
        "falling_supply": (whole, (handle, u64)),
    }
    for name, (result, arguments) in declared.items():
        function = getattr(library, f"host_{name}")
        function.restype, function.argtypes = result, arguments
    return library


def cmac(library: ctypes.CDLL, key: bytes, message: bytes) -> bytes:
    """Return the firmware's own AES-CMAC of a message."""
    mac = (ctypes.c_uint8 * 16)()
    library.host_cmac(key, message, len(message), mac)
    return bytes(mac)


class Firmware:
    """One unit. Every call that lets the firmware run raises PowerLost when the supply fails meanwhile."""

    def __init__(self, library: ctypes.CDLL, label: Label) -> None:
        self._library = library
        self._handle = library.host_new(
            label.model.encode(),
            label.serial.encode(),
            label.device_uid,
            label.k_factor_pulses_per_m3,
            label.unit,
            int(label.temp_in),
            label.mac_key or None,
        )
        self._sent = (ctypes.c_uint8 * SENT_BYTES_MAX)()
        self._words = (ctypes.c_uint16 * 2000)()

    def close(self) -> None:
        """Free the unit."""
        self._library.host_free(self._handle)
        self._handle = None

    def _run(self, name: str, *arguments: object) -> int:
        status: int = getattr(self._library, f"host_{name}")(self._handle, *arguments)
        if status == DEAD:
            raise PowerLost
        return status

    def power_up(self, now_ms: int, unix_ms: int | None, sample: Sample) -> None:
        """Give power; `unix_ms` is what a battery-backed clock says, None without one."""
        self._run("power_up", ctypes.byref(sample), now_ms, unix_ms or 0)

    def pull_the_plug(self) -> None:
        """Take the power away between two instructions that matter."""
        self._library.host_pull_the_plug(self._handle)

    def tick(self, now_ms: int, sample: Sample) -> None:
        """Let time pass up to `now_ms`, with what was measured meanwhile."""
        self._run("tick", now_ms, ctypes.byref(sample))

    def send(self, data: bytes, now_ms: int) -> bytes:
        """
        Put bytes on the line and return the answer of the unit, empty for silence.

        The firmware takes them to be over `SILENCE_US` before `now_ms` ends, so that it answers at exactly `now_ms`.
        """
        self._run("feed", data, len(data), now_ms * 1000 - SILENCE_US)
        return self.line(now_ms)

    def feed(self, data: bytes, now_us: int) -> None:
        """Put bytes on the line, all at one moment."""
        self._run("feed", data, len(data), now_us)

    def look(self, now_us: int) -> bytes:
        """Let the line's timers run up to `now_us`; return what was sent."""
        self._run("look", now_us)
        size = self._library.host_take(self._handle, self._sent)
        return bytes(self._sent[:size])

    def line(self, now_ms: int) -> bytes:
        """Let the frame on the line end at `now_ms`; return the answer without waiting for its turn-around time."""
        self._run("look", now_ms * 1000)
        return self.look(now_ms * 1000 + 150_000)

    def peek(self, table: str, address: int, count: int) -> list[int]:
        """Return registers without a frame; the range must exist."""
        status = self._run("peek", TABLES[table], address, count, self._words)
        assert status == 0, f"{table} {address}+{count}: exception {status}"
        return list(self._words[:count])

    def post(self, source: int, uid: bytes, payload: bytes) -> int:
        """Hold something before the reader; return its sequence, 0 when the reader is silent."""
        return self._run("post", source, uid, len(uid), payload, len(payload))

    def press_stop(self, now_ms: int) -> None:
        """Press the stop button."""
        self._run("press_stop", now_ms)

    def falling_supply(self, now_ms: int) -> None:
        """Let the firmware notice that its supply falls."""
        self._run("falling_supply", now_ms)

    def cut_at_write(self, writes: int, after_bytes: int) -> None:
        """Lose power in the n-th FRAM write from now, with only so many bytes of it in memory; 0 takes that back."""
        self._library.host_cut_at_write(self._handle, writes, after_bytes)

    def cut_at_save(self, saves: int, after_bytes: int) -> None:
        """Lose power in the n-th save of the state from now; 0 takes that back."""
        self._library.host_cut_at_save(self._handle, saves, after_bytes)

    @property
    def valve(self) -> bool:
        """Whether the valve is driven open."""
        return bool(self._library.host_valve(self._handle))

    @property
    def fram_writes(self) -> int:
        """How many FRAM writes there were."""
        return int(self._library.host_fram_writes(self._handle))

    @property
    def saves(self) -> int:
        """How many of them were saves of the state."""
        return int(self._library.host_saves(self._handle))

    @property
    def fram(self) -> memoryview:
        """The cells of the FRAM, writable."""
        cells = ctypes.cast(self._library.host_fram(self._handle), ctypes.POINTER(ctypes.c_uint8 * FRAM_BYTES))
        return memoryview(cells.contents).cast("B")
