"""A valve that could not be told from a closed one, or not be told to close, is refused with its place."""

from pathlib import Path

import pytest

from hardware.points import MapError, load_file
from tests.unit.gateway.devices.map_rig import CREDIT, ONE_SHOT, PLAIN, WATCHDOG, map_in

VALVE = "on_value = 0xAA00, off_value = 0x5500"
SAFE = "on_value = 1, off_value = 2, default = 1"
ENUM = '{ 0 = "CLOSED", 1 = "OPEN", 2 = "OPENING" }'
STATE = 't = "u16", enum = "valve", role = "valve_state"'
COIL = 't = "bit", a = "rw", role = "valve_cmd"'


def refusal(folder: Path, text: str, old: str, new: str) -> MapError:
    """Return the complaint about a map that is right but for one thing; it must name a line."""
    assert text.count(old) == 1
    with pytest.raises(MapError) as caught:
        map_in(folder, text.replace(old, new))
    assert caught.value.line is not None
    assert str(caught.value).startswith(f"{caught.value.file}:{caught.value.line}: {caught.value.where}: ")
    return caught.value


class TestSwitchValues:
    @pytest.mark.parametrize(
        ("text", "old", "new", "where", "reason"),
        [
            (WATCHDOG, VALVE, "on_value = 0xAA00, off_value = 0xAA00", "valve", "are both 43520"),
            (WATCHDOG, VALVE, "on_value = 0", "valve", "are both 0"),
            (WATCHDOG, SAFE, "on_value = 1, off_value = 1", "safe", "are both 1"),
            (WATCHDOG, VALVE, "off_value = 70000", "valve", "off_value 70000 does not fit: it shows 0 to 65535"),
            (WATCHDOG, VALVE, "on_value = 16, mask = 0xF0, shift = 4", "valve", "on_value 16 does not fit"),
            (WATCHDOG, VALVE, "off_value = 0, min = 1, max = 9", "valve", "off_value 0 is outside of min and max"),
            (WATCHDOG, VALVE, "off_value = 0, nan = 0", "valve", "off_value 0 is also a nan"),
            (ONE_SHOT, COIL, COIL + ", off_value = 2", "valve", "off_value 2 does not fit: it shows 0 to 1"),
            (PLAIN, 't = "u16", a = "rw", role = "valve_cmd"', 't = "f32", a = "rw", role = "valve_cmd"', "relay",
             "needs a bit or a plain whole number"),
            (PLAIN, 't = "u16", a = "rw", role = "valve_cmd"', 't = "u16", a = "w1c", role = "valve_cmd"', "relay",
             "role valve_cmd is written a value, and ones written here clear"),
            (CREDIT, 'a = "rw", fc = 16, scale', 'a = "w1c", fc = 16, scale', "credit", "role credit_volume is"),
        ],
    )  # fmt: skip
    def test_that_do_not_tell_open_from_closed_are_refused(
        self, tmp_path: Path, text: str, old: str, new: str, where: str, reason: str
    ) -> None:
        error = refusal(tmp_path, text, old, new)
        assert error.where.endswith(f".{where}")
        assert reason in error.reason
        assert f'n = "{where}"' in text.splitlines()[(error.line or 0) - 1]

    def test_may_be_the_other_way_round(self, tmp_path: Path) -> None:
        coil = map_in(tmp_path, ONE_SHOT.replace(COIL, COIL + ", on_value = 0, off_value = 1")).points["valve"]
        assert (coil.on, coil.off) == (0, 1)


