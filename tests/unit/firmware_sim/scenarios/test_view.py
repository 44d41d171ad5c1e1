"""What a watcher sees, and what a log file gets."""

import io

import pytest
from rich.console import Console
from rich.markup import escape

from firmware_sim.scenarios.view import View


def shown(*, is_live: bool, steps: list[str]) -> str:
    out = io.StringIO()
    view = View(Console(file=out, width=100, force_terminal=is_live), "a-test, seed 7", is_live)
    with view.shown(len(steps)):
        for number, step in enumerate(steps):
            view.counts.settled, view.counts.wrong = number, number
            view.step(step)
    return out.getvalue()


class TestView:
    def test_shows_counts_bar_and_the_latest_events_to_a_watcher(self) -> None:
        text = shown(is_live=True, steps=[f"step {number}" for number in range(12)])

        assert "a-test, seed 7" in text
        assert "12/12" in text
        assert "violations" in text
        last = text[text.rindex("╭") :]
        assert "step 11" in last
        assert "step 3" not in last

    def test_writes_a_line_an_event_to_a_file(self) -> None:
        text = shown(is_live=False, steps=["one", "two"])

        assert "  one\n" in text
        assert "  two\n" in text

    @pytest.mark.parametrize("is_live", [True, False])
    def test_shows_what_devices_say_as_it_is(self, is_live: bool) -> None:
        assert "[/tmp] closed [bold]" in shown(is_live=is_live, steps=[escape("[/tmp] closed [bold]")])

    def test_fits_a_narrow_terminal(self) -> None:
        console = Console(width=80, record=True, force_terminal=True, file=io.StringIO())
        view = View(console, "campus-day, seed 7", is_live=True)
        view.counts.relay, view.counts.steps = "12 twice, 13 cut", 10_000

        with view.shown(3):
            view.step("somebody showers")

        said = console.export_text()
        assert all(word in said for word in ("showering", "violations", "uplink", "12 twice, 13 cut"))
