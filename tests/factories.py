"""Values that many tests start from."""

from datetime import UTC, datetime

#: 20:00 in Shanghai on a Sunday evening in term.
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
