"""Maps that are wrong are refused: file, line, place, reason, and what to write instead."""

import string
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.places import line_of
from hardware.points import MAPS_DIR, MapError, load, load_file, map_ids
from hardware.reading import Reader

TUF = (MAPS_DIR / "tuf.tuf2000f.toml").read_text(encoding="utf-8")
RELAY = (MAPS_DIR / "waveshare.relay8.toml").read_text(encoding="utf-8")
POLLED = (MAPS_DIR / "wirenboard.wbmr6.toml").read_text(encoding="utf-8")
READER = (MAPS_DIR / "technotrade.vrd485.toml").read_text(encoding="utf-8")


def refusal(tmp_path: Path, text: str, old: str, new: str) -> MapError:
    """Return the complaint about a map that is right but for one thing."""
    assert old in text
    name = next(line for line in text.splitlines() if line.startswith("id = ")).split('"')[1]
    path = tmp_path / f"{name}.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(MapError) as caught:
        load_file(path)
    assert caught.value.file == path.name
    return caught.value


class TestComplaints:
    @pytest.mark.parametrize(
        ("old", "new", "reason", "hint"),
        [
            # the wrong word order is found by the golden bytes, and named
            ('word = "little"', 'word = "big"', "806B4212 decodes to", 'with word = "little" and byte = "big"'),
            ("value = 36.6254", "value = 36.7", "not 36.7", ""),
            ("value = 123456", "value = 123457", "E2400001 decodes to 123456, not 123457", ""),
            ('raw = "5930"', 'raw = "59A0"', "invalid literal", ""),
            (
                "given = { total_unit = 0, total_exponent = 3 }",
                "given = { total_unit = 0 }",
                "total_exponent is not given",
                "",
            ),
            ("given = { total_unit = 0,", "given = { total_unit = 6,", "unit code 6 of total_unit is not in", ""),
            ("at = 71", "at = 34", "overlaps temp_return at 34", ""),
            ('{ n = "velocity"', '{ n = "flow"', "name also used in block now", "its own name"),
            ('role = "flow"', 'role = "flwo"', "unknown role 'flwo'", "did you mean 'flow'?"),
            ('unit = "m3/h", role', 'unit = "m3", role', "role flow needs one of the units", ""),
            (
                "functions = [3, 6]",
                "functions = [4, 6]",
                "read with function code 3, which the device does not know",
                "add 3",
            ),
            ("functions = [3, 6]", "functions = [99]", "must be some of", ""),
            ('framing = "8N1"', 'framing = "8X1"', "framing '8X1' is none", '"8N1"'),
            ("max_read = 125", "max_read = 126", "at most 125", ""),
            ('deadman = "none"', 'deadman = "hope"', "unknown dead-man class 'hope'", "known are device_credit"),
            ('deadman = "none"', 'deadman = "lease"', "a lease needs the command frame", ""),
            (
                'deadman = "none"',
                'deadman = "device_credit"',
                "class device_credit needs a point with role 'credit_volume'",
                "none",
            ),
            (
                'deadman = "none"',
                'deadman = "none"\nmailbox = "flag"',
                "a flag mailbox needs a point with role 'card_new'",
                "",
            ),
            (
                'sf = "total_exponent"',
                'sf = "total_exponents"',
                "refers to 'total_exponents', which does not exist",
                "",
            ),
            ('sf = "total_exponent"', 'sf = "flow"', "flow must be a plain integer", ""),
            ('unit_from = "total_unit", ', "", "unit_from and units belong together", ""),
            ('units = "volume", unit', 'units = "volumes", unit', "unknown unit code table 'volumes'", "'volume'"),
            ('combine = { int = "forward_whole"', 'combine = { int = "error_bits_2"', "refers to 'error_bits_2'", ""),
            ('combine = { int = "forward_whole"', 'combine = { int = "total_unit"', "must be read together", ""),
            ('factor = "1/1000"', 'factor = "-1"', "factor must be positive", ""),
            ("[[source]]\n", "[[sources]]\n", "unknown key 'sources'", "'source'"),
        ],
    )
    def test_of_a_meter(self, tmp_path: Path, old: str, new: str, reason: str, hint: str) -> None:
        error = refusal(tmp_path, TUF, old, new)
        assert reason in error.reason
        assert hint in error.hint
        assert str(error).startswith(f"tuf.tuf2000f.toml:{error.line}: " if error.line else "tuf.tuf2000f.toml: ")

    @pytest.mark.parametrize(
        ("keys", "reason", "hint"),
        [
            ('t = "u16", scale = "0"', "scale must be positive", ""),
            ('t = "u16", scale = "1/0"', "not an exact fraction", '"1/10"'),
            ('t = "u16", nan = -1', "nan -1 does not fit a u16", "before scaling"),
            ('t = "u16", fc = 6', "function code 6 cannot write this", ""),
            ('t = "u16", a = "rw", fc = 5', "function code 5 cannot write", "written with 6"),
            ('t = "u32", a = "rw", fc = 6', "code 6 writes one register", "use 16"),
            ('t = "u32", a = "rw"', "no function code of the device writes", "[3, 6]"),
            ('t = "u16", min = 5, max = 4', "min 5 is above max 4", ""),
            ('t = "u16", default = 65536', "default 65536 does not fit", ""),
            ('t = "u16", fw_min = "1.2"', "needs a point with role 'firmware'", ""),
            ('t = "u16", fw_min = "new"', "no firmware version", '"1.5.3"'),
            ('t = "u16", clear = 0', "must be writable", ""),
            ('t = "sum"', "only a sum, combines", ""),
        ],
    )
    def test_of_a_point(self, tmp_path: Path, keys: str, reason: str, hint: str) -> None:
        error = refusal(tmp_path, TUF, 'n = "error_bits", t = "u16"', f'n = "error_bits", {keys}')
        assert reason in error.reason
        assert hint in error.hint
        assert error.line == 1 + TUF[: TUF.index('"error_bits"')].count("\n") or "file" in error.where

    @pytest.mark.parametrize(
        ("text", "old", "new", "reason"),
        [
            (RELAY, "pulse_ms_max = 30000", "", "class one_shot needs pulse_ms_max"),
            (RELAY, 'role = "valve_pulse"', 'role = "relay_1"', "needs a point with role 'valve_pulse'"),
            (RELAY, 'a = "rw", role = "valve_cmd"', 'role = "valve_cmd"', "role valve_cmd must be writable"),
            (
                RELAY,
                't = "u16", a = "w", fc = 5, scale',
                't = "u16", a = "rw", fc = 5, scale',
                "does not belong in the coil",
            ),
            (
                RELAY,
                'unit = "s", max = 32767, role',
                'unit = "L", max = 32767, role',
                "needs one of the units min, ms, s",
            ),
            (POLLED, "watchdog_ms = 10000", "", "class poll_watchdog needs watchdog_ms"),
            (POLLED, ', role = "watchdog"', "", "needs a point with role 'watchdog'"),
            (POLLED, ', a = "rw", fc = 6, unit', ", unit", "role watchdog must be writable"),
            (READER, ', role = "card_uid"', "", "a level mailbox needs a point with role 'card_uid'"),
            (READER, "mask = 0x00FF", "mask = 0x0FFF", "overlaps bus_address at 0"),
            (READER, "mask = 0xFF00, shift = 8", "mask = 0x1FF00, shift = 8", "does not fit"),
            (READER, "max_read = 11", "max_read = 1", "atomic, but 2 words are more than the 1 of one read"),
            (READER, 'enum = "baud"', 'enum = "bauds"', "unknown enum 'bauds'"),
        ],
    )
    def test_of_valves_and_readers(self, tmp_path: Path, text: str, old: str, new: str, reason: str) -> None:
        assert reason.lower() in refusal(tmp_path, text, old, new).reason.lower()

    def test_name_the_line(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, TUF, 'role = "flow"', 'role = "flwo"')
        assert error.line is not None
        assert 'role = "flow"' in TUF.splitlines()[error.line - 1]
        assert error.where == "blocks.now.flow"

    def test_name_the_line_of_what_is_no_toml(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, TUF, 'word = "little"', "word = ")
        assert error.line == 1 + TUF[: TUF.index('word = "little"')].count("\n")

    def test_name_what_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(MapError, match="cannot be read"):
            load_file(tmp_path / "nothing.toml")


