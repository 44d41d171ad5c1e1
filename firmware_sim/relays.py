"""
Relay boards: switches, all at once, one-shots that end by themselves, and a watchdog that lets go when nobody polls.

The valve hangs on the first relay. One-shots and the watchdog are the two dead-man's handles that such boards have.
"""

from collections.abc import Sequence

from firmware_sim.map_device import MapDevice
from hardware.model import Point, RegisterMap
from hardware.vocabulary import TIME_MS

_RELAY, _PULSE, _ALL = "relay_", "pulse_", "all_relays"


class Relays(MapDevice):
    """A board of relays, as many as its map has."""

    def __init__(self, register_map: RegisterMap, *, now_ms: int = 0, k_factor_pulses_per_m3: int = 0) -> None:
        self._until_ms: dict[int, int] = {}
        super().__init__(register_map, now_ms=now_ms, k_factor_pulses_per_m3=k_factor_pulses_per_m3)

    @property
    def count(self) -> int:
        """Return how many relays there are."""
        return sum(name.startswith(_RELAY) for name in self.map.points)

    def is_on(self, number: int) -> bool:
        """Return whether a relay is on; they count from 1."""
        return bool(self.raw(f"{_RELAY}{number}"))

    def _obey(self, point: Point, words: Sequence[int]) -> None:
        if point.name == _ALL:
            for number in range(1, self.count + 1):
                self._switch(number, bool(words[0]))
        elif point.name.startswith(_RELAY):
            self._switch(int(point.name.removeprefix(_RELAY)), bool(words[0]))
        elif point.name.startswith(_PULSE):
            number = int(point.name.removeprefix(_PULSE))
            self._switch(number, words[0] > 0)
            self._until_ms[number] = self._now_ms + int(words[0] * point.scale * TIME_MS[point.unit])

    def _switch(self, number: int, on: bool) -> None:
        self._until_ms.pop(number, None)
        self.put(f"{_RELAY}{number}", int(on))
        if number == 1:
            self._move(on)

    def tick(self, now_ms: int) -> None:
        """Let time pass: one-shots end, and everything lets go when nobody has polled for too long."""
        if self.is_open and 1 in self._until_ms:
            self._closes_at_ms = self._until_ms[1]
        watchdog_at_ms = self._watchdog_ms()
        super().tick(now_ms)
        for number, until_ms in list(self._until_ms.items()):
            if now_ms >= until_ms:
                self._switch(number, False)
        if watchdog_at_ms is not None and now_ms >= watchdog_at_ms:
            for number in range(1, self.count + 1):
                self._switch(number, False)

    def lose_power(self, now_ms: int) -> None:
        """Let go of every relay."""
        super().lose_power(now_ms)
        for number in range(1, self.count + 1):
            self._switch(number, False)

    def _watchdog_ms(self) -> int | None:
        """Return when everything lets go unless somebody polls, None when nothing does."""
        timer = self.map.by_role("watchdog")
        if timer is None or not self.raw(timer.name):
            return None
        return self._heard_ms + int(self.value(timer.name) * TIME_MS[timer.unit])
