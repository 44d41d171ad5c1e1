"""The one place that asks what time it is. Rules take `now` as an argument."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    """Return the present as an aware UTC time."""
    return datetime.now(UTC)


def epoch_ms(moment: datetime) -> int:
    """Return an aware time as whole milliseconds since 1970, rounded down."""
    assert moment.tzinfo is not None, "times are aware"
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def from_epoch_ms(millis: int) -> datetime:
    """Return the aware UTC time of whole milliseconds since 1970."""
    return _EPOCH + timedelta(milliseconds=millis)
