"""Register maps: what is right loads, what is wrong names its place."""

from fractions import Fraction
from pathlib import Path

import pytest

from hardware.points import MAPS_DIR, MapError, load, load_file

MAP_IDS = sorted(path.name.removesuffix(".toml") for path in MAPS_DIR.glob("*.toml"))

SMALL = """
schema = "campustap-regmap/1"
id = "small"
title = "A small device"
version = "1.0"
source = [{ title = "made up for tests" }]
bus = { baud = 9600 }
order = { word = "big", byte = "big", string = 2 }
match = { table = "input", address = 0, words = [1] }
caps = { deadman = "none" }
bits = { faults = ["HOT", "COLD"] }
poll = { slow = { period_s = 60 } }

[enums.state]
0 = "OFF"
1 = "ON"

[[blocks]]
id = "st"
table = "input"
at = 10
poll = "slow"
points = [
    { n = "state", t = "u16", enum = "state", role = "state" },
    { n = "volume", t = "u32", scale = "1/1000", unit = "m3" },
    { n = "temp", t = "i16", off = 5, scale = "1/10", unit = "degC", nan = -32768 },
]

[[vectors]]
point = "volume"
raw = "000003E8"
value = 1

[[vectors]]
point = "temp"
raw = "8000"
value = "nan"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(text, encoding="utf-8")
    return path


class TestLoad:
    @pytest.mark.parametrize("map_id", MAP_IDS)
    def test_accepts_every_map_in_the_folder(self, map_id: str) -> None:
        register_map = load(map_id)

        assert register_map.map_id == map_id
        assert register_map.source
        assert all(block.words <= 125 for block in register_map.blocks if block.table in ("input", "holding"))

    def test_knows_both_of_our_devices(self) -> None:
        assert {"chw.hwo1", "chw.acr1"} <= set(MAP_IDS)

    def test_refuses_an_unknown_id(self) -> None:
        with pytest.raises(MapError, match="no register map is called 'nobody'"):
            load("nobody")

    def test_gives_the_outlet_its_addresses(self) -> None:
        points = load("chw.hwo1").points
        expected = {
            "magic": 0, "device_uid": 29, "k_factor": 41, "log_words": 44, "snap_seq": 100, "total_pulses": 116,
            "lease_left": 120, "snap_end": 127, "total_volume": 140, "rx_frames": 163, "mbx_item_seq": 200,
            "mbx_uid": 207, "mbx_payload": 212, "mbx_end": 316, "spare": 15, "cfg_unlock": 1, "cfg_max_volume": 8,
            "cfg_debounce": 19, "log_ack": 64, "log_cursor": 66, "mbx_ack": 68, "clock_set": 69, "led": 90,
            "cmd_token": 256, "cmd_not_after": 268, "cmd_commit": 274, "res_token": 288, "res_snap_seq": 295,
            "log_cursor_echo": 400, "log_records": 405,
        }  # fmt: skip

        assert {name: points[name].address for name in expected} == expected
        assert len(points) == 124
        assert load("chw.hwo1").block("log").words == 125

    def test_gives_both_devices_the_same_frames(self) -> None:
        outlet, reader = load("chw.hwo1"), load("chw.acr1")

        for block_id in ("id", "cmd", "res", "log"):
            a, b = outlet.block(block_id), reader.block(block_id)
            assert (a.table, a.address, a.words, a.write) == (b.table, b.address, b.words, b.write)
        assert outlet.enums["result"] == reader.enums["result"]
        assert outlet.enums["mailbox_source"] == reader.enums["mailbox_source"]

    def test_names_every_reason_an_outlet_can_close_for(self) -> None:
        reasons = set(load("chw.hwo1").enums["close_reason"].values())

        assert reasons == set(
            [
                "NONE",
                "VOLUME_LIMIT",
                "TIME_LIMIT",
                "LEASE",
                "COMM_WATCHDOG",
                "NO_FLOW",
                "SCALD",
                "LEAK",
                "POWER_LOSS",
                "REBOOT",
                "REMOTE",
                "USER",
                "FAULT",
                "HANDOVER",
                "CARD",
                "REVOKED",
            ]
        )

    def test_names_faults_as_the_contract_does(self) -> None:
        from gateway.contract.faults import FaultCode

        assert {name.lower() for name in load("chw.hwo1").bits["faults"]} <= {code.value for code in FaultCode}


class TestLoadFile:
    def test_reads_points_with_scale_unit_and_place(self, tmp_path: Path) -> None:
        register_map = load_file(written(tmp_path, SMALL))

        volume, temp = register_map.points["volume"], register_map.points["temp"]
        assert (volume.table, volume.address, volume.words, volume.scale) == ("input", 11, 2, Fraction(1, 1000))
        assert (temp.address, temp.nan, temp.unit) == (15, -32768, "degC")
        assert register_map.block("st").words == 6
        assert register_map.by_role("state") == register_map.points["state"]
        assert register_map.code("state", "ON") == 1

    def test_crc_changes_with_the_layout_and_not_with_the_title(self, tmp_path: Path) -> None:
        crc = load_file(written(tmp_path, SMALL)).crc

        assert load_file(written(tmp_path, SMALL.replace("A small device", "Another"))).crc == crc
        assert load_file(written(tmp_path, SMALL.replace("at = 10", "at = 11"))).crc != crc

    @pytest.mark.parametrize(
        ("old", "new", "where", "reason"),
        [
            ("off = 5", "off = 2", "blocks.st.temp", "overlaps volume at 12"),
            ("off = 5", "off = 130", "blocks.st", "131 words, more than 125"),
            ('n = "temp"', 'n = "volume"', "blocks.st.volume", "name also used"),
            ('t = "u32"', 't = "u33"', "blocks.st.volume", "unknown type 'u33'"),
            ('t = "u32"', 't = "bit"', "blocks.st.volume", "does not belong in the input table"),
            ('unit = "m3"', 'unit = "gallon"', "blocks.st.volume", "unknown unit 'gallon'"),
            ('role = "state"', 'role = "mood"', "blocks.st.state", "unknown role 'mood'"),
            ('enum = "state"', 'enum = "mood"', "blocks.st.state", "unknown enum 'mood'"),
            ('scale = "1/1000"', 'scale = "0"', "blocks.st.volume", "scale must be positive"),
            ('scale = "1/1000"', 'scale = "x"', "blocks.st.volume", "not an exact fraction"),
            ('scale = "1/1000"', "words = 3", "blocks.st.volume", "unknown key 'words'"),
            ('poll = "slow"', 'poll = "often"', "blocks.st", "unknown poll class 'often'"),
            ('table = "input"\nat = 10', 'table = "inputs"\nat = 10', "blocks.st", "unknown table 'inputs'"),
            ("at = 10", "at = 65535", "blocks.st.volume", "outside the table"),
            ('0 = "OFF"', '0 = "ON"', "enums.state", "a label appears twice"),
            ('["HOT", "COLD"]', '["HOT", "HOT"]', "bits.faults", "a bit name appears twice"),
            ('raw = "000003E8"', 'raw = "000003E9"', "vectors[0]", "volume: 000003E9 decodes to 1001/1000"),
            ('raw = "000003E8"', 'raw = "03E8"', "vectors[0]", "2 bytes where 4 belong"),
            ('point = "temp"', 'point = "tempo"', "vectors[1]", "unknown point 'tempo'"),
            ('id = "small"', 'id = "large"', "id", "is not the file's name"),
            ("regmap/1", "regmap/2", "schema", "must be 'campustap-regmap/1'"),
            ("words = [1]", "words = []", "match", "words must be"),
            ('title = "A small device"', "", "file", "title is missing"),
            ("[enums.state]", "[enums.state", "file", "Expected"),
        ],
    )
    def test_refuses_with_place_and_reason(self, tmp_path: Path, old: str, new: str, where: str, reason: str) -> None:
        assert old in SMALL

        with pytest.raises(MapError) as refusal:
            load_file(written(tmp_path, SMALL.replace(old, new, 1)))

        assert refusal.value.file == "small.toml"
        assert refusal.value.where == where
        assert reason in refusal.value.reason

    def test_refuses_blocks_that_overlap(self, tmp_path: Path) -> None:
        second = '[[blocks]]\nid = "b"\ntable = "input"\nat = 15\npoints = [{ n = "x", t = "u16" }]\n[[vectors]]'

        with pytest.raises(MapError, match="overlaps block st at 15"):
            load_file(written(tmp_path, SMALL.replace("[[vectors]]", second, 1)))

    def test_lets_masks_share_a_register_only_when_they_are_apart(self, tmp_path: Path) -> None:
        two = '{{ n = "a", t = "u16", mask = 0xF000, shift = 12 }}, {{ n = "b", t = "u16", off = 0, mask = {mask} }},'
        block = '[[blocks]]\nid = "m"\ntable = "input"\nat = 90\npoints = [{two}]\n[[vectors]]'
        good = SMALL.replace("[[vectors]]", block.format(two=two.format(mask="0x0FFF")), 1)
        bad = SMALL.replace("[[vectors]]", block.format(two=two.format(mask="0x1FFF")), 1)

        assert load_file(written(tmp_path, good)).points["b"].address == 90
        with pytest.raises(MapError, match="overlaps a at 90"):
            load_file(written(tmp_path, bad))
