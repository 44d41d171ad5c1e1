"""What happens to one exchange between a master and the units of a line: time and mishaps."""

from collections.abc import Callable
from dataclasses import dataclass

from firmware_sim.framing import Frame, rtu, tcp
from firmware_sim.noise import BABBLE_BYTES_MAX, CHARACTER_BITS, LineNoise, Mishaps, Noise, flipped


@dataclass(frozen=True, slots=True)
class Heard:
    """What the master hears, and by how much later than it should."""

    data: bytes
    late_s: float = 0.0
    #: it comes in front of whatever the master hears next, not now
    glued: bool = False


NOTHING = Heard(b"")


class Wire:
    """
    One line's mishaps.

    On TCP there is a serial-to-network bridge between: it checks the sum of what it hears and passes on nothing else.
    There damage is silence.
    """

    def __init__(
        self,
        *,
        noise: LineNoise,
        is_rtu: bool,
        on_bad: Callable[[], None],
        on_mishap: Callable[[str, int], None] = lambda kind, unit_id: None,
    ) -> None:
        """`on_bad` is called when the units hear a frame whose sum is wrong, `on_mishap` with each kind and unit."""
        self._noise = noise
        self._is_rtu = is_rtu
        self._on_bad = on_bad
        self.on_mishap = on_mishap

    def exchange(self, frame: Frame, respond: Callable[[int, bytes], bytes | None]) -> Heard:
        """Carry a request to the units and what they say back."""
        noise, mishaps = self._noise.of(frame.unit_id), self._noise.mishaps(frame.unit_id)
        unit_id = frame.unit_id
        if noise.dead or self._happens("lost_request", noise.lost_request, mishaps, unit_id):
            return NOTHING
        request = rtu(unit_id, frame.pdu)
        if mishaps.wrong_bits(len(request) * CHARACTER_BITS, noise.ber):
            self.on_mishap("ber", unit_id)
            self._on_bad()
            return NOTHING
        response = respond(unit_id, frame.pdu)
        if response is None or self._happens("lost", noise.lost, mishaps, unit_id):
            return NOTHING
        data = self._on_the_way_back(frame, response, noise, mishaps)
        if data is None:
            return NOTHING
        if self._happens("duplicated", noise.duplicated, mishaps, unit_id):
            data += data
        if self._happens("echoed", noise.echoed, mishaps, unit_id):
            data = (request if self._is_rtu else tcp(frame.transaction, unit_id, frame.pdu)) + data
        late_s = noise.late_ms / 1000 if self._happens("late", noise.late, mishaps, unit_id) else 0.0
        return Heard(data, late_s, self._happens("glued", noise.glued, mishaps, unit_id))

    def _happens(self, kind: str, probability: float, mishaps: Mishaps, unit_id: int) -> bool:
        happens = mishaps.happens(probability)
        if happens:
            self.on_mishap(kind, unit_id)
        return happens

    def _on_the_way_back(self, frame: Frame, response: bytes, noise: Noise, mishaps: Mishaps) -> bytes | None:
        asked = unit_id = frame.unit_id
        if self._happens("wrong_unit", noise.wrong_unit, mishaps, asked):
            unit_id = unit_id % 247 + 1
        sound = rtu(unit_id, response)
        wrong = mishaps.wrong_bits(len(sound) * CHARACTER_BITS, noise.ber)
        if wrong:
            self.on_mishap("ber", asked)
        babble = b""
        if self._happens("babbling", self._noise.babbling(), mishaps, asked):
            babble = mishaps.bytes(1 + mishaps.below(BABBLE_BYTES_MAX))
        cut = None
        if self._happens("truncated", noise.truncated, mishaps, asked):
            cut = mishaps.below(len(sound) - 1) + 1
        if not self._is_rtu:
            return None if wrong or babble or cut is not None else tcp(frame.transaction, unit_id, response)
        damaged = flipped(sound, wrong)
        if damaged is None:
            return None
        return babble + damaged[:cut]
