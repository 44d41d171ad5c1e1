from datetime import timedelta

import msgspec
import pytest

from backend.db import Database
from backend.fleet import births, service
from gateway.contract.provisioning import Birth, ConfigurationState
from tests.factories import NOW
from tests.unit.backend.fleet.helpers import TENANT, add_campus, hello


def birth(instance: str, **more: object) -> Birth:
    return Birth(**msgspec.structs.asdict(hello()), instance=instance, **more)  # type: ignore[arg-type]


@pytest.fixture
def campus(database: Database) -> Database:
    with database.write() as conn:
        add_campus(conn)
    return database


def say(campus: Database, *instances: str) -> list[bool]:
    with campus.write() as conn:
        return [births.record(conn, TENANT, birth(instance), NOW) for instance in instances]


class TestRecord:
    @pytest.mark.parametrize(
        ("instances", "turns"),
        [
            ("aaa", 0),  # reconnects
            ("abc", 0),  # restarts
            ("aba", 1),  # one came back after the other
            ("ababab", 4),
            ("aabbaa", 1),
            ("abcb", 1),
        ],
    )
    def test_counts_who_comes_back_after_another(self, campus: Database, instances: str, turns: int) -> None:
        assert sum(say(campus, *instances)) == turns

        with campus.read() as conn:
            care = births.care(conn, TENANT, "gw_1")
            faults = [fault for fault in service.open_faults(conn, TENANT)]
        assert care.twin_turns == turns
        assert (care.twin_at is not None) == bool(turns)
        assert [fault.fault for fault in faults] == [births.CERTIFICATE_SHARED] * bool(turns)

    def test_goes_by_the_journal_when_an_older_gateway_names_no_process(self, campus: Database) -> None:
        with campus.write() as conn:
            births.record(conn, TENANT, birth(""), NOW)

            assert births.care(conn, TENANT, "gw_1").instance == "ep_1"

    def test_keeps_what_is_said_of_the_configuration(self, campus: Database) -> None:
        said = ConfigurationState(version=3, state="rolled_back", detail="x" * 1_000, running_version=2)
        with campus.write() as conn:
            births.record(
                conn, TENANT, birth("a", configuration=said, takeovers=-5, certificate_not_after_ms=10**18), NOW
            )
            care = births.care(conn, TENANT, "gw_1")

        assert (care.configuration_version, care.configuration_state, care.configuration_running) == (
            3,
            "rolled_back",
            2,
        )
        assert len(care.configuration_detail) == 500
        assert care.takeovers == 0
        assert care.certificate_not_after is None


class TestSettle:
    def test_ends_the_fault_after_an_hour_of_quiet(self, campus: Database) -> None:
        say(campus, *"aba")

        with campus.write() as conn:
            assert births.settle(conn, TENANT, NOW + timedelta(minutes=59)) == 0
            assert births.settle(conn, TENANT, NOW + timedelta(minutes=61)) == 1
            assert births.settle(conn, TENANT, NOW + timedelta(minutes=62)) == 0
            assert service.open_faults(conn, TENANT) == []

    def test_forgets_processes_of_long_ago(self, campus: Database) -> None:
        say(campus, *"ab")
        with campus.write() as conn:
            births.settle(conn, TENANT, NOW + timedelta(days=31))

        assert say(campus, "a") == [False]


class TestCares:
    def test_are_by_gateway(self, campus: Database) -> None:
        say(campus, "a")

        with campus.read() as conn:
            assert list(births.cares(conn, TENANT)) == ["gw_1"]
            assert births.cares(conn, "other") == {}
