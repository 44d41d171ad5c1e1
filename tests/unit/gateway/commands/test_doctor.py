from pathlib import Path

import pytest

from gateway.commands.doctor import check_budgets, check_journal
from gateway.config import Config, ConfiguredDevice, Line
from tests.unit.gateway.uplink.test_journal import append, open_store
from tests.unit.gateway.uplink.test_mending import spoil


def config(folder: Path, *, baud: int, devices: int, map_id: str = "chw.hwo1", transport: str = "serial") -> Config:
    line = Line(
        line_id="l1",
        transport=transport,
        baud=baud,
        flags_period_ms=1_000,
        hot_period_ms=2_000,
        idle_period_ms=60_000,
    )
    return Config(
        tenant="school",
        gateway="gw",
        state_dir=folder,
        broker_host="127.0.0.1",
        broker_port=1883,
        command_keys={},
        lines=(line,),
        devices=tuple(
            ConfiguredDevice(device_id=f"dev_{unit}", line_id="l1", unit=unit, map_id=map_id, kind="outlet")
            for unit in range(1, devices + 1)
        ),
    )


class TestCheckBudgets:
    def test_is_content_with_a_line_that_has_room(self, tmp_path: Path) -> None:
        (check,) = check_budgets(config(tmp_path, baud=38_400, devices=32))

        assert (check.result, check.todo) == ("ok", "")
        assert "l1" in check.said

    def test_warns_of_one_that_has_not_and_says_what_to_do(self, tmp_path: Path) -> None:
        (check,) = check_budgets(config(tmp_path, baud=9_600, devices=32))

        assert check.result == "warn"
        assert "overcommitted" in check.said
        assert "9600 baud" in check.todo

    @pytest.mark.parametrize("map_id", ["chw.hwo1", "nobody.knows"])
    def test_says_nothing_of_a_network_or_goes_on_without_a_map_that_is_missing(
        self, tmp_path: Path, map_id: str
    ) -> None:
        assert not list(check_budgets(config(tmp_path, baud=0, devices=4, map_id=map_id, transport="tcp")))


class TestCheckJournal:
    def test_tells_of_rows_that_are_damaged_and_of_those_set_aside(self, tmp_path: Path) -> None:
        store = open_store(tmp_path)
        append(store, 3)
        store.close()
        whole = check_journal(config(tmp_path, baud=0, devices=1))
        spoil(tmp_path, "UPDATE journal SET payload = '{' WHERE sequence = 1")
        damaged = check_journal(config(tmp_path, baud=0, devices=1))
        open_store(tmp_path).close()
        mended = check_journal(config(tmp_path, baud=0, devices=1))

        assert [each.result for each in (whole, damaged, mended)] == ["ok", "fail", "warn"]
        assert "journal 1" in damaged.said
        assert "1 damaged rows were set aside" in mended.said
