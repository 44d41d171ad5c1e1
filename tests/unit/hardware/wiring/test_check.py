"""Our harnesses hold, and each kind of mistake in one is named."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hardware.wiring.check import FOLDER, HARNESSES, complaints, load, main

Spoil = Callable[[dict[str, Any]], object]


def spoiled(name: str, spoil: Spoil) -> list[str]:
    """Return what is said of one of our harnesses with a mistake in it."""
    document = copy.deepcopy(dict(load(FOLDER / f"{name}.yml")))
    spoil(document)
    return complaints(document)


def clamp(harness: dict[str, Any], index: int, end: int, pins: list[int]) -> None:
    """Clamp one end of a connection to other pins."""
    chain = harness["connections"][index]
    chain[end] = {next(iter(chain[end])): pins}


class TestComplaints:
    @pytest.mark.parametrize("name", HARNESSES)
    def test_find_nothing_wrong_with_ours(self, name: str) -> None:
        assert complaints(load(FOLDER / f"{name}.yml")) == []

    @pytest.mark.parametrize(
        ("name", "spoil", "word"),
        [
            ("outlet", lambda h: h["connections"].pop(5), "M1:2 is neither used nor declared nc"),
            ("outlet", lambda h: h["connections"].pop(5), "W6:2 is neither used nor declared nc"),
            ("outlet", lambda h: h["metadata"]["nc"].append("J4:1"), "J4:1 is declared nc and used"),
            ("outlet", lambda h: h["metadata"]["nc"].append("J4:9"), "J4:9 does not exist"),
            ("outlet", lambda h: clamp(h, 0, 2, [2, 1]), "XA:1 +24V leads to J1:2 GND"),
            ("outlet", lambda h: h["cables"]["W1"].update(colors=["BK", "RD"]), "carries +24V and is BK, not RD"),
            ("outlet", lambda h: h["cables"]["W5"].update(gauge="0.25 mm2"), "on 0.25 mm², not 0.75 mm²"),
            ("outlet", lambda h: clamp(h, 1, 1, [1, "s", 2]), "the shield is for SHIELD"),
            ("outlet", lambda h: clamp(h, 5, 1, [1, 1, 3]), "W6:1 is used twice"),
            ("outlet", lambda h: h["connectors"]["J3"].update(pinlabels=["VALVE_K", "+24V_F"]), "in the schematic"),
            ("outlet", lambda h: h["connectors"]["J3"].update(mpn="0"), "J3: 0 is not in the parts list"),
            ("outlet", lambda h: h["cables"]["W1"].update(gauge="2.5 mm2"), "OELFLEX-2X1.5 is not 2.5 mm²"),
            ("reader", lambda h: h["connectors"]["X1"].update(subtype="male"), "no pair"),
            ("reader", lambda h: h["connectors"]["X1"].update(subtype="plug"), "subtype 'plug' is none of"),
            ("riser", lambda h: h["metadata"].update(feed={"outlets": 32, "open_at_once": 12}), "at most 16"),
            ("riser", lambda h: h["cables"]["W1"].update(gauge="0.75 mm2"), "W1: 19.7 V at the farthest outlet"),
        ],
    )
    def test_name_the_mistake(self, name: str, spoil: Spoil, word: str) -> None:
        assert any(word in said for said in spoiled(name, spoil))


class TestMain:
    def test_draws_every_harness(self, tmp_path: Path) -> None:
        assert main(["--out", str(tmp_path)]) == 0

        for name in HARNESSES:
            drawn = (tmp_path / f"{name}.svg").read_text(encoding="utf-8")
            assert all(connector in drawn for connector in load(FOLDER / f"{name}.yml")["connectors"])
            assert (tmp_path / f"{name}.html").is_file()

    def test_fails_on_a_harness_with_a_loose_core(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        text = (FOLDER / "reader.yml").read_text(encoding="utf-8")
        (tmp_path / "bad.yml").write_text(text.replace("nc: [W1:5]", "nc: []"), encoding="utf-8")

        assert main([str(tmp_path / "bad.yml")]) == 1
        assert "bad.yml: W1:5 is neither used nor declared nc" in capsys.readouterr().out