class TestLoad:
    def test_finds_a_map_in_a_folder_of_the_sites_own(self, tmp_path: Path) -> None:
        (tmp_path / "acme.meter.toml").write_text(TUF.replace("tuf.tuf2000f", "acme.meter"), encoding="utf-8")
        assert load("acme.meter", tmp_path).map_id == "acme.meter"
        assert "acme.meter" in map_ids(tmp_path)

    def test_reads_a_file_again_once_it_has_changed(self, tmp_path: Path) -> None:
        path = tmp_path / "acme.meter.toml"
        path.write_text(TUF.replace("tuf.tuf2000f", "acme.meter"), encoding="utf-8")
        first = load("acme.meter", tmp_path)
        assert load("acme.meter", tmp_path) is first
        path.write_text(TUF.replace("tuf.tuf2000f", "acme.meter").replace('"Ultra', '"A new ultra'), encoding="utf-8")
        assert load("acme.meter", tmp_path).title.startswith("A new")

    def test_refuses_two_of_one_name(self, tmp_path: Path) -> None:
        (tmp_path / "tuf.tuf2000f.toml").write_text(TUF, encoding="utf-8")
        with pytest.raises(MapError, match="give yours another id"):
            load("tuf.tuf2000f", tmp_path)

    @pytest.mark.parametrize("map_id", ["../chw.hwo1", "nobody", ""])
    def test_refuses_what_is_not_there(self, map_id: str) -> None:
        with pytest.raises(MapError, match=r"there are chw\.acr1"):
            load(map_id)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of everything in a document."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [each for key, child in inside for each in leaves(child, (*path, key))]


