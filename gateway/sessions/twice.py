"""
A surprise is believed when it comes twice.

A serial answer says nothing of its question: one that comes once more after the next equal question looks like the
world of a moment ago. It comes once; what is really so is there the next time too.
"""


class Twice:
    """The last surprise of one kind of figure."""

    def __init__(self) -> None:
        self._surprise: int | None = None

    def believes(self, figure: int, *, is_surprise: bool) -> bool:
        """Return whether a figure is none, or was the same surprise the last time."""
        before, self._surprise = self._surprise, figure if is_surprise else None
        return not is_surprise or before == figure
