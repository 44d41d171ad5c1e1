import pytest

from gateway.contract.events import StopReason
from gateway.sessions.reasons import BY_DEVICE, asked_reason, stop_reason, word_for_device
from hardware.points import load


class TestStopReason:
    def test_knows_every_word_of_the_device(self) -> None:
        words = set(load("chw.hwo1").enums["close_reason"].values()) - {"NONE"}
        assert words == set(BY_DEVICE)

    @pytest.mark.parametrize(
        ("device_reason", "asked", "reason"),
        [
            ("VOLUME_LIMIT", None, StopReason.VOLUME_LIMIT),
            ("VOLUME_LIMIT", StopReason.CARD, StopReason.VOLUME_LIMIT),
            ("REMOTE", StopReason.GATEWAY_RESTART, StopReason.GATEWAY_RESTART),
            ("HANDOVER", StopReason.HANDOVER, StopReason.HANDOVER),
            ("REMOTE", None, StopReason.REMOTE),
            ("POWER_LOSS", StopReason.GATEWAY_RESTART, StopReason.POWER_LOSS),
            ("#42", None, StopReason.FAULT),
        ],
    )
    def test_the_one_who_was_first_names_it(
        self, device_reason: str, asked: StopReason | None, reason: StopReason
    ) -> None:
        assert stop_reason(device_reason=device_reason, asked=asked) is reason


class TestAskedReason:
    @pytest.mark.parametrize(("text", "reason"), [("card", StopReason.CARD), ("moon_phase", StopReason.REMOTE)])
    def test_an_unknown_word_is_remote(self, text: str, reason: StopReason) -> None:
        assert asked_reason(text) is reason


class TestWordForDevice:
    def test_is_always_one_the_device_knows(self) -> None:
        known = set(load("chw.hwo1").caps["close_reasons"])
        assert {word_for_device(reason) for reason in StopReason} <= known
