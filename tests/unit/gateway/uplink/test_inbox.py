import asyncio
import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.contract.commands import Command, OpenValve
from gateway.contract.events import CommandRefused
from gateway.contract.faults import FaultCode
from gateway.contract.messages import Acknowledged, CommandMessage, CredentialKind, CredentialPresented, Decision
from gateway.contract.signing import Signed, sign
from gateway.kit import Trace
from gateway.uplink import inbox as inbox_module
from gateway.uplink.client import Received
from gateway.uplink.inbox import Inbox
from gateway.uplink.outbox import QUESTION_AGE_MS_MAX, Outbox
from gateway.uplink.own_faults import OwnFaults
from gateway.uplink.verification import Audience
from tests.fakes.gateway_port import Bench
from tests.unit.gateway.uplink.test_journal import reading
from tests.unit.gateway.uplink.test_outbox import FakePublisher
from tests.unit.gateway.uplink.test_store import fill, make_room

KEY = Ed25519PrivateKey.generate()
TOPIC = "ct/v1/school/gw/down/"


class Desk:
    """An inbox in front of one outlet."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder)
        self.own_faults = OwnFaults(
            self.bench.store, clock=lambda: self.bench.now_ms, rows_max=1_000, records_per_session=4
        )
        self.inbox = Inbox(
            audience=Audience(tenant="school", gateway="gw", devices=frozenset({"dev_o1"})),
            keys={"k1": KEY.public_key()},
            controllers={"dev_o1": self.bench.controller},
            store=self.bench.store,
            outbox=Outbox(FakePublisher(), self.bench.store, tenant="school", gateway="gw", key=KEY, resend_s=5),
            own_faults=self.own_faults,
            clock=lambda: self.bench.now_ms,
            trace=Trace(None),
            not_before_ms=0,
        )

    def signed(self, **changes: Any) -> Signed:
        command = Command(
            cmd_id="cmd_1",
            tenant="school",
            gateway="gw",
            device="dev_o1",
            sequence=1,
            issued_at_ms=self.bench.now_ms,
            not_after_ms=self.bench.now_ms + 20_000,
            body=OpenValve(water_session_id="ws_1", volume_limit_ml=1_000, duration_limit_s=60),
        )
        return sign(msgspec.structs.replace(command, **changes), key=KEY, kid="k1")

    def handle(self, *messages: Received) -> None:
        async def work() -> None:
            for message in messages:
                await self.inbox.handle(message)

        asyncio.run(work())

    def refusals(self) -> list[str]:
        return [event.code.value for event in self.bench.events() if isinstance(event, CommandRefused)]

    def queued(self) -> int:
        return self.bench.controller._orders.qsize()


def message(payload: bytes, kind: str = "command", *, retained: bool = False, topic: str = "") -> Received:
    return Received(topic=topic or TOPIC + kind, payload=payload, retained=retained, correlation=b"")


def wrapped(signed: Signed) -> bytes:
    return msgspec.json.encode(CommandMessage(signed=signed))


def acknowledgement(
    *,
    epoch: str = "e",
    acked_through: int = 1,
    key: Ed25519PrivateKey = KEY,
    kid: str = "k1",
    signature: str | None = None,
) -> bytes:
    signed = sign(Acknowledged(epoch=epoch, acked_through=acked_through), key=key, kid=kid)
    return msgspec.json.encode(msgspec.structs.replace(signed, signature=signed.signature if signature is None else ""))


#: deeper than any message
NESTED = b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
ANSWER = msgspec.json.encode(Decision(request_id="rq_1", device="dev_o1", granted=True, reason="ok", display="请用水"))


class TestAcknowledgements:
    def told(self, desk: Desk) -> str:
        with desk.bench.store.transaction() as tx:
            for number in range(3):
                tx.journal.append(reading(number))
            return tx.journal.head().epoch

    def test_a_signed_one_forgets_what_it_names(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path)
        epoch = self.told(desk)
        desk.handle(message(acknowledgement(epoch=epoch, acked_through=2), "ack"))
        assert len(desk.bench.events()) == 1

    @pytest.mark.parametrize(
        ("spoiled", "retained"),
        [
            ({}, True),
            ({"signature": ""}, False),
            ({"key": Ed25519PrivateKey.generate()}, False),
            ({"kid": "gw"}, False),
        ],
    )
    def test_no_other_makes_it_forget_anything(self, tmp_path: Path, spoiled: dict[str, Any], retained: bool) -> None:
        desk = Desk(tmp_path)
        epoch = self.told(desk)
        for through in (2, 3, 1_000):
            payload = acknowledgement(epoch=epoch, acked_through=through, **spoiled)
            desk.handle(message(payload, "ack", retained=retained))
        with desk.bench.store.transaction() as tx:
            assert (tx.journal.count_waiting(), tx.journal.head().epoch) == (3, epoch)
        assert desk.inbox.rejected.total() == 3


class TestCommands:
    def test_reach_their_device_once_however_often_they_come(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path)
        payload = wrapped(desk.signed())
        desk.handle(*[message(payload)] * 5)
        assert (desk.queued(), desk.inbox.duplicates, desk.refusals()) == (1, 4, [])

    def test_a_late_replay_is_reported_without_ids(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path)
        payload = wrapped(desk.signed())
        desk.handle(message(payload))
        desk.bench.now_ms += 60_000
        desk.handle(message(payload))
        (refusal,) = [event for event in desk.bench.events() if isinstance(event, CommandRefused)]
        assert (refusal.code, refusal.cmd_id, refusal.subject_id) == ("stale_sequence", "", "")

    def test_a_retained_one_is_refused(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path)
        desk.handle(message(wrapped(desk.signed()), retained=True))
        assert (desk.queued(), desk.refusals()) == (0, ["retained"])

    def test_a_refused_one_is_refused_once(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path)
        late = wrapped(desk.signed(issued_at_ms=1, not_after_ms=2))
        desk.handle(message(late))
        assert (desk.refusals(), desk.inbox.rejected["expired"]) == (["expired"], 1)

    def test_a_refused_one_is_refused_once_across_a_restart(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path)
        future = desk.signed(issued_at_ms=desk.bench.now_ms + 9_000, not_after_ms=desk.bench.now_ms + 60_000)
        desk.handle(message(wrapped(future)))
        assert desk.refusals() == ["clock_skew"]
        desk.bench.store.close()

        again = Desk(tmp_path)
        again.bench.now_ms += 9_000  # so that it would be obeyed now
        again.handle(message(wrapped(future)))

        assert (again.queued(), again.inbox.duplicates, again.refusals()) == (0, 1, ["clock_skew"])

    def test_too_many_for_one_device_are_refused(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path)
        desk.handle(*(message(wrapped(desk.signed(cmd_id=f"cmd_{n}", sequence=n))) for n in range(1, 35)))
        assert (desk.queued(), desk.refusals()) == (32, ["busy", "busy"])

    @pytest.mark.parametrize("payload", [NESTED, b'\xff\xfe{"signed":1}', b'{"signed":{"kid":"\xed\xa0\x80"}}', b""])
    def test_what_is_no_message_is_refused(self, tmp_path: Path, payload: bytes) -> None:
        desk = Desk(tmp_path)
        desk.handle(message(payload), message(wrapped(desk.signed())))
        assert (desk.refusals(), desk.queued()) == (["malformed"], 1)

    @pytest.mark.parametrize("spoiled", [{"signature": "é"}, {"signature": "A"}, {"payload": "\ud800"}])
    def test_odd_characters_are_no_signature(self, tmp_path: Path, spoiled: dict[str, str]) -> None:
        desk = Desk(tmp_path)

        async def work() -> None:
            await desk.inbox._command(msgspec.structs.replace(desk.signed(), **spoiled), retained=False)

        asyncio.run(work())
        assert desk.refusals() == ["bad_signature"]

    def test_a_signed_payload_nested_too_deep_is_refused(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path)
        payload = NESTED.decode()
        signature = base64.b64encode(KEY.sign(NESTED)).decode()
        desk.handle(message(wrapped(Signed(kid="k1", payload=payload, signature=signature))))
        assert desk.refusals() == ["malformed"]

    def test_an_older_sequence_is_stale_before_the_newer_is_on_disk(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path)
        newer, older = desk.signed(cmd_id="cmd_5", sequence=5), desk.signed(cmd_id="cmd_4", sequence=4)
        desk.handle(message(wrapped(newer)), message(wrapped(older)))
        assert desk.bench.controller.memory.last_sequence == 0
        assert (desk.queued(), desk.refusals()) == (1, ["stale_sequence"])

    def test_a_repeat_after_a_restart_is_ignored(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path)
        signed = desk.signed()
        desk.handle(message(wrapped(signed)))
        order = desk.bench.controller._orders.get_nowait()
        asyncio.run(desk.bench.controller.persist(order, lambda tx: None))
        desk.bench.store.close()

        again = Desk(tmp_path)
        again.handle(message(wrapped(signed)))

        assert (again.queued(), again.inbox.duplicates, again.refusals()) == (0, 1, [])

    def test_junk_is_counted_and_does_not_crowd_out_endings(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(inbox_module, "REFUSALS_WAITING_MAX", 3)
        desk = Desk(tmp_path)
        desk.handle(*[message(b"{")] * 10)
        assert (desk.refusals(), desk.inbox.rejected["malformed"]) == (["malformed"] * 3, 10)


class TestAnswers:
    def asked(self, desk: Desk) -> None:
        desk.inbox._outbox.present(
            CredentialPresented(
                request_id="rq_1", at_ms=desk.bench.now_ms, device="dev_o1", kind=CredentialKind.UID, value="04A1"
            )
        )

    def answer(self, desk: Desk, request_id: str) -> bytes:
        decision = Decision(
            request_id=request_id, device="dev_o1", granted=True, reason="ok", command=desk.signed(), display="ok"
        )
        return msgspec.json.encode(decision)

    def test_a_command_in_an_answer_is_obeyed(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path)
        self.asked(desk)
        desk.handle(message(self.answer(desk, "rq_1"), "decision"))
        assert (desk.queued(), desk.refusals()) == (1, [])

    def test_a_command_nobody_asked_for_is_refused(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path)
        self.asked(desk)
        desk.handle(message(self.answer(desk, "rq_2"), "decision"))
        assert (desk.queued(), desk.refusals()) == (0, ["expired"])

    def test_a_command_that_comes_late_is_refused(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path)
        self.asked(desk)
        answer = self.answer(desk, "rq_1")
        desk.bench.now_ms += QUESTION_AGE_MS_MAX + 1
        desk.handle(message(answer, "decision"))
        assert (desk.queued(), desk.refusals()) == (0, ["expired"])

    def test_a_retained_one_is_neither_shown_nor_obeyed(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path)
        self.asked(desk)
        desk.handle(message(self.answer(desk, "rq_1"), "decision", retained=True))
        assert (desk.queued(), desk.inbox.rejected, desk.bench.outlet.shown) == (0, {"retained": 1}, [])


class TestOthers:
    @pytest.mark.parametrize(
        ("received", "why"),
        [
            (message(b"{}", topic="ct/v1/school/gw_2/down/command"), "topic"),
            (message(b"{}", topic="ct/v1/school/gw/up/event"), "topic"),
            (message(b"{}", topic="nonsense"), "topic"),
            (message(b"{", "decision"), "malformed"),
            (message(b"\xff", "ack"), "malformed"),
            (message(acknowledgement(acked_through=-1), "ack"), "malformed"),
            (message(msgspec.json.encode(Acknowledged(epoch="e", acked_through=1)), "ack"), "malformed"),
            (message(acknowledgement(kid="k2"), "ack"), "unknown_key"),
            (message(acknowledgement(key=Ed25519PrivateKey.generate()), "ack"), "bad_signature"),
            (message(acknowledgement(signature=""), "ack"), "unsigned"),
            (message(acknowledgement(), "ack", retained=True), "retained"),
            (message(ANSWER, "decision", retained=True), "retained"),
            (message(NESTED, "ack"), "malformed"),
            (message(NESTED, "decision"), "malformed"),
            (message(b'{"kid":"\xed\xa0\x80"}', "ack"), "malformed"),
        ],
    )
    def test_what_cannot_be_used_is_counted(self, tmp_path: Path, received: Received, why: str) -> None:
        desk = Desk(tmp_path)
        desk.handle(received)
        assert desk.inbox.rejected == {why: 1}

    def test_too_many_at_once_are_counted(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path)
        for _ in range(inbox_module.QUEUE_MAX + 7):
            desk.inbox.received(message(b"{}"))
        assert desk.inbox.rejected["overload"] == 7


class TestClockSkew:
    def test_is_noted_for_a_signed_command_only_and_until_one_fits(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path)
        ahead = desk.bench.now_ms + 9_000
        other = sign(
            msgspec.json.decode(desk.signed(issued_at_ms=ahead).payload, type=Command),
            key=Ed25519PrivateKey.generate(),
            kid="k1",
        )
        desk.handle(message(wrapped(other)))
        assert not desk.own_faults.has(FaultCode.CLOCK_SKEW)
        desk.handle(message(wrapped(desk.signed(issued_at_ms=ahead))))
        assert desk.own_faults.has(FaultCode.CLOCK_SKEW)
        desk.handle(message(wrapped(desk.signed(cmd_id="cmd_2", sequence=2))))
        assert not desk.own_faults.has(FaultCode.CLOCK_SKEW)


class TestFullDisk:
    def test_what_comes_in_does_not_end_the_inbox(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path)
        fill(desk.bench.store)
        desk.handle(*[message(wrapped(desk.signed(device=f"dev_{n}", cmd_id=f"cmd_{n}"))) for n in range(40)])
        assert desk.bench.store.is_full
        make_room(desk.bench.store)
        asyncio.run(desk.bench.store.write_kept())
        assert desk.refusals() == ["unknown_device"] * 40
