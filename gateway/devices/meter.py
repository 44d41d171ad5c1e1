"""
What a meter of somebody else's counts, as pulses and a K-factor.

A pulse counter gives pulses, and its K-factor is what the map or the device says. A meter that gives a volume gives one
pulse per millilitre. A register that starts over in the middle of a session counts on from where it was.
"""

from fractions import Fraction

from gateway.modbus.codec import CodecError, Value
from hardware.model import RegisterMap
from hardware.vocabulary import FLOW_ML_PER_MIN, TYPE_WORDS, VOLUME_ML

K_FACTOR_ML = 1_000_000


class Meter:
    """The meter of one device."""

    def __init__(self, register_map: RegisterMap) -> None:
        self.pulses = register_map.by_role("pulses_total")
        self.volume = None if self.pulses else register_map.by_role("volume_total")
        self._flow = register_map.by_role("flow")
        self._temperature = register_map.by_role("temp_out")
        self._k_factor = register_map.by_role("k_factor")
        self._stated_k_factor = register_map.k_factor_pulses_per_m3

    @property
    def names(self) -> list[str]:
        """Names of the points to read."""
        return self.names_for(frozenset({"meter", "temperature"}))

    def names_for(self, roles: frozenset[str]) -> list[str]:
        """Return the points to read of a device that is a meter, a thermometer, or both."""
        points = [self.pulses or self.volume, self._flow] if "meter" in roles else []
        points += [self._temperature] if "temperature" in roles else []
        return [point.name for point in points if point is not None and point.readable]

    @property
    def k_factor_name(self) -> str | None:
        """Name of the point with the K-factor, None when the device has none."""
        return self._k_factor.name if self._k_factor is not None else None

    def k_factor_pulses_per_m3(self, said: Value) -> int:
        """Return the K-factor, from what the device said where it says it; 0 when nobody knows it."""
        if self.volume is not None:
            return K_FACTOR_ML
        if self._k_factor is not None and isinstance(said, int | Fraction):
            return int(said * 1_000)
        return self._stated_k_factor if self.pulses is not None else 0

    def total(self, values: dict[str, Value]) -> int:
        """
        Return the register in pulses, rounded down; 0 where nothing is metered.

        :raises CodecError: if the device says it has no value: nobody is billed on a guess.
        """
        point = self.pulses or self.volume
        if point is None:
            return 0
        value = values[point.name]
        if not isinstance(value, int | Fraction) or value < 0:
            raise CodecError(f"{point.name} is {value!r}, which no meter can show")
        return int(value * (VOLUME_ML[point.unit] if self.volume is not None else 1) // 1)

    def flow_ml_per_min(self, values: dict[str, Value]) -> int | None:
        """Return the flow, None where the device does not say."""
        value = values.get(self._flow.name) if self._flow is not None else None
        if self._flow is None or not isinstance(value, int | Fraction):
            return None
        return max(0, int(value * FLOW_ML_PER_MIN[self._flow.unit] // 1))

    def temperature_decidegc(self, values: dict[str, Value]) -> int | None:
        """Return the temperature at the outlet, None where the device does not say."""
        value = values.get(self._temperature.name) if self._temperature is not None else None
        return int(value * 10 // 1) if isinstance(value, int | Fraction) else None

    def advance(self, before: int, now: int) -> int:
        """
        Return how many pulses a register moved.

        Lower than before is a register that started over, where it was near its end, else one that was set back: then
        nothing is counted that nobody saw run.
        """
        if now >= before:
            return now - before
        size = self._size()
        rolled_over = size is not None and before > size * 7 // 8 and now < size // 8
        return size - before + now if size is not None and rolled_over else 0

    def is_most(self, moved: int) -> bool:
        """Return whether so many pulses are most of what the register can hold; False when that is not known."""
        size = self._size()
        return size is not None and moved > size // 2

    def _size(self) -> int | None:
        """Return at how many pulses the register starts over; None when that is not known."""
        point = self.pulses or self.volume
        if point is None or point.type not in TYPE_WORDS or point.type[0] not in "ub" or point.needs:
            return None
        bits = 16 * point.words
        steps = 10 ** (bits // 4) if point.type.startswith("bcd") else 1 << bits
        return int(steps * point.scale * (VOLUME_ML[point.unit] if self.volume is not None else 1))
