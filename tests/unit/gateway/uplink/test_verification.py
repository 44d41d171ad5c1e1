from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.commands import CloseValve, Command, GrantPassage, OpenValve
from gateway.contract.events import RefusalCode
from gateway.contract.signing import Signed, sign
from gateway.uplink.verification import (
    SKEW_MS_MAX,
    TTL_MS_MAX,
    Audience,
    CommandRejected,
    Remembered,
    Verdict,
    signed_command,
    subject_of,
    verdict,
)

NOW_MS = 1_795_000_000_000
KEY = Ed25519PrivateKey.generate()
HERE = Audience(tenant="school", gateway="gw", devices=frozenset({"dev_1"}))
COMMAND = Command(
    cmd_id="cmd_1",
    tenant="school",
    gateway="gw",
    device="dev_1",
    sequence=5,
    issued_at_ms=NOW_MS - 100,
    not_after_ms=NOW_MS + 19_900,
    body=OpenValve(water_session_id="ws_1", volume_limit_ml=1_000, duration_limit_s=60),
)


def judge(command: Command = COMMAND, **changes: Any) -> Verdict:
    given = {
        "audience": HERE,
        "last_sequence": 4,
        "remembered": Remembered.NEW,
        "retained": False,
        "now_ms": NOW_MS,
    }
    return verdict(command, **{**given, **changes})


class TestVerdict:
    def test_is_as_strict_as_the_contract_says(self) -> None:
        assert TTL_MS_MAX == 30_000
        assert SKEW_MS_MAX == 5_000

    def test_obeys_what_is_signed_fresh_and_for_us(self) -> None:
        assert judge() is Verdict.OBEY

    @pytest.mark.parametrize(
        ("changes", "given", "code"),
        [
            ({"tenant": "other"}, {}, RefusalCode.WRONG_AUDIENCE),
            ({"gateway": "gw_2"}, {}, RefusalCode.WRONG_AUDIENCE),
            ({"device": "dev_2"}, {}, RefusalCode.UNKNOWN_DEVICE),
            ({}, {"retained": True}, RefusalCode.RETAINED),
            ({"issued_at_ms": NOW_MS + SKEW_MS_MAX + 1}, {}, RefusalCode.CLOCK_SKEW),
            ({"not_after_ms": NOW_MS}, {}, RefusalCode.EXPIRED),
            ({"not_after_ms": NOW_MS - 100 + TTL_MS_MAX + 1}, {}, RefusalCode.EXPIRED),
            ({"sequence": 4}, {}, RefusalCode.STALE_SEQUENCE),
            ({}, {"not_before_ms": NOW_MS}, RefusalCode.STALE_SEQUENCE),
            ({}, {"remembered": Remembered.DIFFERENT}, RefusalCode.STALE_SEQUENCE),
            ({}, {"remembered": Remembered.SAME, "now_ms": NOW_MS + 60_000}, RefusalCode.STALE_SEQUENCE),
            ({}, {"remembered": Remembered.SAME, "retained": True}, RefusalCode.RETAINED),
        ],
    )
    def test_refuses(self, changes: dict[str, Any], given: dict[str, Any], code: RefusalCode) -> None:
        with pytest.raises(CommandRejected) as caught:
            judge(msgspec.structs.replace(COMMAND, **changes), **given)
        assert caught.value.code is code

    @pytest.mark.parametrize(
        ("changes", "given"),
        [
            ({"gateway": "gw_2"}, {}),
            ({}, {"remembered": Remembered.SAME, "now_ms": NOW_MS + 60_000}),
            ({}, {"remembered": Remembered.DIFFERENT}),
        ],
    )
    def test_never_repeats_ids_that_could_void_a_running_session(
        self, changes: dict[str, Any], given: dict[str, Any]
    ) -> None:
        with pytest.raises(CommandRejected) as caught:
            judge(msgspec.structs.replace(COMMAND, **changes), **given)
        assert caught.value.command is None

    @pytest.mark.parametrize(
        "changes",
        [
            {"issued_at_ms": NOW_MS + SKEW_MS_MAX},
            {"not_after_ms": NOW_MS + 1},
            {"not_after_ms": NOW_MS - 100 + TTL_MS_MAX},
        ],
    )
    def test_allows_up_to_the_limit(self, changes: dict[str, Any]) -> None:
        assert judge(msgspec.structs.replace(COMMAND, **changes)) is Verdict.OBEY

    def test_ignores_a_repeat_of_what_was_dealt_with(self) -> None:
        assert judge(remembered=Remembered.SAME, last_sequence=5) is Verdict.IGNORE

    @given(
        sequences=st.lists(st.integers(1, 30), min_size=1, max_size=40),
        delays_ms=st.lists(st.integers(-10_000, 40_000), min_size=40, max_size=40),
    )
    def test_whatever_order_and_delay_no_sequence_is_obeyed_twice_or_late(
        self, sequences: list[int], delays_ms: list[int]
    ) -> None:
        last, dealt, obeyed = 0, set[int](), list[int]()
        for sequence, delay_ms in zip(sequences, delays_ms, strict=False):
            command = msgspec.structs.replace(COMMAND, cmd_id=f"cmd_{sequence}", sequence=sequence)
            remembered = Remembered.SAME if sequence in dealt else Remembered.NEW
            try:
                judged = judge(command, last_sequence=last, remembered=remembered, now_ms=NOW_MS + delay_ms)
            except CommandRejected:
                continue
            if judged is Verdict.OBEY:
                assert delay_ms < 19_900
                last = sequence
                dealt.add(sequence)
                obeyed.append(sequence)
        assert obeyed == sorted(set(obeyed))


