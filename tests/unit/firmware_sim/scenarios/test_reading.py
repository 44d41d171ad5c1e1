"""Scenario files are read strictly, and whoever wrote one is told where it is wrong and what was probably meant."""

from dataclasses import fields
from pathlib import Path

import pytest

from firmware_sim.noise import Noise, noise_of
from firmware_sim.scenarios.reading import FOLDER, ScenarioWrong, all_scenarios, lines_of, load, parse
from firmware_sim.scenarios.words import FAULTS, INVARIANTS

GOOD = """\
[scenario]
title = "a test"
seed = 3

[school]
buildings = 1
students = 12

[people]
showers = 4
at_once = 2
endings = { stop = 1, hand_over = 1 }

[[faults]]
at_s = 2.5
fault = "power_cut"
building = 1
seconds = 3

[[faults]]
at_s = 1
fault = "pipe"
device = "dev_b1_102"
what = "leak_closed"
seconds = 2

[ends]
invariants = ["books_balance"]
"""


def wrong(text: str) -> list[str]:
    with pytest.raises(ScenarioWrong) as refused:
        parse(text, file="bad.toml", name="bad")
    return [str(problem) for problem in refused.value.problems]


class TestParse:
    def test_fills_in_defaults_and_orders_faults(self) -> None:
        scenario = parse(GOOD, file="good.toml", name="good")

        assert scenario.name == "good"
        assert scenario.size.students == 12
        assert scenario.people.showers == 4
        assert scenario.people.endings == {"stop": 1, "hand_over": 1}
        assert [fault.name for fault in scenario.faults] == ["pipe", "power_cut"]
        assert scenario.faults[1].given == {"building": 1, "seconds": 3, "hard": False, "gateway": False}
        assert scenario.uplink.is_calm
        assert scenario.day is None

    def test_turns_times_of_the_day_into_seconds(self) -> None:
        day = '[day]\nfrom = "06:00"\nto = "18:00"\nlasts_s = 120\n'
        text = GOOD.replace("at_s = 2.5", 'at = "12:30"') + day

        scenario = parse(text, file="day.toml", name="day")

        assert scenario.day is not None
        assert scenario.day.factor == 360
        assert [fault.at_s for fault in scenario.faults] == [1, 65]

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("power_cut", "powercut", "bad.toml:16: no fault is called 'powercut' (did you mean 'power_cut'?)"),
            ("students", "studends", "bad.toml:7: school has no 'studends' (did you mean 'students'?)"),
            ("[people]", "[peopel]", "bad.toml:9: no section is called 'peopel' (did you mean 'people'?)"),
            ("dev_b1_102", "dev_b1_112", "bad.toml:23: device cannot be 'dev_b1_112' (did you mean 'dev_b1_102'?)"),
            ("leak_closed", "leak", "bad.toml:24: what cannot be 'leak' (did you mean 'leak_closed'?)"),
            ("building = 1\nseconds", "building = 4\nseconds",
             "bad.toml:17: building must be from 1 to 1: the school has no more buildings"),
            ("seconds = 3", "seconds = -3", "bad.toml:18: seconds must be from 0.05 to 3600, not -3"),
            ("seconds = 3", 'seconds = "3"', "bad.toml:18: seconds must be a number"),
            ("seconds = 3\n", "", "bad.toml:14: faults needs 'seconds'"),
            ("showers = 4", "showers = 4.5", "bad.toml:10: showers must be a whole number"),
            ("showers = 4", "showers = true", "bad.toml:10: showers must be a whole number"),
            ("stop = 1", "stopp = 1", "bad.toml:12: endings cannot be 'stopp' (did you mean 'stop'?)"),
            ("stop = 1, hand_over = 1", "stop = 0", "bad.toml:12: endings need at least one weight above 0"),
            ("books_balance", "book_balance",
             "bad.toml:28: no invariant is called 'book_balance' (did you mean 'books_balance'?)"),
            ('["books_balance"]', "[]", "bad.toml:28: a scenario without invariants proves nothing"),
            ("at_s = 2.5", 'at = "12:30"', "bad.toml:15: at needs a [day] that contains it"),
            ("at_s = 2.5\n", "", "bad.toml:14: a fault needs either at_s, in seconds, or at, a time of the day"),
            ("at_once = 2", "at_once = 20", "bad.toml:7: at_once and cheats need 20 students"),
            ('title = "a test"\n', "", "bad.toml:1: scenario needs 'title'"),
            ('fault = "pipe"\n', "", "bad.toml:20: a fault needs 'fault', its name"),
            ('fault = "pipe"', 'fault = ["pipe"]', "bad.toml:22: fault must be a text, its name"),
            ("at_once = 2", "at_once = 2\ncheats = { replay_code = 0.5 }",
             "bad.toml:12: cheats replay_code must be a whole number"),
            ('["books_balance"]', '["books_balance", "books_balance"]',
             "bad.toml:28: 'books_balance' is listed more than once"),
        ],
    )  # fmt: skip
    def test_says_file_line_reason_and_the_nearest_word(self, old: str, new: str, said: str) -> None:
        assert old in GOOD

        problems = wrong(GOOD.replace(old, new, 1))

        assert said in problems or any(problem.startswith(said) for problem in problems), problems

    def test_says_where_it_is_no_toml(self) -> None:
        (problem,) = wrong(GOOD.replace("seed = 3", "seed = "))

        assert problem.startswith("bad.toml:3: not TOML: ")

    def test_says_everything_that_is_wrong_at_once(self) -> None:
        problems = wrong(GOOD.replace("power_cut", "blackout").replace("showers", "baths").replace("3", "-3"))

        assert len(problems) >= 3

    def test_refuses_faults_that_are_no_tables(self) -> None:
        text = "faults = [1, 2]\n" + GOOD[: GOOD.index("[[faults]]")] + GOOD[GOOD.index("[ends]") :]

        assert wrong(text) == ["bad.toml:1: faults are written as [[faults]]"]

    def test_refuses_a_day_that_ends_before_it_begins(self) -> None:
        (problem,) = wrong(GOOD + '[day]\nfrom = "18:00"\nto = "06:00"\nlasts_s = 60\n')

        assert problem == "bad.toml:31: to must be after from"

    @pytest.mark.parametrize("clock", ["25:00", "24:01", "6:00", "noon", "06:60"])
    def test_refuses_times_no_clock_shows(self, clock: str) -> None:
        (problem,) = wrong(GOOD + f'[day]\nfrom = "{clock}"\nto = "23:00"\nlasts_s = 60\n')

        assert problem == 'bad.toml:30: from must be a time of the day like "21:40"'


