"""Commands that must not be obeyed, and readers that ask, at a real gateway process behind a real broker."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.contract.commands import CloseValve, GrantPassage, OpenValve
from gateway.contract.events import CommandRefused, MeterRead, PassageCounted, ValveOpened, WaterSessionEnded
from gateway.contract.messages import CredentialPresented, Decision
from gateway.contract.signing import Signed
from gateway.contract.topics import Down
from gateway.kit import now_ms
from tests.fakes.gateway_backend import FakeBackend
from tests.fakes.gateway_site import GatewaySite, wait_until


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewaySite]:
    folder: Path = tmp_path_factory.mktemp("gateway-commands")
    site = GatewaySite(folder, broker="iotcore")
    site.start_broker()
    site.start_simulator()
    yield site
    site.stop()


@pytest.fixture(scope="module")
def backend(site: GatewaySite) -> Iterator[FakeBackend]:
    backend = site.backend()
    site.start_gateway()
    backend.wait(lambda: len(backend.events(MeterRead)) >= 2)
    yield backend
    backend.stop()


def opening(session: str) -> OpenValve:
    return OpenValve(water_session_id=session, volume_limit_ml=50_000, duration_limit_s=300)


def refused(backend: FakeBackend, code: str, before: int) -> CommandRefused:
    """Return the first refusal with a code that came after the first `before` ones."""
    found: CommandRefused = backend.wait(
        lambda: next((e for e in backend.events(CommandRefused)[before:] if e.code == code), None)
    )
    return found


class TestRefusals:
    @pytest.mark.parametrize(
        ("code", "changes"),
        [
            ("bad_signature", {"key": Ed25519PrivateKey.generate()}),
            ("wrong_audience", {"gateway": "gw_other"}),
            ("wrong_audience", {"tenant": "elsewhere"}),
            ("unknown_device", {"device": "dev_none"}),
            ("expired", {"issued_at_ms": now_ms() - 60_000, "not_after_ms": now_ms() - 40_000}),
            ("expired", {"not_after_ms": now_ms() + 3_600_000}),
            ("clock_skew", {"issued_at_ms": now_ms() + 3_600_000, "not_after_ms": now_ms() + 3_620_000}),
            ("stale_sequence", {"sequence": 0}),
        ],
    )
    def test_are_reported_and_nothing_opens(
        self, site: GatewaySite, backend: FakeBackend, code: str, changes: dict[str, Any]
    ) -> None:
        before = len(backend.events(CommandRefused))

        backend.command("dev_o1", opening("ws_bad"), **changes)

        refused(backend, code, before)
        assert not site.state("dev_o1")["valve_open"]

    def test_unsigned(self, site: GatewaySite, backend: FakeBackend) -> None:
        before = len(backend.events(CommandRefused))
        good = backend.signed("dev_o1", opening("ws_bad"))

        backend.send_signed(Signed(kid=good.kid, payload=good.payload, signature=""))

        assert refused(backend, "unsigned", before).subject_id == ""
        assert not site.state("dev_o1")["valve_open"]

    @pytest.mark.parametrize("payload", [b"", b"{", b"\xff\xfe", b'{"signed": 1}', b"[]" * 1000])
    def test_malformed(self, site: GatewaySite, backend: FakeBackend, payload: bytes) -> None:
        before = len(backend.events(CommandRefused))

        backend.send(Down.COMMAND, payload)

        refused(backend, "malformed", before)
        assert not site.state("dev_o1")["valve_open"]

    def test_malformed_answers_and_acknowledgements_are_counted(self, site: GatewaySite, backend: FakeBackend) -> None:
        before = max(report.rejected_messages for report in backend.health)

        backend.send(Down.DECISION, b"{")
        backend.send(Down.ACK, b"nothing")
        backend.command("dev_o2", opening("ws_counted"))  # a change of state has the next report sent at once

        backend.wait(lambda: backend.health[-1].rejected_messages >= before + 2)
        backend.command("dev_o2", CloseValve(water_session_id="ws_counted"))
        backend.wait_for_event(WaterSessionEnded, water_session_id="ws_counted")


class TestRetained:
    def test_is_refused_when_a_gateway_comes_back_to_it(self, site: GatewaySite, backend: FakeBackend) -> None:
        before = len(backend.events(CommandRefused))
        site.kill("gateway")
        backend.command("dev_o1", opening("ws_retained"), retain=True)

        site.start_gateway()

        refused(backend, "retained", before)
        backend.send(Down.COMMAND, b"", retain=True)
        refused(backend, "malformed", before)
        assert not site.state("dev_o1")["valve_open"]
        backend.wait(lambda: {device.state for device in backend.health[-1].devices} == {"online"})


class TestRepeats:
    def test_a_redelivered_command_neither_opens_twice_nor_is_refused(
        self, site: GatewaySite, backend: FakeBackend
    ) -> None:
        before = len(backend.events(CommandRefused))
        signed = backend.command("dev_o1", opening("ws_once"))
        backend.wait_for_event(ValveOpened, water_session_id="ws_once")

        for _ in range(3):
            backend.send_signed(signed)
        backend.command("dev_o1", CloseValve(water_session_id="ws_once"))
        backend.wait_for_event(WaterSessionEnded, water_session_id="ws_once")
        backend.send_signed(signed)
        backend.command("dev_o1", CloseValve(water_session_id="ws_never"), gateway="gw_other")
        refused(backend, "wrong_audience", before)

        assert len([e for e in backend.events(ValveOpened) if e.water_session_id == "ws_once"]) == 1
        assert not [e for e in backend.events(CommandRefused)[before:] if e.subject_id == "ws_once"]
        assert not site.state("dev_o1")["valve_open"]

    def test_commands_out_of_order_leave_the_valve_closed(self, site: GatewaySite, backend: FakeBackend) -> None:
        before = len(backend.events(CommandRefused))
        first = backend.signed("dev_o1", opening("ws_late"))
        second = backend.signed("dev_o1", CloseValve(water_session_id="ws_late"))

        backend.send_signed(second)
        backend.send_signed(first)

        assert refused(backend, "stale_sequence", before).subject_id == "ws_late"
        assert not site.state("dev_o1")["valve_open"]

    def test_a_second_opening_is_refused_while_one_runs(self, site: GatewaySite, backend: FakeBackend) -> None:
        before = len(backend.events(CommandRefused))
        backend.command("dev_o1", opening("ws_a"))
        backend.wait_for_event(ValveOpened, water_session_id="ws_a")

        backend.command("dev_o1", opening("ws_b"))

        assert refused(backend, "busy", before).subject_id == "ws_b"
        backend.command("dev_o1", CloseValve(water_session_id="ws_a"))
        backend.wait_for_event(WaterSessionEnded, water_session_id="ws_a")


class TestReaders:
    def test_a_tap_is_asked_about_and_its_answer_opens(self, site: GatewaySite, backend: FakeBackend) -> None:
        def decide(question: CredentialPresented) -> Decision:
            command = backend.signed(question.device, opening("ws_tap"))
            return Decision(
                request_id=question.request_id,
                device=question.device,
                granted=True,
                reason="ok",
                display="请用水",
                command=command,
            )

        backend.decide = decide
        site.do(do="tap", device="dev_o2", uid="04A1B2C3D4E5F6")

        opened = backend.wait_for_event(ValveOpened, water_session_id="ws_tap")
        assert opened.device == "dev_o2"
        question = backend.presented[-1]
        assert (question.kind, question.value) == ("uid", "04A1B2C3D4E5F6")
        wait_until(lambda: not site.state("dev_o2")["mailbox_pending"], why="for the mailbox to be emptied")

        backend.decide = lambda question: None
        site.do(do="tap", device="dev_o2", uid="04A1B2C3D4E5F6")
        backend.wait(lambda: backend.presented[-1].request_id != question.request_id)
        backend.command("dev_o2", CloseValve(water_session_id="ws_tap", stop_reason="card"))
        assert backend.wait_for_event(WaterSessionEnded, water_session_id="ws_tap").stop_reason == "card"

    def test_an_answer_nobody_asked_for_opens_nothing(self, site: GatewaySite, backend: FakeBackend) -> None:
        before = len(backend.events(CommandRefused))
        command = backend.signed("dev_o1", opening("ws_unasked"))
        answer = Decision(request_id="rq_none", device="dev_o1", granted=True, reason="ok", command=command)

        backend.send(Down.DECISION, msgspec.json.encode(answer))

        assert refused(backend, "expired", before).subject_id == "ws_unasked"
        assert not site.state("dev_o1")["valve_open"]

    def test_a_door_lets_one_through_and_counts_the_passage(self, site: GatewaySite, backend: FakeBackend) -> None:
        def decide(question: CredentialPresented) -> Decision:
            passage = GrantPassage(passage_id="pg_1", direction=question.direction)
            command = backend.signed(question.device, passage)
            return Decision(
                request_id=question.request_id, device=question.device, granted=True, reason="ok", command=command
            )

        backend.decide = decide
        site.do(do="code", device="dev_d1", text="SC1.abc")
        wait_until(lambda: site.state("dev_d1")["state"] == "granted_in", why="for the door")
        site.do(do="pass", device="dev_d1", direction="in")

        counted = backend.wait_for_event(PassageCounted, passage_id="pg_1")
        assert (counted.outcome, counted.direction) == ("passed", "in")
        assert backend.presented[-1].value == "SC1.abc"

    def test_a_grant_nobody_uses_times_out(self, site: GatewaySite, backend: FakeBackend) -> None:
        backend.decide = lambda question: None
        backend.command("dev_d1", GrantPassage(passage_id="pg_2", direction="out", open_ms=600))

        counted = backend.wait_for_event(PassageCounted, passage_id="pg_2")

        assert (counted.outcome, counted.direction) == ("timeout", "out")

    def test_a_forced_door_is_counted_without_a_grant(self, site: GatewaySite, backend: FakeBackend) -> None:
        site.do(do="pass", device="dev_d1", direction="in", force=True)

        counted = backend.wait_for_event(PassageCounted, outcome="forced")

        assert counted.passage_id == ""