class TestSignedCommand:
    def test_returns_what_was_signed(self) -> None:
        signed = sign(COMMAND, key=KEY, kid="k1")
        assert signed_command(signed, keys={"k1": KEY.public_key()}) == COMMAND

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"signature": ""}, RefusalCode.UNSIGNED),
            ({"kid": "k2"}, RefusalCode.UNKNOWN_KEY),
            ({"signature": "AAAA"}, RefusalCode.BAD_SIGNATURE),
            ({"signature": "not base 64!"}, RefusalCode.BAD_SIGNATURE),
        ],
    )
    def test_refuses(self, changes: dict[str, str], code: RefusalCode) -> None:
        signed = msgspec.structs.replace(sign(COMMAND, key=KEY, kid="k1"), **changes)
        with pytest.raises(CommandRejected) as caught:
            signed_command(signed, keys={"k1": KEY.public_key()})
        assert (caught.value.code, caught.value.command) == (code, None)

    @given(position=st.integers(0, 10_000), replacement=st.characters(codec="ascii"))
    def test_refuses_any_altered_payload(self, position: int, replacement: str) -> None:
        signed = sign(COMMAND, key=KEY, kid="k1")
        at = position % len(signed.payload)
        payload = signed.payload[:at] + replacement + signed.payload[at + 1 :]
        altered = Signed(kid="k1", payload=payload, signature=signed.signature)
        if payload == signed.payload:
            return
        with pytest.raises(CommandRejected) as caught:
            signed_command(altered, keys={"k1": KEY.public_key()})
        assert caught.value.code is RefusalCode.BAD_SIGNATURE

    def test_refuses_what_is_signed_but_no_command(self) -> None:
        with pytest.raises(CommandRejected) as caught:
            signed_command(sign(HERE_AS_MESSAGE, key=KEY, kid="k1"), keys={"k1": KEY.public_key()})
        assert caught.value.code is RefusalCode.MALFORMED


class _NotACommand(msgspec.Struct):
    text: str = "x"


HERE_AS_MESSAGE = _NotACommand()


class TestSubjectOf:
    @pytest.mark.parametrize(
        ("body", "subject"),
        [(CloseValve(water_session_id="ws_9"), "ws_9"), (GrantPassage(passage_id="pg_9"), "pg_9")],
    )
    def test_names_session_or_passage(self, body: Any, subject: str) -> None:
        assert subject_of(msgspec.structs.replace(COMMAND, body=body)) == subject
