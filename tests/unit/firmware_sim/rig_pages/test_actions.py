"""Hands reach the control port only with what hands can do."""

import pytest

from firmware_sim.rig.actions import FAULTS, NoSuchAction, request_for
from firmware_sim.rig.words import TERMS, WORDS, pick, term


class TestRequestFor:
    @pytest.mark.parametrize(
        ("form", "request_"),
        [
            ({"action": "tap", "card": "04AB", "uid": ""}, {"do": "tap", "uid": "04AB"}),
            ({"action": "tap", "card": "04AB", "uid": "04:DE ad"}, {"do": "tap", "uid": "04DEad"}),
            ({"action": "show_code", "code": "SC1." + "x" * 900}, {"do": "code", "text": "SC1." + "x" * 204}),
            ({"action": "unplug"}, {"do": "fault", "fault": "sensor_unplugged", "on": True}),
            ({"action": "plug"}, {"do": "fault", "fault": "sensor_unplugged", "on": False}),
            ({"action": "pull"}, {"do": "power_cut", "seconds": 5}),
            ({"action": "break", "fault": "leak_closed"}, {"do": "fault", "fault": "leak_closed", "on": True}),
            ({"action": "mend", "fault": "leak_closed"}, {"do": "fault", "fault": "leak_closed", "on": False}),
            ({"action": "walk_in"}, {"do": "pass", "direction": "in"}),
        ],
    )
    def test_makes_the_request(self, form: dict[str, str], request_: dict[str, object]) -> None:
        assert request_for({"device": "dev_1", **form}) == {"device": "dev_1", **request_}

    @pytest.mark.parametrize(
        "form", [{}, {"action": "dance"}, {"action": "break", "fault": "world"}, {"action": "break"}]
    )
    def test_refuses_what_no_hand_can_do(self, form: dict[str, str]) -> None:
        with pytest.raises(NoSuchAction):
            request_for(form)


class TestWords:
    def test_are_there_in_both_languages(self) -> None:
        assert all(chinese and english for chinese, english in [*WORDS.values(), *TERMS.values()])

    def test_name_every_fault_a_person_can_make(self) -> None:
        assert set(FAULTS) <= set(TERMS)

    @pytest.mark.parametrize(
        ("name", "language", "word"),
        [("DISPENSING", "en", "water is running"), ("idle", "zh", "空闲"), ("new_thing", "zh", "new thing")],
    )
    def test_turn_what_devices_say_into_words(self, name: str, language: str, word: str) -> None:
        assert term(name, language) == word

    def test_pick_a_language(self) -> None:
        assert [pick(("一", "one"), language) for language in ("zh", "en")] == ["一", "one"]
