"""The clock of a device: a free-running counter and what the bus last said the time is."""

SYNCED_MS = 86_400_000
UNSET, FREE_RUNNING, SYNCHRONIZED = 0, 1, 2


class Clock:
    """Without a battery it is unset until the bus sets it."""

    def __init__(self, *, now_ms: int, unix_ms: int | None) -> None:
        self._offset_ms = None if unix_ms is None else unix_ms - now_ms
        self._set_at_ms: int | None = None

    def unix_ms(self, now_ms: int) -> int:
        """Return the time, milliseconds since 1970, 0 when unset."""
        return 0 if self._offset_ms is None else now_ms + self._offset_ms

    def quality(self, now_ms: int) -> int:
        """Return whether it is unset, runs freely, or was set within a day."""
        if self._offset_ms is None:
            return UNSET
        recent = self._set_at_ms is not None and now_ms - self._set_at_ms < SYNCED_MS
        return SYNCHRONIZED if recent else FREE_RUNNING

    def set(self, unix_ms: int, now_ms: int) -> int:
        """Set the time; return by how many whole seconds it stepped."""
        step_s = abs(unix_ms - self.unix_ms(now_ms)) // 1000
        self._offset_ms = unix_ms - now_ms
        self._set_at_ms = now_ms
        return step_s
