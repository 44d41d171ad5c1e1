"""Our harnesses hold, and each kind of mistake in one is named."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hardware.wiring.check import FOLDER, HARNESSES, complaints, load, main, undrawn

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
            ("outlet", lambda h: h["cables"]["W5"].update(gauge="0.5 mm2"), "carries VALVE_K on 0.5 mm², not 0.75 mm²"),
            ("outlet", lambda h: h["cables"]["W5"].update(colors=["RD", "GNYE"]), "VALVE_K and is GNYE, not BU"),
            ("outlet", lambda h: h["cables"]["W5"].update(colors=["BU", "RD"]), "VALVE_K and is RD, not BU"),
            ("outlet", lambda h: h["cables"]["W6"].update(colors=["OG", "GNYE", "BK"]), "GNYE, which is for PE"),
            ("outlet", lambda h: h["cables"]["W6"].update(colors=["OG", "RD", "BK"]), "RD, which is for +24V"),
            ("outlet", lambda h: h["cables"]["W6"].update(colors=["OG", "BK", "BK"]), "BK, which is for GND"),
            ("outlet", lambda h: h["cables"]["W6"].update(gauge="0.05 mm2"), "+5V on 0.05 mm², not 0.25 mm²"),
            ("outlet", lambda h: h["cables"]["W2"].update(gauge="0.05 mm2"), "RS485_A on 0.05 mm², not 0.5 mm²"),
            ("outlet", lambda h: h["cables"]["W1"].update(gauge="0.5 mm2"), "W1: 15.7 V at the farthest outlet"),
            ("outlet", lambda h: h["cables"]["W1"].update(gauge="0.25 mm2"), "W1:2 carries GND on 0.25 mm², not 0.5"),
            ("outlet", lambda h: h["cables"]["W6"].pop("mpn"), "W6: has no part number"),
            ("outlet", lambda h: h["connectors"]["M1"].pop("mpn"), "M1: has no part number"),
            ("outlet", lambda h: h["connectors"]["M1"].update(mpn="PT1000-6X50-3M"), "the list has FS200A-G34"),
            ("outlet", lambda h: h["cables"]["W6"].update(mpn="LIYCY-2X0.25"), "W6: has 3 cores, the list says 2"),
            ("outlet", lambda h: (h["cables"]["W6"].pop("shield"), h["connections"].pop(6)), "W6: LIYCY-3X0.25 has a"),
            ("outlet", lambda h: h["connections"].pop(6), "W6:s is neither used nor declared nc"),
            ("outlet", lambda h: h["connections"].__setitem__(6, [{"J4": [2]}, {"W6": ["s"]}]), "shield is for SHIELD"),
            ("outlet", lambda h: h["connectors"]["X1"].update(subtype="male"), "X1 and V1 are no pair"),
            ("outlet", lambda h: h["metadata"].update(mates=[["X1", "V1"]]), "X6: is female and has no mate"),
            ("outlet", lambda h: h["cables"]["W2"].update(length=5000), "W2: 5000 m; more than 0 and at most 20 m"),
            ("outlet", lambda h: h["cables"]["W6"].update(length=6), "W6: 6 m"),
            ("outlet", lambda h: h["cables"]["W1"].update(length=4), "W1: 4 m, the budget reckons with 3 m"),
            ("outlet", lambda h: h["connections"].append([{"J3": [1]}, "--", {"J3": [1]}]), "J3:1 leads to itself"),
            ("outlet", lambda h: h["connections"].append([{"J3": [1]}, "--", {"J4": [1]}]), "+24V_F leads to J4:1 +5V"),
            ("reader", lambda h: h["connectors"]["RD1"]["pinlabels"].reverse(), "do not have the same pins"),
            ("gateway_box", lambda h: h["cables"]["W1"].update(gauge="1 mm2"), "PE on 1 mm², not 1.5 mm²"),
            ("gateway_box", lambda h: h["cables"]["W1"]["colors"].__setitem__(3, "BK"), "PE and is BK, not GNYE"),
            ("gateway_box", lambda h: h["cables"]["W2"]["colors"].append("BK"), "W2: has 4 cores, the list says 3"),
            ("gateway_box", lambda h: h["cables"]["W1"]["colors"].pop(), "W1:5 does not exist"),
            ("gateway_box", lambda h: h["connections"].pop(3), "SHIELD must reach PE at one place, not 0"),
            ("gateway_box", lambda h: h["metadata"].pop("earthed"), "SHIELD must reach PE at one place, not 0"),
            ("gateway_box", lambda h: h["connections"].pop(12), "F3:1 is neither used nor declared nc"),
            ("gateway_box", lambda h: h["connections"].pop(15), "XT3:3 is neither used nor declared nc"),
            ("gateway_box", lambda h: clamp(h, 15, 2, [4, 3, 5]), "XT1:3 RS485_A leads to XT3:4 RS485_B"),
            ("gateway_box", lambda h: h["metadata"]["nc"].append("PS1:6"), "PS1:6 is declared nc and used"),
            ("gateway_box", lambda h: h["connectors"]["F3"].update(mpn="UT-6-HESI-8A"), "the list has UT-6-HESI-2A"),
            ("gateway_box", lambda h: h["cables"]["W7"].update(gauge="0.5 mm2"), "+24V_P on 0.5 mm², not 1.5 mm²"),
            ("reader_riser", lambda h: h["connections"].pop(1), "W3:1 is neither used nor declared nc"),
            ("reader_riser", lambda h: h["connections"].pop(4), "R3_XT1:1 is neither used nor declared nc"),
            ("reader_riser", lambda h: h["metadata"]["nc"].append("XT3:5"), "XT3:5 is declared nc and used"),
            ("reader_riser", lambda h: clamp(h, 2, 2, [2, 1]), "R1_XT1:1 +24V leads to R2_XT1:2 GND"),
            ("reader_riser", lambda h: clamp(h, 3, 1, [2, 1, "s"]), "carries RS485_A and is BN, not WH"),
            ("reader_riser", lambda h: clamp(h, 3, 1, [1, "s", 2]), "the shield is for SHIELD"),
            ("reader_riser", lambda h: h["cables"]["W2"].update(colors=["BK", "RD"]), "carries +24V and is BK, not RD"),
            ("reader_riser", lambda h: h["cables"]["W2"].update(length=6), "W2: 6 m, the budget reckons with 5 m"),
            ("reader_riser", lambda h: h["cables"]["W2"].update(gauge="2.5 mm2"), "OELFLEX-2X1.5 is not 2.5 mm²"),
            ("reader_riser", lambda h: h["cables"]["W3"].pop("shield"), "W3:s does not exist"),
            ("reader_riser", lambda h: h["cables"]["W3"].pop("mpn"), "W3: has no part number"),
            (
                "reader_riser",
                lambda h: h["connectors"]["XT3"].update(mpn="1715750X"),
                "1715750X is not in the parts list",
            ),
            ("reader_riser", lambda h: h["metadata"]["feed"].update(readers=9), "9 readers on one feed: at most 8"),
            ("reader_riser", lambda h: h["cables"]["W2"].update(gauge="0.25 mm2"), "+24V on 0.25 mm², not 0.5 mm²"),
            ("riser", lambda h: h["metadata"].pop("feed"), "metadata.feed is missing"),
            ("riser", lambda h: h["connections"].append([{"XT9": [1]}, {"W1": [1]}, {"O1_J1": [1]}]), "XT9 is not one"),
            ("riser", lambda h: h["connections"].append([{"XT1": [1]}, {"W9": [1]}, {"O1_J1": [1]}]), "W9 is not one"),
            ("riser", lambda h: h["connections"].append([{"XT1": [9]}, {"W1": [1]}, {"O1_J1": [1]}]), "XT1:9 does not"),
            ("riser", lambda h: h["connections"].append([{"XT1": [1, 2]}, "--", {"O1_J1": [1]}]), "different numbers"),
            ("riser", lambda h: h["metadata"]["mates"].append(["XT1", "XT9"]), "there is no connector XT9"),
            ("riser", lambda h: h["cables"]["W1"].pop("gauge"), "W1: gauge must be like"),
            ("riser", lambda h: h["cables"]["W1"].update(length="long"), "W1: length must be metres"),
            ("riser", lambda h: h.pop("connections"), "connections is missing"),
            ("riser", lambda h: h["metadata"].pop("nc"), "metadata.nc must be a list"),
            ("riser", lambda h: h["metadata"].update(feed={"outlets": 32, "open_at_once": 12}), "at most 16"),
            ("riser", lambda h: h["cables"]["W1"].update(gauge="0.75 mm2"), "W1: 18.5 V at the farthest outlet"),
        ],
    )
    def test_name_the_mistake(self, name: str, spoil: Spoil, word: str) -> None:
        assert any(word in said for said in spoiled(name, spoil))


class TestUndrawn:
    def test_names_parts_that_are_listed_and_in_no_harness(self) -> None:
        ours = {name: load(FOLDER / f"{name}.yml") for name in HARNESSES}
        fewer = copy.deepcopy({name: dict(document) for name, document in ours.items()})
        del fewer["gateway_box"]["connectors"]["F3"]
        del fewer["reader_riser"]

        assert undrawn(ours.values()) == []
        assert undrawn(fewer.values()) == [
            "gateway_box.csv: F3 is in the parts list and in no harness",
            "reader.csv: W2 is in the parts list and in no harness",
            "reader.csv: W3 is in the parts list and in no harness",
        ]


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

    @pytest.mark.parametrize(
        ("content", "word"),
        [
            (None, "cannot be read"),
            (b"a: [", "cannot be read"),
            (b"\xff\xfe\xff", "cannot be read"),
            (b"- a", "is no harness"),
            (b"a: 1", "metadata is missing"),
        ],
    )
    def test_says_what_is_no_harness(
        self, content: bytes | None, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "bad.yml"
        if content is not None:
            path.write_bytes(content)

        assert main([str(path)]) == 1
        assert word in capsys.readouterr().out

    def test_says_when_the_parts_list_is_unknown(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        text = (FOLDER / "reader.yml").read_text(encoding="utf-8")
        (tmp_path / "bad.yml").write_text(text.replace("bom: reader", "bom: plumbing"), encoding="utf-8")

        assert main([str(tmp_path / "bad.yml")]) == 1
        assert "plumbing.csv: cannot be read" in capsys.readouterr().out
