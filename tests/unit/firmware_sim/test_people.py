"""What somebody under the shower does to the mixer."""

import asyncio
from typing import Any

import pytest

from firmware_sim import people
from firmware_sim.campus import Visit


class TestSoak:
    @pytest.mark.parametrize(
        ("pauses", "taps"),
        [((), []), ((0.01,), [False, True]), ((0.01, 0.02), [False, True, False, True])],
    )
    def test_shuts_the_mixer_for_each_pause(
        self, pauses: tuple[float, ...], taps: list[bool], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[dict[str, Any]] = []
        monkeypatch.setattr(people, "control", lambda port, **request: asked.append(request) or {"ok": True})
        visit = Visit("s1", "04A1", "dev_1", "page", "wallet", 0.05, "stop", pauses_s=pauses)

        asyncio.run(people._soak(1, visit))

        assert [each["open"] for each in asked] == taps
        assert all((each["do"], each["device"]) == ("tap_flow", "dev_1") for each in asked)
