"""What a valve shows that the map has no word for, and what counts as an opening that may have begun."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from gateway.devices.ports import CannotSay, Opening
from gateway.modbus.bus import NoAnswer, NotTried, Priority
from tests.unit.gateway.devices.map_rig import CREDIT, ONE_SHOT, WATCHDOG, opening
from tests.unit.gateway.devices.test_mapped import Site, run

ENUM = '{ 0 = "CLOSED", 1 = "OPEN", 2 = "OPENING" }'


def resting(_: object, *rest: object) -> Any:
    """Stand in for a request to a unit that rests after failures."""
    raise NotTried("unit 1 rests")


class TestShows:
    @pytest.mark.parametrize(
        ("raw", "shown"), [(0, "CLOSED"), (1, "OPEN"), (2, "OPENING"), (3, "OPEN"), (4, "CLOSING"), (77, "OPEN")]
    )
    def test_a_label_nobody_knows_is_never_closed(self, tmp_path: Path, raw: int, shown: str) -> None:
        labels = '{ 0 = "CLOSED", 1 = "OPEN", 2 = "OPENING", 3 = "JAMMED", 4 = "CLOSING" }'

        async def work(site: Site) -> None:
            site.device.put("state", raw)
            status = await site.outlet.status(Priority.HOT)
            assert (status.valve, status.is_open) == (shown, shown != "CLOSED")
            assert ("valve_open" in await site.outlet.flags()) is (shown != "CLOSED")

        run(tmp_path, CREDIT.replace(ENUM, labels), work)

    @pytest.mark.parametrize(("raw", "shown"), [(0x5500, "CLOSED"), (0xAA00, "OPEN"), (0, "OPEN"), (1, "OPEN")])
    def test_a_switch_value_nobody_knows_is_never_closed(self, tmp_path: Path, raw: int, shown: str) -> None:
        async def work(site: Site) -> None:
            site.device.put("valve", raw)
            assert (await site.outlet.status(Priority.HOT)).valve == shown

        run(tmp_path, WATCHDOG, work)

    def test_a_session_does_not_end_at_a_label_nobody_knows(self, tmp_path: Path) -> None:
        async def work(site: Site) -> None:
            await site.outlet.open(opening())
            await site.after(800)
            site.device.put("state", 77)
            await site.after(8_000)
            assert await site.ends() == []

        run(tmp_path, CREDIT, work)


class TestCommand:
    def test_a_relay_with_on_and_off_is_switched_by_these(self, tmp_path: Path) -> None:
        async def work(site: Site) -> None:
            assert (await site.outlet.open(opening())).accepted
            assert site.device.is_open
            await site.outlet.close(0xDEADBEEF, "USER")
            assert not site.device.is_open

        run(tmp_path, CREDIT.replace(ENUM, '{ 7 = "OFF", 9 = "ON" }'), work)


class TestOpenThatWasNotTried:
    @pytest.mark.parametrize("later", ["read back", "switch"])
    def test_is_unsure_once_the_credit_was_written(
        self, tmp_path: Path, later: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def work(site: Site) -> None:
            access = site.outlet.access
            write = access.write

            async def but_no_command(name: str, value: Any, priority: Priority) -> None:
                if name == "command":
                    raise NotTried("unit 1 rests")
                await write(name, value, priority)

            with monkeypatch.context() as patch:
                if later == "switch":
                    patch.setattr(access, "write", but_no_command)
                else:
                    patch.setattr(access, "read_one", resting)
                with pytest.raises(NoAnswer, match="credit was written, and then: unit 1 rests"):
                    await site.outlet.open(opening())
            assert site.device.raw("credit") == 100
            # what may have begun is followed until it is seen over
            assert (await site.outlet.open(opening())).code == "BUSY"
            await site.outlet.close(0xDEADBEEF, "REMOTE")
            assert site.device.raw("credit") == 0
            assert await site.ends() == [("REMOTE", 0)]

        run(tmp_path, CREDIT, work)

    @pytest.mark.parametrize("text", [CREDIT, ONE_SHOT])
    def test_is_no_opening_when_nothing_was_written(
        self, tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def work(site: Site) -> None:
            with monkeypatch.context() as patch:
                patch.setattr(site.outlet.access, "write", resting)
                with pytest.raises(NotTried):
                    await site.outlet.open(opening())
            assert site.device.writes == []
            assert (await site.outlet.status(Priority.HOT)).session_u32 == 0
            assert (await site.outlet.open(opening())).accepted

        run(tmp_path, text, work)

    def test_is_no_opening_when_the_timer_was_not_looked_at(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def work(site: Site) -> None:
            with monkeypatch.context() as patch:
                patch.setattr(site.outlet.access, "read_one", resting)
                with pytest.raises(NotTried):
                    await site.outlet.open(opening())
            assert (await site.outlet.open(opening())).accepted

        run(tmp_path, WATCHDOG, work)


class TestExpired:
    @pytest.mark.parametrize("text", [CREDIT, ONE_SHOT, WATCHDOG])
    def test_an_opening_that_came_too_late_opens_nothing(self, tmp_path: Path, text: str) -> None:
        async def work(site: Site) -> None:
            now_s = site.clock.ms // 1_000
            before = list(site.device.writes)
            answer = await site.outlet.open(opening(not_after_s=now_s - 1))
            assert (answer.accepted, answer.code) == (False, "EXPIRED")
            assert (site.device.writes, site.device.is_open) == (before, False)
            assert (await site.outlet.open(opening(not_after_s=now_s))).accepted

        run(tmp_path, text, work)


class TestGrantedVolume:
    def test_is_where_the_driver_closes_and_not_at_what_was_asked_for(self, tmp_path: Path) -> None:
        async def work(site: Site) -> None:
            await site.outlet.open(opening(volume_limit_ml=2_090))
            site.device._credit_ml = Fraction(1_000_000)  # a device that does not count its credit down
            await site.after(24_000)
            ((label, pulses),) = await site.ends()
            assert label == "VOLUME_LIMIT"
            assert 2_000 <= pulses <= 2_040  # one look, 0.4 s at 0.1 L/s, beyond what was granted

        run(tmp_path, CREDIT, work)

    def test_less_than_a_step_is_nothing_to_open_with(self, tmp_path: Path) -> None:
        short: Opening = opening(volume_limit_ml=99)

        async def work(site: Site) -> None:
            with pytest.raises(CannotSay, match="99 mL is less than one step of credit"):
                await site.outlet.open(short)

        run(tmp_path, CREDIT, work)