def with_change(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a copy with one thing changed."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = with_change(value[path[0]], path[1:], new)
    return copy


TEXTS = {"tuf.tuf2000f": TUF, "technotrade.vrd485": READER, "waveshare.relay8": RELAY}
DOCUMENTS = {name: tomllib.loads(text, parse_float=Decimal) for name, text in TEXTS.items()}
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.text(string.printable, max_size=6), st.just([]),
    st.just({}), st.lists(st.integers(-1, 70_000), max_size=2), st.decimals(), st.just([{}]), st.just({"a": 1}),
)  # fmt: skip


class TestAnyDamage:
    @given(st.sampled_from(sorted(DOCUMENTS)), st.data())
    def test_is_a_complaint_and_never_a_crash(self, name: str, data: st.DataObject) -> None:
        document = DOCUMENTS[name]
        path = data.draw(st.sampled_from(leaves(document)))
        damaged = with_change(document, path, data.draw(JUNK))
        try:
            found = Reader(f"{name}.toml", "", damaged).read(expected_id=name)
        except MapError:
            return
        assert found.map_id == name


class TestLineOf:
    BLOCK = '[[blocks]]\nid = "{}"\npoints = [\n  {{ n = "p" }},\n]\n'
    TEXT = "[a]\nx = 1\n" + BLOCK.format("one") + BLOCK.format("two") + "[[vectors]]\n[[vectors]]\n"

    @pytest.mark.parametrize(
        ("where", "line"),
        [("a", 1), ("a.x", 2), ("blocks.one", 4), ("blocks.one.p", 6), ("blocks.two.p", 11), ("vectors[1]", 14),
         ("blocks.three", 3), ("nothing", None)],
    )  # fmt: skip
    def test_finds_the_place(self, where: str, line: int | None) -> None:
        assert line_of(self.TEXT, where) == line
