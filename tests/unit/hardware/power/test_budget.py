"""An overloaded feed is refused, in words that say what would do."""

import pytest

from hardware.bom.check import FOLDER, read
from hardware.power.__main__ import main
from hardware.power.budget import (
    FUSE_A,
    READER_FUSE_A,
    SUPPLY_W,
    Feed,
    end_voltage_v,
    fused_a,
    load_a,
    reader_voltage_v,
    readers_a,
    refusals,
    supply_a,
)


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


class TestSupplyA:
    def test_counts_the_gateways_computer_and_the_readers_too(self) -> None:
        assert supply_a(Feed(16, 16, 1.5)) == pytest.approx(16 * 0.29 + 0.83)
        assert supply_a(Feed(16, 16, 1.5, readers=8)) == pytest.approx(16 * 0.29 + 0.83 + 8 * 0.15)


class TestFusedA:
    def test_does_not_count_the_readers_who_have_a_fuse_of_their_own(self) -> None:
        assert fused_a(Feed(16, 16, 1.5, readers=8)) == pytest.approx(16 * 0.29 + 0.83)
        assert readers_a(Feed(16, 16, 1.5, readers=8)) == pytest.approx(1.2)


class TestReaderVoltageV:
    @pytest.mark.parametrize(
        ("readers", "core_mm2", "expected_v"), [(0, 1.5, 24.0), (1, 1.5, 23.98), (8, 1.5, 23.37), (8, 0.25, 20.22)]
    )
    def test_is_that_of_the_farthest_reader(self, readers: int, core_mm2: float, expected_v: float) -> None:
        assert round(reader_voltage_v(Feed(1, 0, core_mm2, readers=readers)), 2) == expected_v


class TestTheListedSupply:
    def test_is_what_the_budget_reckons_with(self) -> None:
        listed = {ref: line.figures for line in read(FOLDER / "gateway_box.csv") for ref in line.refs}

        assert listed["PS1"]["current_max_a"] * 24 == SUPPLY_W
        assert listed["F2"]["current_max_a"] == FUSE_A
        assert listed["F3"]["current_max_a"] == READER_FUSE_A


class TestRefusals:
    @pytest.mark.parametrize(
        ("feed", "words"),
        [
            (Feed(8, 8, 0.75, fuse_a=5), []),
            (Feed(8, 8, 0.75), ["a core of 0.75 mm² carries 6 A", "the fuse of 8 A does not protect it"]),
            (Feed(1, 1, 0.05), ["carries 0 A"]),
            (Feed(2, 2, 1.4, fuse_a=12), ["a core of 1.4 mm² carries 10 A"]),
            (Feed(4, 4, 1.5, fuse_a=100), ["carries 15 A", "the fuse of 100 A does not protect it"]),
            (Feed(2, 2, 0.25, fuse_a=2.5, gateway_a=0, readers=1), ["the readers' fuse of 2 A does not protect it"]),
            (Feed(16, 8, 1.5), []),
            (Feed(16, 16, 1.5), []),
            (Feed(16, 16, 1.5, supply_w=92), ["3.83 A", "5.47 A", "158 W"]),
            (Feed(16, 16, 1.5, fuse_a=4), ["5.47 A is over 70% of the fuse, 4 A"]),
            (Feed(16, 8, 0.75), ["19.7 V", "1 mm² would do"]),
            (Feed(16, 8, 1.5, supply_w=60), ["2.50 A", "4.16 A", "100 W"]),
            (Feed(32, 12, 2.5), ["at most 16", "19.8 V", "4 mm² would do"]),
            (Feed(16, 16, 1.5, readers=8), []),
            (Feed(16, 16, 1.5, readers=9), ["9 readers", "at most 8"]),
            (Feed(1, 1, 1.5, readers=10), ["1.50 A is over 70% of the readers' fuse, 2 A"]),
            (Feed(1, 1, 0.25, readers=8), ["20.2 V at the farthest reader"]),
            (Feed(16, 16, 1.5, readers=8, supply_w=168), ["7.00 A", "6.67 A", "192 W"]),
            (Feed(60, 60, 4.0, supply_w=1000, fuse_a=40), ["at most 16", "no usual core"]),
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
            (["--outlets", "8", "--open", "8", "--core-mm2", "0.75", "--fuse-a", "5"], 0, "ok"),
            (["--outlets", "8", "--open", "8", "--core-mm2", "0.75"], 1, "the fuse of 8 A does not protect it"),
            (["--outlets", "16", "--open", "8", "--core-mm2", "0.75"], 1, "REFUSED: 19.7 V"),
            (["--outlets", "16", "--core-mm2", "1.5"], 0, "16 open"),
            (["--outlets", "16", "--core-mm2", "1.5", "--fuse-a", "4"], 1, "REFUSED: 5.47 A is over 70%"),
            (["--outlets", "16", "--core-mm2", "nan"], 2, "finite"),
            (["--outlets", "16", "--core-mm2", "inf"], 2, "finite"),
            (["--outlets", "16", "--core-mm2", "1.5", "--supply-w", "nan"], 2, "finite"),
            (["--outlets", "16", "--core-mm2", "1.5", "--supply-w", "inf"], 2, "finite"),
            (["--outlets", "16", "--core-mm2", "1.5", "--spacing-m", "nan"], 2, "finite"),
            (["--outlets", "16", "--core-mm2", "1.5", "--readers", "8"], 0, "8 readers, 23.4 V at the last"),
            (["--outlets", "16", "--core-mm2", "1.5", "--readers", "9"], 1, "REFUSED: 9 readers"),
            (["--outlets", "16", "--core-mm2", "1.5", "--readers", "-1"], 2, "impossible"),
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
