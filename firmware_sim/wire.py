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

    def __init__(self, *, noise: LineNoise, is_rtu: bool, on_bad: Callable[[], None]) -> None:
        """`on_bad` is called when the units hear a frame whose sum is wrong."""
        self._noise = noise
        self._is_rtu = is_rtu
        self._on_bad = on_bad

    def exchange(self, frame: Frame, respond: Callable[[int, bytes], bytes | None]) -> Heard:
        """Carry a request to the units and what they say back."""
        noise, mishaps = self._noise.of(frame.unit_id), self._noise.mishaps(frame.unit_id)
        if noise.dead or mishaps.happens(noise.lost_request):
            return NOTHING
        request = rtu(frame.unit_id, frame.pdu)
        if mishaps.wrong_bits(len(request) * CHARACTER_BITS, noise.ber):
            self._on_bad()
            return NOTHING
        response = respond(frame.unit_id, frame.pdu)
        if response is None or mishaps.happens(noise.lost):
            return NOTHING
        data = self._on_the_way_back(frame, response, noise, mishaps)
        if data is None:
            return NOTHING
        if mishaps.happens(noise.duplicated):
            data += data
        if mishaps.happens(noise.echoed):
            data = (request if self._is_rtu else tcp(frame.transaction, frame.unit_id, frame.pdu)) + data
        late_s = noise.late_ms / 1000 if mishaps.happens(noise.late) else 0.0
        return Heard(data, late_s, mishaps.happens(noise.glued))

    def _on_the_way_back(self, frame: Frame, response: bytes, noise: Noise, mishaps: Mishaps) -> bytes | None:
        unit_id = frame.unit_id
        if mishaps.happens(noise.wrong_unit):
            unit_id = unit_id % 247 + 1
        sound = rtu(unit_id, response)
        wrong = mishaps.wrong_bits(len(sound) * CHARACTER_BITS, noise.ber)
        babble = b""
        if mishaps.happens(self._noise.babbling()):
            babble = mishaps.bytes(1 + mishaps.below(BABBLE_BYTES_MAX))
        cut = mishaps.below(len(sound) - 1) + 1 if mishaps.happens(noise.truncated) else None
        if not self._is_rtu:
            return None if wrong or babble or cut is not None else tcp(frame.transaction, unit_id, response)
        damaged = flipped(sound, wrong)
        if damaged is None:
            return None
        return babble + damaged[:cut]
