"""
What the outlet controller promises, asked by independent peers over TCP and a serial line: commands happen once, limits
hold without anybody's help, the log loses nothing and repeats nothing, whatever happens to replies and power.
"""

import itertools
from collections.abc import Callable

import pytest

from tests.contract.conformance.outlet import GENEROUS, LOG_AT, MAP, Outlet, number_of
from tests.contract.conformance.targets import OUTLET, SimTarget
from tests.contract.conformance.voices import FEW, Silent, Voice, ask, refusal

Meet = Callable[[str, str], tuple[SimTarget, Voice]]
pytestmark = pytest.mark.parametrize(("peer", "transport"), FEW, ids=["-".join(pair) for pair in FEW])

K_FACTOR = 450_000
SESSIONS_IN_A_FULL_LOG = 59  # 120 places for openings, one taken by a boot


def volume_ml(pulses: int) -> int:
    return pulses * 1_000_000 // K_FACTOR


class TestCommands:
    def test_open_once_however_often_the_frame_comes(self, meet: Meet, peer: str, transport: str) -> None:
        target, voice = meet(peer, transport)
        outlet = Outlet(voice)
        frame = outlet.frame("OPEN", **GENEROUS)

        assert outlet.send(frame) in (("DONE", 0), ("DUPLICATE", 2))
        target.run(3_000, polled=True)
        pulses = outlet.value("sess_pulses")
        assert outlet.send(frame) == ("DUPLICATE", MAP.code("result", "DONE"))

        assert pulses > 0
        assert outlet.value("sess_pulses") == pulses
        assert outlet.value("valve_cycles") == 1
        assert [entry.kind for entry in outlet.log(outlet.value("log_ack") + 1)] == ["START"]

    def test_open_once_when_the_reply_is_lost_and_the_peer_tries_again(
        self, meet: Meet, peer: str, transport: str
    ) -> None:
        target, voice = meet(peer, transport)
        outlet = Outlet(voice)
        frame = outlet.frame("OPEN", **GENEROUS)
        target.lose_replies(1)

        with pytest.raises(Silent):
            outlet.send_in_vain(frame)
        target.run(2_000, polled=True)

        assert outlet.send(frame) == ("DUPLICATE", MAP.code("result", "DONE"))
        assert outlet.value("session_id") == 7
        assert outlet.value("valve_cycles") == 1
        assert [entry.kind for entry in outlet.log(outlet.value("log_ack") + 1)] == ["START"]

    def test_do_not_open_again_what_has_closed_when_the_frame_comes_late(
        self, meet: Meet, peer: str, transport: str
    ) -> None:
        target, voice = meet(peer, transport)
        outlet = Outlet(voice)
        frame = outlet.frame("OPEN", **GENEROUS)
        outlet.send(frame)
        target.run(1_000, polled=True)
        outlet.command("CLOSE", session=7)
        target.run(1_000, polled=True)

        again, detail = outlet.send(frame)
        fresh = outlet.open()

        assert (again, MAP.enums["result"][detail]) == ("DUPLICATE", "DONE")
        assert fresh == ("BAD_STATE", 0)  # the same session never twice
        assert outlet.value("valve_pos") == 0
        assert [session for session, _, _ in outlet.ends()] == [7]

    def test_are_all_or_nothing(self, meet: Meet, peer: str, transport: str) -> None:
        _, voice = meet(peer, transport)
        outlet = Outlet(voice)
        frame = outlet.frame("OPEN", **GENEROUS)
        no_commit = [*frame[:-1], frame[-1] ^ 1]

        refusals = [
            refusal(voice, OUTLET, 16, 256, 18, frame[:18]),
            refusal(voice, OUTLET, 16, 257, 18, frame[1:]),
            refusal(voice, OUTLET, 16, 256, 19, no_commit),
            refusal(voice, OUTLET, 16, 256, 19, [0, *frame[1:-1], 0xA5C3]),
            refusal(voice, OUTLET, 23, 256, 1, [288, 8, *frame[:18]]),
            refusal(voice, OUTLET, 6, 274, 1, [frame[-1]]),
        ]

        assert refusals == [3] * 6
        assert outlet.label("state", "state") == "IDLE"
        assert outlet.value("valve_cycles") == 0

    def test_that_come_too_late_are_void(self, meet: Meet, peer: str, transport: str) -> None:
        _, voice = meet(peer, transport)
        outlet = Outlet(voice)
        now_s = outlet.value("unix_time")

        assert outlet.open(not_after=now_s)[0] == "EXPIRED"
        assert outlet.open(not_after=now_s + 2) == ("DONE", 0)