class TestLabels:
    @pytest.mark.parametrize(
        "members",
        [
            '{ 0 = "CLOSED", 1 = "OPENED", 2 = "OPENING" }',
            '{ 0 = "closed", 1 = "open" }',
            '{ 0 = "CLOSED" }',
            '{ 0 = "OFF", 1 = "OPEN" }',
            '{ 0 = "SHUT", 1 = "ON" }',
        ],
    )
    def test_nobody_writes_or_reads_are_refused(self, tmp_path: Path, members: str) -> None:
        error = refusal(tmp_path, CREDIT, ENUM, members)
        assert error.where == "enums.valve"
        assert "role valve_state of state needs the labels OPEN and CLOSED, or ON and OFF; it has" in error.reason

    def test_of_a_command_are_asked_for_beside_those_of_a_state(self, tmp_path: Path) -> None:
        words = CREDIT.replace("enums.valve", 'enums.orders = { 1 = "GO", 2 = "STOP" }\nenums.valve')
        error = refusal(tmp_path, words, 'fc = 6, enum = "valve"', 'fc = 6, enum = "orders"')
        assert "role valve_cmd of command needs the labels OPEN and CLOSED" in error.reason
        assert "it has GO, STOP" in error.reason

    @pytest.mark.parametrize("members", ['{ 0 = "OFF", 1 = "ON" }', '{ 3 = "CLOSED", 9 = "OPEN", 10 = "JAMMED" }'])
    def test_that_are_known_load(self, tmp_path: Path, members: str) -> None:
        assert len(map_in(tmp_path, CREDIT.replace(ENUM, members)).enums["valve"]) >= 2

    def test_out_of_bounds_or_read_as_nothing_are_refused(self, tmp_path: Path) -> None:
        assert "CLOSED 0 is also a nan" in refusal(tmp_path, CREDIT, STATE, STATE + ", nan = 0").reason
        bounded = refusal(tmp_path, CREDIT, 'fc = 6, enum = "valve"', 'fc = 6, min = 1, max = 9, enum = "valve"')
        assert "CLOSED 0 is outside of min and max" in bounded.reason

    def test_a_safe_state_must_be_a_closed_one(self, tmp_path: Path) -> None:
        text = WATCHDOG.replace("\n[[blocks]]", '\nenums.safe = { 1 = "ON", 2 = "OFF" }\n\n[[blocks]]', 1)
        named = text.replace(SAFE, SAFE + ', enum = "safe"')
        assert map_in(tmp_path, named).points["safe"].enum == "safe"
        error = refusal(tmp_path, named, SAFE, "on_value = 2, off_value = 1")
        assert "off_value 1 is 'ON' in enums.safe, not CLOSED or OFF" in error.reason


class TestTimes:
    @pytest.mark.parametrize(
        ("text", "old", "new", "reason"),
        [
            (ONE_SHOT, "pulse_ms_max = 30000", "pulse_ms_max = 3600000", "is an hour or more"),
            (ONE_SHOT, "pulse_ms_max = 30000", "pulse_ms_max = 0", "must be positive"),
            (WATCHDOG, "watchdog_ms = 5000", "watchdog_ms = 3600000", "is an hour or more"),
            (WATCHDOG, "watchdog_ms = 5000", "watchdog_ms = 70000", "timer cannot carry it"),
            (WATCHDOG, 'a = "rw", unit = "ms"', 'a = "rw", max = 4000, unit = "ms"', "whole steps from 0 to 4000"),
            (WATCHDOG, 'a = "rw", unit = "ms"', 'a = "rw", unit = "min"', "timer cannot carry it"),
        ],
    )
    def test_that_keep_no_valve_from_running_on_are_refused(
        self, tmp_path: Path, text: str, old: str, new: str, reason: str
    ) -> None:
        error = refusal(tmp_path, text, old, new)
        assert error.where in ("caps.pulse_ms_max", "caps.watchdog_ms")
        assert reason in error.reason

    @pytest.mark.parametrize("k_factor", ['"0"', '"1/100000000"', "1000001", '"1e9"', "true"])
    def test_a_k_factor_no_meter_has_is_refused(self, tmp_path: Path, k_factor: str) -> None:
        assert refusal(tmp_path, ONE_SHOT, 'k_factor = "450"', f"k_factor = {k_factor}").where == "caps.k_factor"

    @pytest.mark.parametrize("k_factor", ['"1/1000"', "1000000", "0.1"])
    def test_a_k_factor_at_the_bounds_loads(self, tmp_path: Path, k_factor: str) -> None:
        stated = map_in(tmp_path, ONE_SHOT.replace('k_factor = "450"', f"k_factor = {k_factor}"))
        assert stated.k_factor_pulses_per_m3 > 0


