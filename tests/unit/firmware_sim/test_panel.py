"""What a person in front of an outlet sees and hears."""

import pytest

from tests.unit.firmware_sim.rig import Bench


@pytest.fixture
def bench() -> Bench:
    return Bench().ready()


def show(bench: Bench, text: str, ttl_s: int) -> None:
    data = text.encode().ljust(32, b"\0")
    bench.outlet.write("holding", 72, [*(data[i] << 8 | data[i + 1] for i in range(0, 32, 2)), ttl_s])


class TestPanel:
    def test_shows_a_text_for_as_long_as_told(self, bench: Bench) -> None:
        show(bench, "请扫码", 5)
        assert bench.outlet.panel().display == "请扫码"
        bench.run(4_950)
        assert bench.outlet.panel().display == "请扫码"
        bench.run(50)

        assert bench.outlet.panel().display == ""

    def test_shows_a_text_without_an_end_until_the_next(self, bench: Bench) -> None:
        show(bench, "one", 0)
        bench.run(60_000)
        assert bench.outlet.panel().display == "one"
        show(bench, "two", 1)

        assert bench.outlet.panel().display == "two"

    def test_sounds_for_a_while_unless_mute(self, bench: Bench) -> None:
        bench.write("buzzer", 3)
        assert bench.outlet.panel().buzzer
        bench.run(300)
        assert not bench.outlet.panel().buzzer
        bench.outlet.write("coil", 1, [1])
        bench.write("buzzer", 3)

        assert not bench.outlet.panel().buzzer

    def test_lamp_says_what_the_outlet_is_doing(self, bench: Bench) -> None:
        assert bench.outlet.panel().lamp == "green"
        bench.open()
        assert bench.outlet.panel().lamp == "blue"
        bench.command("PAUSE", session=7)
        assert bench.outlet.panel().lamp == "blue blinking"
        bench.outlet.force_fault("TAMPER", True)

        assert bench.outlet.panel().lamp == "red"

    def test_lamp_blinks_white_for_ten_seconds_to_be_found(self, bench: Bench) -> None:
        bench.command("IDENTIFY")
        assert bench.value("identify") == 1
        bench.run(9_950)
        assert bench.outlet.panel().lamp == "white blinking"
        bench.run(50)

        assert bench.outlet.panel().lamp == "green"
        assert bench.value("identify") == 0

    def test_lamp_obeys_a_pattern(self, bench: Bench) -> None:
        bench.write("led", 2)

        assert bench.outlet.panel().lamp == "pattern 2"
