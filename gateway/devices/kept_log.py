"""The log that a device of somebody else's does not have, kept for it as long as this process lives."""

from collections.abc import Callable

from gateway.devices.ports import LogPage, LogRecord

PAGE_RECORDS = 6
LOG_RECORDS_MAX = 256


class KeptLog:
    """Records with numbers that go on from start to start."""

    def __init__(self, clock: Callable[[], int], first_sequence: int) -> None:
        """`first_sequence` numbers the first record, above all earlier ones."""
        self._clock = clock
        self.head = self.acked = first_sequence - 1
        self._records: list[LogRecord] = []

    @property
    def last(self) -> LogRecord | None:
        """The newest record that tells of a session; None when there is none."""
        return next((record for record in reversed(self._records) if record.subject_u32), None)

    @property
    def is_pending(self) -> bool:
        """Whether there is something that nobody has fetched."""
        return self.head > self.acked

    def write(
        self, kind: str, label: str, *, subject_u32: int, session_pulses: int, total: int, temperature: int | None
    ) -> None:
        """Write a record down."""
        self.head += 1
        self._records.append(
            LogRecord(
                sequence=self.head,
                kind=kind,
                boot_id=0,
                time_ds=self._clock() // 100,
                subject_u32=subject_u32,
                session_pulses=session_pulses,
                total_pulses=total,
                label=label,
                temperature_decidegc=temperature,
                evidence="register_continuity",
            )
        )
        del self._records[:-LOG_RECORDS_MAX]

    def page(self, cursor: int) -> LogPage:
        """Return what was written down from a sequence on."""
        records = tuple(record for record in self._records if record.sequence >= cursor)[:PAGE_RECORDS]
        return LogPage(head=self.head, records=records, damaged=0, through=records[-1].sequence if records else 0)

    def acknowledge(self, through: int) -> None:
        """Forget records up to and including a sequence, all but the last of a session, which tells how it ended."""
        self.acked = max(self.acked, min(through, self.head))
        last = self.last
        self._records = [record for record in self._records if record.sequence > self.acked or record is last]
