"""
What a device feels besides water and bus: lids, plugs, keys, voltages. The world replaces the whole value:

    device.inputs = replace(device.inputs, tamper=True)

The device looks at it at its next tick. A value, so that a tick sees at once that nothing changed.
"""

from dataclasses import dataclass

SUPPLY_LOW_MV, SUPPLY_GOOD_MV = 20_400, 21_600
BACKUP_LOW_MV, BACKUP_GOOD_MV = 2_800, 3_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Levels, not events."""

    #: the lid is open
    tamper: bool = False
    #: the flow sensor of an outlet is unplugged
    sensor_unplugged: bool = False
    service_key: bool = False
    supply_mv: int = 24_000
    backup_mv: int = 3_300
    #: temperature before the mixer and of the board, tenths of a degree; None when not fitted or broken
    temp_in_decidegc: int | None = None
    temp_mcu_decidegc: int | None = 310
    #: the reader of an outlet, or the two of a door, answers
    reader_online: bool = True
    reader_b_online: bool = True
    #: the coil of the valve or of the lock has its resistance
    coil_ok: bool = True
    #: the leaf or arm of a door is out of its place
    door_open: bool = False
    #: the sensor that says so works
    door_sensor_ok: bool = True
    fire: bool = False


QUIET = Inputs()


def low(on: bool, *, value: int, low_below: int, good_from: int) -> bool:
    """Return whether a voltage counts as low, given whether it did: it needs more to be good than not to be low."""
    return value < (good_from if on else low_below)