class TestLineNoise:
    def noisy(self, settings: str) -> str:
        return f'{GOOD}\n[[faults]]\nat_s = 1\nfault = "line_noise"\nseconds = 2\n{settings}\n'

    def test_takes_every_kind_there_is_on_a_line_or_on_the_wire_to_one_device(self) -> None:
        kinds = {each.name for each in fields(Noise)}
        shares = "\n".join(f"{name} = 0.1" for name in sorted(kinds - {"ber", "late_ms", "dead"}))
        text = self.noisy(f'device = "dev_b1_101"\nber = 0.0001\nlate_ms = 80\ndead = true\n{shares}')

        (fault,) = [each for each in parse(text, file="n.toml", name="n").faults if each.name == "line_noise"]

        assert {name for name in fault.given if name not in ("device", "seconds")} == kinds
        assert noise_of({name: fault.given[name] for name in kinds}).babbling == 0.1

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ("building = 1\nglewed = 0.1", "bad.toml:35: faults has no 'glewed' (did you mean 'glued'?)"),
            ("building = 1\ntruncated = 1.5", "bad.toml:35: truncated must be from 0 to 1, not 1.5"),
            ("building = 1\nber = 0.5", "bad.toml:35: ber must be from 0 to 0.01, not 0.5"),
            ("building = 1\nlate_ms = 99999\nlate = 0.1", "bad.toml:35: late_ms must be from 0 to 60000, not 99999"),
            ('building = 1\necho = "yes"', "bad.toml:35: faults has no 'echo' (did you mean 'echoed'?)"),
            ("building = 1\ndead = 1", "bad.toml:35: dead must be true or false"),
            ("lost = 0.1", "bad.toml:30: line_noise needs 'building', a whole line, or 'device', the wire to one"),
            ("building = 1",
             "bad.toml:30: line_noise that disturbs nothing (give one of ber, lost_request, lost, late, duplicated, "
             "truncated, echoed, glued, wrong_unit, babbling, dead)"),
            ('building = 1\ndevice = "dev_b1_101"\nlost = 0.1',
             "bad.toml:35: line_noise is about a building or a device, not both (leave one of them out)"),
        ],
    )  # fmt: skip
    def test_says_what_cannot_be(self, settings: str, said: str) -> None:
        assert said in wrong(self.noisy(settings))

    def test_of_meters_that_open_nothing_needs_a_floor_of_them(self) -> None:
        text = GOOD.replace("at_once = 2", "at_once = 2\ncheats = { meter_only = 1 }")

        assert wrong(text) == ["bad.toml:12: meter_only needs a floor of other makers' devices (makers_floor = true)"]


class TestLinesOf:
    def test_finds_tables_arrays_and_keys(self) -> None:
        lines = lines_of(GOOD)

        assert lines["school", "students"] == 7
        assert lines["faults", 0] == 14
        assert lines["faults", 1, "what"] == 24


class TestLoad:
    def test_finds_ours_by_name_and_others_by_path(self, tmp_path: Path) -> None:
        (tmp_path / "mine.toml").write_text(GOOD, encoding="utf-8")

        assert load("one-tap").name == "one-tap"
        assert load(str(tmp_path / "mine.toml")).name == "mine"

    @pytest.mark.parametrize(
        ("name", "said"), [("one-top", "did you mean 'one-tap'?"), ("nowhere/x.toml", "cannot be read")]
    )
    def test_says_what_there_is_when_there_is_none(self, name: str, said: str) -> None:
        with pytest.raises(ScenarioWrong, match=said.replace("?", r"\?")):
            load(name)

    def test_refuses_a_file_that_is_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "bad.toml").write_bytes(b"\xff\xfe[scenario]")

        with pytest.raises(ScenarioWrong, match="cannot be read"):
            load(str(tmp_path / "bad.toml"))


class TestOurs:
    def test_are_those_that_were_promised_and_end_with_invariants(self) -> None:
        ours = {scenario.name: scenario for scenario in all_scenarios()}

        assert sorted(ours) == [
            "campus-day", "cheaters", "dorm-block", "evening-peak", "flaky-uplink", "makers-floor", "one-tap",
            "power-cut", "provider-outage",
        ]  # fmt: skip
        core = {"books_balance", "captured_within_hold", "nothing_held", "every_pulse_explained", "valves_shut"}
        assert all(core <= set(scenario.invariants) for scenario in ours.values())
        assert ours["campus-day"].day is not None

    def test_use_every_kind_of_cheat_and_most_faults(self) -> None:
        used = {fault.name for scenario in all_scenarios() for fault in scenario.faults}

        assert used <= set(FAULTS)
        assert {"power_cut", "brown_out", "reset", "clock_drift", "clock_loss", "uplink_cut", "provider_outage"} <= used

    def test_are_packaged_as_files(self) -> None:
        assert (FOLDER / "campus-day.toml").is_file()
        assert len(INVARIANTS) == 16