class TestSnapshot:
    def test_read_in_two_parts_shows_that_it_is_torn(self, meet: Meet, peer: str, transport: str) -> None:
        target, voice = meet(peer, transport)
        Outlet(voice).open()
        front = ask(voice, OUTLET, 4, 100, 14)
        target.run(1_000, polled=True)
        back = ask(voice, OUTLET, 4, 114, 14)

        assert front[0] != back[-1]

    def test_read_as_a_whole_is_of_one_moment(self, meet: Meet, peer: str, transport: str) -> None:
        target, voice = meet(peer, transport)
        outlet = Outlet(voice)
        outlet.open()
        seen = set()

        for _ in range(30):
            target.run(350, polled=True)
            words = ask(voice, OUTLET, 4, 100, 28)
            pulses, volume = number_of(words[8:10]), number_of(words[10:12])
            assert words[0] == words[27]
            assert volume == volume_ml(pulses)
            seen.add(pulses)

        assert len(seen) > 20


class TestBounds:
    """Each closes the valve with nobody's help, and within what the profile promises."""

    def run_until_closed(self, target: SimTarget, outlet: Outlet, *, polled: bool = True, step_ms: int = 50) -> int:
        waited_ms = 0
        while target.bench.outlet.valve_drive:
            assert waited_ms < 700_000
            target.run(step_ms, polled=polled)
            waited_ms += step_ms
        target.run(1_000, polled=True)
        assert outlet.value("valve_pos") == 0
        return waited_ms

    def test_of_volume(self, meet: Meet, peer: str, transport: str) -> None:
        target, voice = meet(peer, transport)
        outlet = Outlet(voice)
        target.set(lpm=12.0)
        outlet.open(limit_volume=2_000)

        self.run_until_closed(target, outlet)

        ((session, reason, pulses),) = outlet.ends()
        assert (session, reason) == (7, "VOLUME_LIMIT")
        assert 2_000 <= volume_ml(pulses) <= 2_100

    def test_of_time(self, meet: Meet, peer: str, transport: str) -> None:
        target, voice = meet(peer, transport)
        outlet = Outlet(voice)
        outlet.open(limit_time=20)

        assert 20_000 <= self.run_until_closed(target, outlet) <= 20_100
        assert outlet.ends()[0][1] == "TIME_LIMIT"

    def test_of_the_lease_however_much_is_polled(self, meet: Meet, peer: str, transport: str) -> None:
        target, voice = meet(peer, transport)
        outlet = Outlet(voice)
        outlet.open(lease=15)
        target.run(10_000, polled=True)
        assert outlet.command("EXTEND", session=7, lease=15) == ("DONE", 0)

        assert 15_000 <= self.run_until_closed(target, outlet) <= 15_100
        assert outlet.ends()[0][1] == "LEASE"
        assert "LEASE_EXPIRED" in outlet.faults()

    def test_of_the_poll_watchdog_however_long_the_lease(self, meet: Meet, peer: str, transport: str) -> None:
        target, voice = meet(peer, transport)
        outlet = Outlet(voice)
        outlet.open(lease=600)

        assert 30_000 <= self.run_until_closed(target, outlet, polled=False) <= 30_100
        assert outlet.ends()[0][1] == "COMM_WATCHDOG"

    def test_of_heat_and_it_stays_shut_until_cool(self, meet: Meet, peer: str, transport: str) -> None:
        target, voice = meet(peer, transport)
        outlet = Outlet(voice)
        outlet.open()
        target.run(2_000, polled=True)
        target.set(temp=490)

        assert 2_000 <= self.run_until_closed(target, outlet) <= 2_100
        assert outlet.ends()[0][1] == "SCALD"
        assert outlet.label("state", "state") == "LOCKED"
        assert outlet.open(session=8)[0] == "FAULTED"
        target.set(temp=420)
        target.run(200, polled=True)
        assert outlet.open(session=8) == ("DONE", 0)

    def test_of_idleness(self, meet: Meet, peer: str, transport: str) -> None:
        target, voice = meet(peer, transport)
        outlet = Outlet(voice)
        outlet.open(idle=10)
        target.run(2_000, polled=True)
        target.set(mixer_open=False)

        assert 9_900 <= self.run_until_closed(target, outlet) <= 10_100
        assert outlet.ends()[0][1] == "NO_FLOW"


