"""The clock of a device: a counter that is a little fast or slow, and what the bus last said the time is."""

SYNCED_MS = 86_400_000
#: how far apart two settings must be to say anything about the drift
DRIFT_MS_MIN = 3_600_000
DRIFT_PPM_MAX = 32_767
UNSET, FREE_RUNNING, SYNCHRONIZED = 0, 1, 2


class Clock:
    """Without a battery it is unset until the bus sets it. `ppm` is by how much its crystal is fast."""

    def __init__(self, *, now_ms: int, unix_ms: int | None, ppm: int = 0) -> None:
        self._unix_ms = unix_ms
        self._from_ms = now_ms
        self._ppm = ppm
        self._set_at_ms: int | None = None
        self._set_to_ms = 0
        #: how fast it found itself to be, parts per million, when it was last set
        self.drift_ppm = 0

    def unix_ms(self, now_ms: int) -> int:
        """Return the time, milliseconds since 1970, 0 when unset."""
        if self._unix_ms is None:
            return 0
        elapsed = now_ms - self._from_ms
        return self._unix_ms + elapsed + elapsed * self._ppm // 1_000_000

    def quality(self, now_ms: int) -> int:
        """Return whether it is unset, runs freely, or was set within a day."""
        if self._unix_ms is None:
            return UNSET
        recent = self._set_at_ms is not None and now_ms - self._set_at_ms < SYNCED_MS
        return SYNCHRONIZED if recent else FREE_RUNNING

    def set(self, unix_ms: int, now_ms: int) -> int:
        """Set the time; return by how many whole seconds it stepped."""
        own_ms = self.unix_ms(now_ms)
        true_ms = unix_ms - self._set_to_ms
        if self._set_at_ms is not None and true_ms >= DRIFT_MS_MIN:
            drift = (own_ms - unix_ms) * 1_000_000 // true_ms
            self.drift_ppm = max(-DRIFT_PPM_MAX, min(DRIFT_PPM_MAX, drift))
        self._unix_ms, self._from_ms = unix_ms, now_ms
        self._set_at_ms, self._set_to_ms = now_ms, unix_ms
        return abs(unix_ms - own_ms) // 1000

    def slip(self, ms: int) -> None:
        """Run ahead by so much, behind when negative, without anybody having set it."""
        if self._unix_ms is not None:
            self._unix_ms += ms

    def lose(self) -> None:
        """Forget the time."""
        self._unix_ms = self._set_at_ms = None
