"""An overloaded feed is refused, in words that say what would do."""

import pytest

from hardware.power.__main__ import main
from hardware.power.budget import Feed, end_voltage_v, load_a, refusals


class TestEndVoltageV:
    @pytest.mark.parametrize(
        ("outlets", "open_at_once", "core_mm2", "expected_v"),
        [(8, 8, 0.75, 22.5), (16, 8, 0.75, 19.7), (16, 8, 1.5, 21.9), (32, 12, 2.5, 19.8), (1, 0, 0.75, 24.0)],
    )
    def test_is_that_of_the_farthest_outlet(
        self, outlets: int, open_at_once: int, core_mm2: float, expected_v: float
    ) -> None:
        assert round(end_voltage_v(Feed(outlets, open_at_once, core_mm2)), 1) == expected_v


class TestLoadA:
    def test_counts_every_outlet_and_every_open_valve(self) -> None:
        assert load_a(Feed(16, 8, 1.5)) == pytest.approx(2.64)


class TestRefusals:
    @pytest.mark.parametrize(
        ("feed", "words"),
        [
            (Feed(8, 8, 0.75), []),
            (Feed(16, 8, 1.5), []),
            (Feed(16, 8, 0.75), ["19.7 V", "1 mm² would do"]),
            (Feed(16, 8, 1.5, supply_w=60), ["2.50 A", "3.17 A", "76 W"]),
            (Feed(32, 12, 2.5), ["at most 16", "19.8 V", "4 mm² would do"]),
            (Feed(60, 60, 4.0, supply_w=1000), ["at most 16", "no usual core"]),
        ],
    )
    def test_say_why(self, feed: Feed, words: list[str]) -> None:
        said = " ".join(refusals(feed))

        assert bool(said) == bool(words)
        assert all(word in said for word in words)


class TestMain:
    @pytest.mark.parametrize(
        ("arguments", "status", "word"),
        [
            (["--outlets", "8", "--open", "8", "--core-mm2", "0.75"], 0, "ok"),
            (["--outlets", "16", "--open", "8", "--core-mm2", "0.75"], 1, "REFUSED: 19.7 V"),
            (["--outlets", "8", "--open", "9", "--core-mm2", "0.75"], 2, "impossible"),
            (["--outlets", "8", "--open", "8", "--core-mm2", "0"], 2, "positive"),
        ],
    )
    def test_accepts_refuses_and_explains(
        self, arguments: list[str], status: int, word: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(arguments) == status

        said = capsys.readouterr()
        assert word in said.out + said.err
