"""What a master hears of an exchange when something goes wrong."""

import pytest

from firmware_sim.framing import Frame, rtu, sum_holds, tcp
from firmware_sim.noise import LineNoise, Noise
from firmware_sim.wire import Heard, Wire

REQUEST = Frame(9, 3, bytes.fromhex("04 0064 001C"))
RESPONSE = bytes.fromhex("04 02 1234")


class Listener:
    """Units that count what they hear."""

    def __init__(self, *, is_rtu: bool, seed: str = "1") -> None:
        self.noise = LineNoise(seed=seed)
        self.bad = 0
        self.asked = 0
        self.wire = Wire(noise=self.noise, is_rtu=is_rtu, on_bad=self._on_bad)
        self.sound = rtu(3, RESPONSE) if is_rtu else tcp(9, 3, RESPONSE)

    def _on_bad(self) -> None:
        self.bad += 1

    def respond(self, unit_id: int, pdu: bytes) -> bytes | None:
        assert (unit_id, pdu) == (3, REQUEST.pdu)
        self.asked += 1
        return RESPONSE

    def ask(self, times: int = 1) -> list[Heard]:
        return [self.wire.exchange(REQUEST, self.respond) for _ in range(times)]


@pytest.fixture(params=[False, True], ids=["tcp", "rtu"])
def listener(request: pytest.FixtureRequest) -> Listener:
    return Listener(is_rtu=request.param)


class TestExchange:
    def test_is_sound_on_a_clean_line(self, listener: Listener) -> None:
        assert listener.ask() == [Heard(listener.sound)]

    def test_with_a_dead_unit_is_silent_and_does_nothing(self, listener: Listener) -> None:
        listener.noise.set(Noise(dead=True), 3)

        assert listener.ask() == [Heard(b"")]
        assert listener.asked == 0

    def test_with_a_lost_request_does_nothing(self, listener: Listener) -> None:
        listener.noise.set(Noise(lost_request=1.0))

        assert listener.ask() == [Heard(b"")]
        assert listener.asked == 0

    def test_with_a_lost_answer_is_done_all_the_same(self, listener: Listener) -> None:
        listener.noise.set(Noise(lost=1.0))

        assert listener.ask() == [Heard(b"")]
        assert listener.asked == 1

    def test_may_be_late_doubled_or_glued(self, listener: Listener) -> None:
        listener.noise.set(Noise(late=1.0, late_ms=250))
        assert listener.ask() == [Heard(listener.sound, 0.25)]
        listener.noise.set(Noise(duplicated=1.0))
        assert listener.ask() == [Heard(listener.sound * 2)]
        listener.noise.set(Noise(glued=1.0))
        assert listener.ask() == [Heard(listener.sound, glued=True)]

    def test_may_echo_the_request(self, listener: Listener) -> None:
        listener.noise.set(Noise(echoed=1.0))

        (heard,) = listener.ask()

        echo = rtu(3, REQUEST.pdu) if listener.sound[0] == 3 else tcp(9, 3, REQUEST.pdu)
        assert heard.data == echo + listener.sound

    def test_may_carry_another_address_with_a_right_sum(self, listener: Listener) -> None:
        listener.noise.set(Noise(wrong_unit=1.0))

        (heard,) = listener.ask()

        assert heard.data == (rtu(4, RESPONSE) if listener.sound[0] == 3 else tcp(9, 4, RESPONSE))

    def test_damage_never_reaches_the_master_of_a_bridge(self) -> None:
        listener = Listener(is_rtu=False)
        listener.noise.set(Noise(ber=0.01, truncated=0.1, babbling=0.1))

        heard = {each.data for each in listener.ask(500)}

        assert heard == {b"", listener.sound}

    def test_damage_on_a_serial_line_shows_in_the_sum(self) -> None:
        listener = Listener(is_rtu=True)
        listener.noise.set(Noise(ber=0.005))

        heard = [each.data for each in listener.ask(2_000)]

        damaged = [data for data in heard if data and data != listener.sound]
        assert damaged
        assert not any(sum_holds(data) for data in damaged)
        assert listener.bad > 0
        assert listener.asked + listener.bad == 2_000

    def test_is_cut_or_talked_into_on_a_serial_line(self) -> None:
        listener = Listener(is_rtu=True)
        listener.noise.set(Noise(truncated=1.0))
        assert all(0 < len(each.data) < len(listener.sound) for each in listener.ask(50))
        listener.noise.set(Noise(babbling=1.0), 77)  # somebody else talks
        listener.noise.set(Noise())

        assert all(each.data.endswith(listener.sound) and each.data != listener.sound for each in listener.ask(50))

    def test_repeats_itself_by_seed(self) -> None:
        def conversation(seed: str) -> list[Heard]:
            listener = Listener(is_rtu=True, seed=seed)
            listener.noise.set(Noise(ber=1e-3, lost=0.1, late=0.1, truncated=0.1, babbling=0.1, glued=0.1))
            return listener.ask(300)

        assert conversation("a") == conversation("a")
        assert conversation("a") != conversation("b")

    def test_of_everything_at_once_loses_the_share_it_should(self) -> None:
        listener = Listener(is_rtu=False)
        listener.noise.set(Noise(lost_request=0.1, lost=0.2))

        heard = sum(bool(each.data) for each in listener.ask(5_000))

        assert heard / 5_000 == pytest.approx(0.9 * 0.8, abs=0.03)