class TestPlaces:
    @pytest.mark.parametrize(
        ("old", "new", "where", "reason"),
        [
            ("at = 10\n", "at = -1\n", "blocks.meter", "at -1 is outside the table"),
            ("at = 10\n", "at = 65536\n", "blocks.meter", "at 65536 is outside the table"),
            ("address = 0, words", "address = -1, words", "match", "2 words at -1 are outside the table"),
            ("address = 0, words", "address = 65535, words", "match", "2 words at 65535 are outside the table"),
            (ENUM, '{ 0 = "CLOSED", 1 = "OPEN", 70000 = "OPENING" }', "enums.valve",
             "70000 is more than state, a u16, can show"),
            (STATE, STATE + ", mask = 1", "enums.valve", "2 is more than state"),
            ("max_read = 20", "max_read = 1", "blocks.meter.whole", "its 2 words are more than the 1 of bus.max_read"),
            ("max_read = 20", "max_write = 1", "blocks.valve.credit", "its 2 words are more than the 1 of bus.max_w"),
            ("gap = 4", "timeout_ms = 60001", "bus", "timeout_ms is above 60000"),
            ("gap = 4", "unit = 248", "bus", "unit is above 247"),
            ('["TAMPER", "LOW_SUPPLY"]', str([f"B{bit}" for bit in range(17)]), "bits.alarms", "more bits than alarms"),
        ],
    )  # fmt: skip
    def test_beyond_the_table_the_type_or_the_request_are_refused(
        self, tmp_path: Path, old: str, new: str, where: str, reason: str
    ) -> None:
        error = refusal(tmp_path, CREDIT, old, new)
        assert error.where == where
        assert reason in error.reason


class TestNumbers:
    @pytest.mark.parametrize(
        "scale", ['"1e9999"', '"1e99999999"', '"1e-99999999"', '"1e19"', '"1e-19"', "1e99999999", "inf", "true",
                  '"' + "9" * 30 + '"', "[1]", '"1/1e9"', '"١"']
    )  # fmt: skip
    def test_a_scale_that_measures_nothing_is_refused_at_once(self, tmp_path: Path, scale: str) -> None:
        error = refusal(tmp_path, CREDIT, 'fc = 16, scale = "1/10"', f"fc = 16, scale = {scale}")
        assert error.where == "blocks.valve.credit"

    @pytest.mark.parametrize("scale", ['"1e-18"', '"1E+3"', "0.001", "1000", '" 1/3 "'])
    def test_a_scale_that_measures_something_loads(self, tmp_path: Path, scale: str) -> None:
        named = CREDIT.replace('scale = "1/100", unit = "L/min"', f'scale = {scale}, unit = "L/min"')
        assert map_in(tmp_path, named).points["flow"].scale > 0

    @pytest.mark.parametrize(
        ("old", "new", "where"),
        [
            ("value = 10000", "value = 1e99999999", "vectors[0]"),
            ("value = 1.0245", "value = " + "1." + "3" * 61, "vectors[1]"),
            ("gap = 4", "gap = 0x1" + "0" * 5_000, "bus.gap"),
            ("max = 20000", "max = 0x10000000000000000", "blocks.valve.credit"),
            ('L", factor = "1/1000"', 'L", factor = "1e400"', "unit_codes.volume"),
        ],
    )
    def test_a_number_that_fits_no_register_is_refused(self, tmp_path: Path, old: str, new: str, where: str) -> None:
        assert refusal(tmp_path, CREDIT, old, new).where == where

    @pytest.mark.parametrize("value", ["9" * 5_000, "[" * 50_000])
    def test_what_cannot_even_be_read_is_refused(self, tmp_path: Path, value: str) -> None:
        path = tmp_path / "acme.toml"
        path.write_text(f"schema = {value}", encoding="utf-8")
        with pytest.raises(MapError, match=r"^acme\.toml: file: "):
            load_file(path)
