"""
Devices of other makers as their documents say they behave: what a map cannot say about registers that move.

Meters count by the flow they are given and time that passes, whichever way it runs; what they show is worked out when
they are asked. What the documents do not say is a choice, and said to be one.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction

from firmware_sim.map_device import MapDevice
from firmware_sim.relays import Relays
from hardware.model import Point, RegisterMap

LITERS_TO_M3 = Fraction(1, 1_000_000)
ML_PER_S_TO_M3_PER_H = Fraction(3_600, 1_000_000)
#: warms a cubic meter of water by one kelvin, kilowatt-hours
KWH_PER_M3_K = 1.163
#: registers that say a unit; their codes are a choice, 3 and up
_SUPERCAL_UNITS = ("energy_unit", "volume_unit", "power_unit", "flow_unit", "temperature_unit", "difference_unit")


class Meter(MapDevice):
    """Something that measures what runs through it. Volumes are millilitres, temperatures degrees Celsius."""

    def __init__(self, register_map: RegisterMap, *, now_ms: int = 0, k_factor_pulses_per_m3: int = 0) -> None:
        self.forward_ml = Fraction(0)
        self.reverse_ml = Fraction(0)
        self.energy_kwh = 0.0
        self.temp_hot_degc = 40.0
        self.temp_cold_degc = 15.0
        super().__init__(register_map, now_ms=now_ms, k_factor_pulses_per_m3=k_factor_pulses_per_m3)
        self.show()

    def set_flow(self, ml_per_s: int, now_ms: int) -> None:
        """Let it run from now on, backwards when negative; what ran until now is counted first."""
        self.tick(now_ms)
        self.flow_ml_per_s = ml_per_s
        self.show()

    def _run(self, elapsed_ms: int) -> None:
        ran = Fraction(self.flow_ml_per_s * elapsed_ms, 1_000)
        if ran >= 0:
            self.forward_ml += ran
            self.energy_kwh += float(ran * LITERS_TO_M3) * (self.temp_hot_degc - self.temp_cold_degc) * KWH_PER_M3_K
        else:
            self.reverse_ml -= ran
        self.volume_ml = self.forward_ml
        self.show()

    @property
    def flow_m3_per_h(self) -> float:
        """Return the flow, negative backwards."""
        return float(self.flow_ml_per_s * ML_PER_S_TO_M3_PER_H)

    def show(self) -> None:
        """Put what is measured into the registers."""


class TufMeter(Meter):
    """TUF-2000: totals as a whole number and a rest, and the last 32 moments at which the supply came or went."""

    #: inner diameter of the pipe, a choice
    BORE_M = 0.015
    SOUND_M_PER_S = 1_482.0
    POWER_LOG_AT, POWER_LOG_ENTRIES, ENTRY_WORDS = 3_584, 32, 4

    def __init__(self, register_map: RegisterMap, *, now_ms: int = 0, k_factor_pulses_per_m3: int = 0) -> None:
        super().__init__(register_map, now_ms=now_ms, k_factor_pulses_per_m3=k_factor_pulses_per_m3)
        self.put("total_exponent", 3)  # the totals count whole cubic meters
        self.put("signal_quality", 95)
        for at in range(self.POWER_LOG_ENTRIES * self.ENTRY_WORDS):
            self._memory.setdefault(("holding", self.POWER_LOG_AT + at), 0)

    def show(self) -> None:
        """Put flow, speed, totals and temperatures into the registers."""
        area_m2 = math.pi / 4 * self.BORE_M**2
        self.put_float("flow", self.flow_m3_per_h)
        self.put_float("velocity", self.flow_m3_per_h / 3_600 / area_m2)
        self.put_float("sound_speed", self.SOUND_M_PER_S)
        self.put_float("temp_supply", self.temp_hot_degc)
        self.put_float("temp_return", self.temp_cold_degc)
        for name, ml in (("forward_total", self.forward_ml), ("reverse_total", self.reverse_ml)):
            self.set_value(self.map.points[name], ml * LITERS_TO_M3)

    def note_power(self, *, came: bool, at: datetime, error: int = 0) -> None:
        """Note that the supply came or went; the pointer then says where the next entry goes."""
        entry = self.raw("power_log_pointer")
        # entries come in pairs, the coming first: one that does not fit its place leaves it empty
        if entry % 2 != (0 if came else 1):
            entry = (entry + 1) % self.POWER_LOG_ENTRIES
        moment = at.astimezone(UTC)
        figures = (
            (moment.minute, moment.second),
            (moment.day, moment.hour),
            (moment.year % 100, moment.month),
        )
        start = self.POWER_LOG_AT + entry * self.ENTRY_WORDS
        for number, (high, low) in enumerate(figures):
            self._memory["holding", start + number] = int(f"{high:02d}{low:02d}", 16)
        self._memory["holding", start + 3] = error
        self.put("power_log_pointer", (entry + 1) % self.POWER_LOG_ENTRIES)


class SupercalMeter(Meter):
    """Supercal 531: each quantity with a register that says its unit. Which code means which unit is a choice."""

    def show(self) -> None:
        """Put energy, volume, power, flow and temperatures into the registers."""
        for code, name in enumerate(_SUPERCAL_UNITS, start=3):
            self.put(name, code)
        difference = self.temp_hot_degc - self.temp_cold_degc
        self.put_float("energy", self.energy_kwh)
        self.put_float("volume", float(self.forward_ml * LITERS_TO_M3))
        self.put_float("power", max(0.0, self.flow_m3_per_h) * difference * KWH_PER_M3_K)
        self.put_float("flow", self.flow_m3_per_h)
        self.put_float("temp_hot", self.temp_hot_degc)
        self.put_float("temp_cold", self.temp_cold_degc)
        self.put_float("temp_difference", difference)


class SharkyMeter(Meter):
    """Sharky 775: everything twice, as a whole number and as a float. Units, which nobody documents, are a choice."""

    def show(self) -> None:
        """Put every quantity into both of its registers."""
        difference = self.temp_hot_degc - self.temp_cold_degc
        quantities = {
            "energy": self.energy_kwh,
            "volume": float(self.forward_ml * LITERS_TO_M3),
            "power": max(0.0, self.flow_m3_per_h) * difference * KWH_PER_M3_K,
            "flow": max(0.0, self.flow_m3_per_h),
            "temp_supply": self.temp_hot_degc,
            "temp_return": self.temp_cold_degc,
            "temp_difference": difference,
        }
        for name, value in quantities.items():
            self.put(name, math.floor(value))
            self.put_float(f"{name}_float", value)


class SutoMeter(Meter):
    """SUTO S401: flow, two totals and the direction; both byte orders turned round."""

    def show(self) -> None:
        """Put flow, totals and direction into the registers; the unit of the totals, a setting, is liters here."""
        self.put_float("temperature", self.temp_hot_degc)
        self.put_float("flow", abs(self.flow_m3_per_h))
        self.put("consumption", int(self.forward_ml // 1_000) % (1 << 32))
        self.put("reverse_consumption", int(self.reverse_ml // 1_000) % (1 << 32))
        self.put("flow_direction", int(self.flow_ml_per_s < 0))


class PulseCounter(MapDevice):
    """WB-MCM8: eight inputs that count closings of a contact; a write to its register sets all counts to zero."""

    CHANNELS = 8

    def __init__(self, register_map: RegisterMap, *, now_ms: int = 0, k_factor_pulses_per_m3: int = 0) -> None:
        self._rates = [Fraction(0)] * self.CHANNELS
        self._counts = [Fraction(0)] * self.CHANNELS
        super().__init__(register_map, now_ms=now_ms, k_factor_pulses_per_m3=k_factor_pulses_per_m3)
        self.put("serial", 4_200_001)

    def set_rate(self, channel: int, per_s: Fraction, now_ms: int) -> None:
        """Let a contact close so often from now on; channels count from 1."""
        self.tick(now_ms)
        self._rates[channel - 1] = per_s
        self._show()

    def close_contact(self, channel: int, times: int, now_ms: int) -> None:
        """Let a contact close so many times now."""
        self.tick(now_ms)
        self._counts[channel - 1] += times
        self._show()

    def hold_contact(self, channel: int, closed: bool) -> None:
        """Show a contact closed or open."""
        self.put(f"input_{channel}", int(closed))

    def _run(self, elapsed_ms: int) -> None:
        for number, rate in enumerate(self._rates):
            self._counts[number] += rate * elapsed_ms / 1_000
        self._show()

    def _show(self) -> None:
        for number in range(self.CHANNELS):
            self.put(f"count_{number + 1}", int(self._counts[number]) % (1 << 32))
            self.put(f"frequency_{number + 1}", int(self._rates[number] * 65_536) % (1 << 32))

    def _obey(self, point: Point, words: Sequence[int]) -> None:
        if point.name == "reset_counts" and words[0]:
            self._counts = [Fraction(0)] * self.CHANNELS
            self._show()


class CardReader(MapDevice):
    """
    VRD-485: the number of the card in the field, as long as it is there; zero when there is none.

    A master may write zero to see whether the card is still there: it comes back with the next look at the field.
    """

    LOOK_MS = 250
    #: how long a hand holds a card there
    HELD_MS = 1_500

    def __init__(self, register_map: RegisterMap, *, now_ms: int = 0, k_factor_pulses_per_m3: int = 0) -> None:
        self._card = bytes(4)
        self._held_until_ms: int | None = None
        self._looks_at_ms: int | None = None
        super().__init__(register_map, now_ms=now_ms, k_factor_pulses_per_m3=k_factor_pulses_per_m3)

    def hold(self, uid: bytes) -> None:
        """Hold a card in the field; of a longer number the reader knows the last four bytes (a choice)."""
        self._card = uid[-4:].rjust(4, b"\0")
        self.put_bytes("card", self._card)

    def hold_for(self, uid: bytes, now_ms: int) -> None:
        """Hold a card in the field for as long as people do."""
        self.hold(uid)
        self._held_until_ms = now_ms + self.HELD_MS

    def take_away(self) -> None:
        """Take the card out of the field."""
        self.hold(b"")

    def tick(self, now_ms: int) -> None:
        """Look at the field again when it is time."""
        super().tick(now_ms)
        if self._held_until_ms is not None and now_ms >= self._held_until_ms:
            self._held_until_ms = None
            self.take_away()
        if self._looks_at_ms is not None and now_ms >= self._looks_at_ms:
            self._looks_at_ms = None
            self.put_bytes("card", self._card)

    def _obey(self, point: Point, words: Sequence[int]) -> None:
        if point.name == "card":
            self._looks_at_ms = self._now_ms + self.LOOK_MS


_KINDS: dict[str, type[MapDevice]] = {
    "tuf.tuf2000f": TufMeter,
    "sontex.supercal531": SupercalMeter,
    "diehl.sharky775": SharkyMeter,
    "suto.s401": SutoMeter,
    "wirenboard.wbmcm8": PulseCounter,
    "technotrade.vrd485": CardReader,
    "waveshare.relay8": Relays,
    "wirenboard.wbmr6": Relays,
}


def is_meter(register_map: RegisterMap) -> bool:
    """Return whether a map's device measures what runs through it, or counts a contact that does."""
    return issubclass(_KINDS.get(register_map.map_id, MapDevice), Meter | PulseCounter)


def device_of(register_map: RegisterMap, *, now_ms: int = 0, k_factor_pulses_per_m3: int = 0) -> MapDevice:
    """Return a device of a map, with its maker's behavior where that is known."""
    kind = _KINDS.get(register_map.map_id, MapDevice)
    return kind(register_map, now_ms=now_ms, k_factor_pulses_per_m3=k_factor_pulses_per_m3)