def shower(target: SimTarget, outlet: Outlet, session: int) -> str:
    """Open, let run for a moment and close; return what the opening was answered."""
    code, _ = outlet.open(session=session)
    if code == "DONE":
        target.run(500, polled=True)
        outlet.command("CLOSE", session=session)
        target.run(1_000, polled=True)
    return code


class TestLog:
    def test_wraps_without_a_gap_when_it_is_acknowledged(self, meet: Meet, peer: str, transport: str) -> None:
        target, voice = meet(peer, transport)
        outlet = Outlet(voice)
        seen, cursor = [], outlet.value("log_head") + 1
        first = cursor

        for session in range(1, 81):  # two records each: more than the ring holds
            assert shower(target, outlet, session) == "DONE"
            if session % 20 == 0:
                page = outlet.log(cursor)
                seen += page
                cursor = page[-1].sequence + 1
                outlet.acknowledge()

        assert [entry.sequence for entry in seen] == list(range(first, first + len(seen)))
        assert [entry.session for entry in seen if entry.kind == "END"] == list(range(1, 81))
        ends = [entry for entry in seen if entry.kind == "END"]
        assert all(later.total - later.pulses == end.total for end, later in itertools.pairwise(ends))

    def test_refuses_openings_rather_than_lose_an_end_when_nobody_acknowledges(
        self, meet: Meet, peer: str, transport: str
    ) -> None:
        target, voice = meet(peer, transport)
        outlet = Outlet(voice)
        first = outlet.value("log_ack") + 1
        answers = [shower(target, outlet, session) for session in range(1, SESSIONS_IN_A_FULL_LOG + 4)]
        done = answers.count("DONE")

        assert answers == ["DONE"] * done + ["LOG_FULL"] * (len(answers) - done)
        assert len(answers) > done >= SESSIONS_IN_A_FULL_LOG
        entries = outlet.log(first)
        assert [entry.sequence for entry in entries] == list(range(first, first + len(entries)))
        assert [entry.session for entry in entries if entry.kind == "END"] == list(range(1, done + 1))
        outlet.acknowledge()
        assert shower(target, outlet, 1_000) == "DONE"

    def test_acknowledgements_only_grow(self, meet: Meet, peer: str, transport: str) -> None:
        target, voice = meet(peer, transport)
        outlet = Outlet(voice)
        shower(target, outlet, 1)
        head = outlet.value("log_head")

        outlet.acknowledge()
        outlet.write("log_ack", 0)

        assert outlet.value("log_ack") == head
        assert refusal(voice, OUTLET, 16, 64, 2, [0, head + 1]) == 3
        assert number_of(ask(voice, OUTLET, 3, LOG_AT + 2, 2)) == head


class TestPowerCut:
    def life(self, target: SimTarget, outlet: Outlet) -> None:
        """Live through two sessions, as far as there is power."""
        try:
            for session in (7, 8):
                outlet.send_in_vain(outlet.frame("OPEN", **{**GENEROUS, "session": session}))
                target.run(9_000, polled=True)
                outlet.send_in_vain(outlet.frame("CLOSE", session=session))
                target.run(1_000, polled=True)
        except Silent:
            target.cut_power()

    @pytest.mark.parametrize("keep", [False, True], ids=["before the save", "after the save"])
    def test_at_every_save_leaves_each_session_one_end(self, meet: Meet, peer: str, transport: str, keep: bool) -> None:
        target, voice = meet(peer, transport)
        outlet = Outlet(voice)
        cuts = 0
        while True:
            target.renew()
            target.cut_power_at(cuts + 1, keep=keep)
            self.life(target, outlet)
            if target.line.has_power:
                break
            cuts += 1
            target.power_up()

            entries = outlet.log()
            started = [entry.session for entry in entries if entry.kind == "START"]
            ended = [entry.session for entry in entries if entry.kind == "END"]
            assert started == ended == sorted(set(ended))
            assert [entry.sequence for entry in entries] == list(range(1, len(entries) + 1))
            assert outlet.value("valve_pos") == 0
            assert outlet.label("state", "state") == "IDLE"
            ends = [entry for entry in entries if entry.kind == "END"]
            assert all(later.total - later.pulses >= end.total for end, later in itertools.pairwise(ends))

        assert cuts >= 6  # two openings, two ends, and a slot for each liter in between
        assert [session for session, _, _ in outlet.ends()] == [7, 8]
