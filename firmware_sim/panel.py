"""What a person in front of a device sees and hears: what it is doing and what it was told to show."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from firmware_sim.device import Device

IDENTIFY_MS = 10_000
BUZZER_STEP_MS = 100

#: color of the lamp by state; a fault or an alarm is red whatever the state
_COLORS = {
    "BOOT": "off",
    "IDLE": "green",
    "ARMED": "blue",
    "DISPENSING": "blue",
    "PAUSED": "blue blinking",
    "CLOSING": "blue",
    "LOCKED": "green",
    "SERVICE": "yellow",
    "GRANTED_IN": "green",
    "GRANTED_OUT": "green",
    "FREE": "green blinking",
    "ALARM": "red blinking",
}
#: faults that say nothing to the person in front of it
_QUIET = ("LOG_FULL", "CLOCK_UNSET", "COMM_TIMEOUT", "LEASE_EXPIRED", "NO_FLOW", "LOW_SUPPLY", "FIRE_INPUT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One moment of the front."""

    display: str
    lamp: str
    buzzer: bool


def panel(device: "Device", now_ms: int) -> Panel:
    """Return what the front shows."""
    text, ttl_s = device.io.get("disp_text", b""), device.io.get("disp_ttl", 0)
    ttl_ms = ttl_s * 1000 if isinstance(ttl_s, int) else 0
    if ttl_ms and now_ms - device.display_at_ms >= ttl_ms:
        text = b""
    if isinstance(text, str):
        text = text.encode("latin-1")
    count = device.io.get("buzzer", 0)
    sounds = isinstance(count, int) and now_ms - device.buzzer_at_ms < count * BUZZER_STEP_MS
    return Panel(
        display=text.decode("utf-8", "replace") if isinstance(text, bytes) else "",
        lamp=_lamp(device),
        buzzer=sounds and not device.coils["mute"],
    )


def _lamp(device: "Device") -> str:
    if device.coils["identify"]:
        return "white blinking"
    pattern = device.io.get("led", 0)
    if isinstance(pattern, int) and pattern:
        return f"pattern {pattern}"
    loud = [name for name in device.fault_names() if name not in _QUIET]
    return "red" if loud and device.state != "ALARM" else _COLORS[device.state]
