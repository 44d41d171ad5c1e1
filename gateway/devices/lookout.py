"""
Units that answer on a line though nobody configured them: an outlet somebody wired up without telling us.

Every address from 1 to a little beyond the highest configured one is asked in turn, one short question at a time. A
unit is a stranger when it answers, with its identity, with nonsense or with a refusal, and no longer one when it has
missed two questions in a row. Nothing is ever written to it.
"""

from collections.abc import Callable, Collection, Sequence

from gateway.modbus.bus import Bus, Declined, NoAnswer
from gateway.modbus.codec import decode
from hardware.points import Block, Point, RegisterMap

BEYOND = 16
UNIT_MAX = 247
MISSES_MAX = 2


def addresses(configured: Collection[int]) -> tuple[int, ...]:
    """Return the unit addresses to ask, ascending, without the configured ones."""
    last = min(max(configured, default=0) + BEYOND, UNIT_MAX)
    return tuple(unit for unit in range(1, last + 1) if unit not in configured)


class Walk:
    """Whom to ask next on one line, and who has answered. Every second question goes to a known stranger."""

    def __init__(self, configured: Collection[int]) -> None:
        self._addresses = addresses(configured)
        self._at = self._turn = 0
        self._misses: dict[int, int] = {}
        #: what each stranger shows, by unit
        self.strangers: dict[int, str] = {}
        #: how often all addresses have been asked
        self.rounds = 0

    def next(self) -> int | None:
        """Return the unit to ask now, or None on a line that has no other address; the same until it was heard."""
        if not self._addresses:
            return None
        if self.strangers and self._turn % 2:
            known = sorted(self.strangers)
            return known[self._turn // 2 % len(known)]
        return self._addresses[self._at]

    def heard(self, identity: str | None) -> None:
        """Note what the unit that was asked showed, or with None that it did not answer, and go on to the next."""
        unit = self.next()
        assert unit is not None
        if not (self.strangers and self._turn % 2):
            self._at = (self._at + 1) % len(self._addresses)
            self.rounds += self._at == 0
        self._turn += 1
        if identity is not None:
            self._misses.pop(unit, None)
            self.strangers[unit] = identity
        elif unit in self.strangers:
            self._misses[unit] = self._misses.get(unit, 0) + 1
            if self._misses[unit] >= MISSES_MAX:
                del self.strangers[unit], self._misses[unit]


def shown_identity(words: Sequence[int], maps: Collection[RegisterMap]) -> str:
    """Return what the beginning of an identity block says, in the words of the map it fits, or its first registers."""
    for known in _with_profile(maps):
        block, match = _identity_block(known), known.match
        assert match is not None
        start = match.address - block.address
        if tuple(words[start : start + len(match.words)]) == match.words:
            said = [decode(point, words[_span(block, point)]) for point in _shown_points(block)]
            return "shows " + " ".join(text for text in said if isinstance(text, str))
    return "shows " + " ".join(f"{word:04X}" for word in words[:3])


def _with_profile(maps: Collection[RegisterMap]) -> list[RegisterMap]:
    """Return the maps of devices that say who they are where ours do; others cannot be told from their registers."""
    return [known for known in maps if known.match is not None and known.by_role("device_uid") is not None]


def _identity_block(known: RegisterMap) -> Block:
    return next(block for block in known.blocks if block.id == "id")


def _shown_points(block: Block) -> tuple[Point, Point]:
    return block.point("model"), block.point("serial")


def _span(block: Block, point: Point) -> slice:
    return slice(point.address - block.address, point.address - block.address + point.words)


async def ask(bus: Bus, unit: int, maps: Collection[RegisterMap], *, is_quiet: Callable[[], bool]) -> str | None:
    """
    Return what a unit shows, or None when it does not answer.

    :raises NotTried: if the line has something else to do.
    """
    blocks = [_identity_block(known) for known in _with_profile(maps)]
    count = max(_span(block, point).stop for block in blocks for point in _shown_points(block))
    try:
        words = await bus.look(unit, blocks[0].address, count, is_quiet=is_quiet)
    except NoAnswer:
        return None
    except Declined as error:
        return f"answers with {error}"
    return shown_identity(words, maps)
