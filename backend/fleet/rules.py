"""Rules of the fleet slice: whether an outlet may be opened now, and which evidence is the newer."""

from datetime import datetime, timedelta

from backend.fleet.types import Device, Gateway
from gateway.contract.faults import BLOCKING

#: How far a gateway's clock may run ahead. A report from further ahead counts as from there, so that setting a clock
#: back does not make everything said after it old news.
CLOCK_AHEAD_MAX = timedelta(seconds=5)
#: Health is reported every 15 s; four missed reports and we no longer know.
HEALTH_AGE_MAX = timedelta(seconds=60)


def health_age(device: Device, now: datetime) -> timedelta | None:
    """Return how old the latest health report is, or None if there never was one."""
    reported_at = device.health_received_at or device.last_answer_at
    return None if reported_at is None else now - reported_at


def opening_obstacle(device: Device, gateway: Gateway, now: datetime) -> str | None:
    """
    Return why an outlet cannot be opened now: `outlet_offline`, `outlet_faulty`, or None when nothing is in the way.

    Offline comes first: of what we cannot reach, the faults we know are old news.
    """
    age = health_age(device, now)
    if not gateway.connected or age is None or age > HEALTH_AGE_MAX or device.state in ("silent", "unknown"):
        return "outlet_offline"
    if device.state != "online" or any(fault in BLOCKING for fault in device.faults):
        return "outlet_faulty"
    return None


def reported_at(at: datetime, now: datetime) -> datetime:
    """Return the time that orders a report among others: the gateway's own, unless it lies in the future."""
    return min(at, now + CLOCK_AHEAD_MAX)


def is_stale(*, reported_at: datetime, known_at: datetime | None) -> bool:
    """Return whether a report is older than what is already known, so that it must change nothing."""
    return known_at is not None and reported_at < known_at
