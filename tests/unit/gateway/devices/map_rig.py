"""Devices that no code knows: maps written by a test, devices made of them, and a line between them and a bus."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from firmware_sim.map_device import MapDevice, MapLine, MapLineServer
from gateway.config import Line
from gateway.devices.ports import Opening
from gateway.modbus.bus import Bus
from hardware.model import RegisterMap
from hardware.points import load_file

HEAD = """
schema = "campustap-regmap/1"
id = "{id}"
title = "{title}"
version = "1.0"
source = [{{ title = "written for a test" }}]
"""

_TOTAL = (
    '{ n = "total", t = "sum", combine = { int = "whole", frac = "part" }, unit_from = "unit", units = "volume", '
    'sf = "exponent", unit = "m3", role = "volume_total" },'
)

#: a prepaid valve meter: credit in tenths of a litre, low word first, valve by an enum, total as whole and fraction
CREDIT = (
    HEAD.format(id="acme.credit", title="Prepaid valve meter")
    + """
bus = { functions = [3, 6, 16], max_read = 20, gap = 4 }
order = { word = "little", byte = "big" }
caps = { deadman = "device_credit" }
match = { table = "holding", address = 0, words = [0xACE1, 7] }
enums.valve = { 0 = "CLOSED", 1 = "OPEN", 2 = "OPENING" }
bits.alarms = ["TAMPER", "LOW_SUPPLY"]
unit_codes.volume = { 0 = { unit = "m3" }, 1 = { unit = "L", factor = "1/1000" } }

[[blocks]]
id = "meter"
table = "holding"
at = 10
points = [
    { n = "whole", t = "u32" },
    { n = "part", t = "f32" },
    { n = "unit", t = "u16", default = 1 },
    { n = "exponent", t = "i16" },
    TOTAL
    { n = "flow", t = "u16", at = 18, scale = "1/100", unit = "L/min", nan = [65535, 65534], role = "flow" },
    { n = "alarms", t = "u16", bits = "alarms", role = "faults" },
]

[[blocks]]
id = "valve"
table = "holding"
at = 40
points = [
    { n = "state", t = "u16", enum = "valve", role = "valve_state" },
    { n = "command", t = "u16", off = 0, a = "w", fc = 6, enum = "valve", role = "valve_cmd" },
    { n = "credit", t = "u32", a = "rw", fc = 16, scale = "1/10", unit = "L", max = 20000, role = "credit_volume" },
]

[[vectors]]
point = "credit"
raw = "86A00001"
value = 10000

[[vectors]]
point = "total"
raw = "0400000000003F00"
given = { unit = 1, exponent = 0 }
value = 1.0245
""".replace("TOTAL", _TOTAL)
)

#: a relay with a pulse counter: opens for a time that a coil takes
ONE_SHOT = (
    HEAD.format(id="acme.pulse", title="Timed valve with counter")
    + """
bus = { functions = [1, 4, 5] }
order = { word = "big", byte = "big" }
caps = { deadman = "one_shot", pulse_ms_max = 30000, k_factor = "450" }

[[blocks]]
id = "valve"
table = "coil"
at = 0
points = [{ n = "valve", t = "bit", a = "rw", role = "valve_cmd" }]

[[blocks]]
id = "timed"
table = "coil"
at = 512
points = [{ n = "open_for", t = "u16", a = "w", fc = 5, scale = "1/10", unit = "s", role = "valve_pulse" }]

[[blocks]]
id = "count"
table = "input"
at = 0
points = [{ n = "count", t = "u32", unit = "pulse", role = "pulses_total" }]

[[vectors]]
point = "open_for"
raw = "0007"
value = 0.7

[[vectors]]
point = "count"
raw = "00010000"
value = 65536
"""
)

#: a controller that closes when nobody polls it; switch values 0x5500 and 0xAA00, counter of 16 bits in BCD
WATCHDOG = (
    HEAD.format(id="acme.watchdog", title="Polled valve with counter")
    + """
bus = { functions = [3, 16] }
order = { word = "big", byte = "little" }
caps = { deadman = "poll_watchdog", watchdog_ms = 5000 }

[[blocks]]
id = "all"
table = "holding"
at = 100
points = [
    { n = "valve", t = "u16", a = "rw", on_value = 0xAA00, off_value = 0x5500, role = "valve_cmd" },
    { n = "timer", t = "u16", a = "rw", unit = "ms", role = "watchdog" },
    { n = "safe", t = "u16", a = "rw", on_value = 1, off_value = 2, default = 1, role = "safe_state" },
    { n = "count", t = "bcd16", unit = "pulse", role = "pulses_total" },
    { n = "k", t = "u16", unit = "pulse/L", default = 450, role = "k_factor" },
    { n = "firmware", t = "u16", scale = "1/10", default = 12, role = "firmware" },
    { n = "temperature", t = "i16", scale = "1/10", unit = "degC", nan = -32768, fw_min = "1.3", role = "temp_out" },
]

[[vectors]]
point = "valve"
raw = "00AA"
value = 0xAA00

[[vectors]]
point = "count"
raw = "3412"
value = 1234
"""
)

#: a relay without any dead-man, and a card reader whose flag must be cleared
PLAIN = (
    HEAD.format(id="acme.plain", title="Plain relay with meter and reader")
    + """
bus = {}
order = { word = "big", byte = "big" }
caps = { deadman = "none", mailbox = "flag" }

[[blocks]]
id = "all"
table = "holding"
at = 0
points = [
    { n = "litres", t = "u32", unit = "L", role = "volume_total" },
    { n = "relay", t = "u16", a = "rw", role = "valve_cmd" },
    { n = "new_card", t = "u16", a = "rw", clear = 0, role = "card_new" },
    { n = "card", t = "raw", len = 4, role = "card_uid" },
]

[[vectors]]
point = "litres"
raw = "00000400"
value = 1024

[[vectors]]
point = "card"
raw = "A41E45C6"
value = "A41E45C6"
"""
)


def map_in(folder: Path, text: str) -> RegisterMap:
    """Drop a map into a folder, and load it."""
    name = next(line for line in text.splitlines() if line.startswith("id = ")).split('"')[1]
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return load_file(path)


class Hand:
    """A clock whose hand the test moves, in milliseconds since 1970."""

    def __init__(self) -> None:
        self.ms = 1_795_000_000_000

    def __call__(self) -> int:
        return self.ms


@asynccontextmanager
async def line_of(
    devices: dict[int, MapDevice], clock: Callable[[], int], *, rtu: bool = False, timeout_ms: int = 500
) -> AsyncIterator[Bus]:
    """Yield a bus to a line with devices; serial frames in TCP when `rtu`."""
    server = MapLineServer(MapLine(devices), now_ms=clock, rtu=rtu)
    port = await server.start("127.0.0.1", 0)
    transport = "rtu_tcp" if rtu else "tcp"
    bus = Bus(Line(line_id="l1", transport=transport, host="127.0.0.1", port=port, timeout_ms=timeout_ms))
    bus.start()
    try:
        yield bus
    finally:
        await bus.stop()
        await server.stop()


def opening(**changes: int) -> Opening:
    """Return what an outlet is told; ten litres, five minutes."""
    given = {
        "session_u32": 0xDEADBEEF,
        "volume_limit_ml": 10_000,
        "duration_limit_s": 300,
        "lease_s": 60,
        "idle_limit_s": 60,
        "temperature_limit_decidegc": 480,
        "token_tag": 7,
        "not_after_s": 0,
    }
    return Opening(**{**given, **changes})
