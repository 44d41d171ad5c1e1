"""Readings are kept once; consumption is the registers' and adds up along the tree."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection

from backend.db import Database
from backend.fleet import service as fleet
from backend.metering import service
from backend.metering.rules import WRAP, InvalidRegister, Reading
from backend.metering.service import HourRow
from tests.factories import NOW
from tests.unit.backend.fleet.helpers import TENANT, add_campus, outlet

HOUR = timedelta(hours=1)


def reading(device_id: str, at: datetime, pulses: int, cause: str = "scheduled", reference: str = "") -> Reading:
    """Return a reading of a meter with one pulse a milliliter."""
    return Reading(TENANT, device_id, at, pulses, 1_000_000, cause, reference)


def add_outlets(conn: Connection) -> None:
    """Store the campus with three outlets: two on a floor of one building, one in another building."""
    add_campus(conn)
    fleet.add_device(conn, outlet("dev_2", place_id="pl_o2"))
    fleet.add_device(conn, outlet("dev_3", place_id="pl_o3"))


class TestRecord:
    def test_keeps_the_first_of_a_session_and_cause(self, database: Database) -> None:
        first = reading("dev_1", NOW, 100, "opening", "ws_1")
        with database.write() as conn:
            assert service.record(conn, first)
            assert not service.record(conn, replace(first, register_pulses=999, read_at=NOW + HOUR))
            assert service.record(conn, replace(first, cause="closing"))
            latest = service.latest(conn, TENANT, "dev_1")

        assert latest is not None
        assert latest.register_pulses == 100

    def test_tells_readings_without_reference_by_time(self, database: Database) -> None:
        with database.write() as conn:
            assert service.record(conn, reading("dev_1", NOW, 1))
            assert not service.record(conn, reading("dev_1", NOW, 1))
            assert service.record(conn, reading("dev_1", NOW + HOUR, 1))

    def test_keeps_64_unsigned_bits(self, database: Database) -> None:
        with database.write() as conn:
            service.record(conn, reading("dev_1", NOW, WRAP - 1))
            latest = service.latest(conn, TENANT, "dev_1")
            with pytest.raises(InvalidRegister):
                service.record(conn, reading("dev_1", NOW + HOUR, WRAP))

        assert latest is not None
        assert latest.register_pulses == WRAP - 1

    def test_refuses_a_cause_nobody_knows(self, database: Database) -> None:
        with database.write() as conn, pytest.raises(service.ReadingMalformed):
            service.record(conn, reading("dev_1", NOW, 1, "guess"))


class TestLatest:
    def test_is_the_latest_by_the_time_it_was_read(self, database: Database) -> None:
        with database.write() as conn:
            service.record(conn, reading("dev_1", NOW + HOUR, 20))
            service.record(conn, reading("dev_1", NOW, 10))
            found = service.latest(conn, TENANT, "dev_1")

            assert found is not None
            assert found.register_pulses == 20
            assert service.latest(conn, TENANT, "dev_9") is None


class TestConsumption:
    def test_adds_up_along_the_tree(self, database: Database) -> None:
        with database.write() as conn:
            add_outlets(conn)
            for device_id, pulses in (("dev_1", 1_000), ("dev_2", 200), ("dev_3", 30)):
                service.record(conn, reading(device_id, NOW + timedelta(minutes=1), 5_000))
                service.record(conn, reading(device_id, NOW + timedelta(minutes=9), 5_000 + pulses))
            rows = service.consumption(conn, TENANT, place_id=None, hour_from=NOW, hour_to=NOW + HOUR)

        assert {row.place_id: row.volume_ml for row in rows} == {
            "pl_c": 1_230,
            "pl_b1": 1_200,
            "pl_b1_f1": 1_200,
            "pl_o1": 1_000,
            "pl_o2": 200,
            "pl_b2": 30,
            "pl_o3": 30,
        }

    def test_stays_in_the_subtree_asked_for(self, database: Database) -> None:
        with database.write() as conn:
            add_outlets(conn)
            for device_id in ("dev_1", "dev_3"):
                service.record(conn, reading(device_id, NOW, 0))
                service.record(conn, reading(device_id, NOW + timedelta(minutes=9), 7))
            rows = service.consumption(conn, TENANT, place_id="pl_b2", hour_from=NOW, hour_to=NOW + HOUR)

        assert rows == [HourRow("pl_b2", NOW, 7), HourRow("pl_o3", NOW, 7)]

    def test_spreads_over_the_hours_between_and_counts_only_those_asked_for(self, database: Database) -> None:
        with database.write() as conn:
            add_outlets(conn)
            service.record(conn, reading("dev_1", NOW - 2 * HOUR, 0))
            service.record(conn, reading("dev_1", NOW + 2 * HOUR, 400))
            rows = service.consumption(conn, TENANT, place_id="pl_o1", hour_from=NOW - HOUR, hour_to=NOW + HOUR)

        assert rows == [HourRow("pl_o1", NOW - HOUR, 100), HourRow("pl_o1", NOW, 100)]

    def test_is_the_same_whether_asked_at_once_or_by_the_hour(self, database: Database) -> None:
        with database.write() as conn:
            add_outlets(conn)
            for index, pulses in enumerate([0, 17, 17, 90, 333, 334]):
                service.record(conn, reading("dev_1", NOW + index * timedelta(minutes=47), pulses))
            end = NOW + 4 * HOUR
            at_once = service.consumption(conn, TENANT, place_id="pl_c", hour_from=NOW, hour_to=end)
            by_hour = [
                row
                for hours in range(4)
                for row in service.consumption(
                    conn, TENANT, place_id="pl_c", hour_from=NOW + hours * HOUR, hour_to=NOW + (hours + 1) * HOUR
                )
            ]

        assert sorted(by_hour, key=lambda row: (row.place_id, row.hour)) == at_once
        assert sum(row.volume_ml for row in at_once if row.place_id == "pl_c") == 334

    def test_counts_only_what_flowed_after_a_reset(self, database: Database) -> None:
        with database.write() as conn:
            add_outlets(conn)
            service.record(conn, reading("dev_1", NOW, 9_000))
            service.record(conn, reading("dev_1", NOW + timedelta(minutes=5), 40))
            rows = service.consumption(conn, TENANT, place_id="pl_o1", hour_from=NOW, hour_to=NOW + HOUR)

        assert rows == [HourRow("pl_o1", NOW, 40)]

    def test_is_blind_to_other_schools(self, database: Database) -> None:
        with database.write() as conn:
            add_outlets(conn)
            service.record(conn, replace(reading("dev_1", NOW, 0), tenant_id="gxnu"))
            service.record(conn, replace(reading("dev_1", NOW + timedelta(minutes=5), 40), tenant_id="gxnu"))

            assert service.consumption(conn, TENANT, place_id=None, hour_from=NOW, hour_to=NOW + HOUR) == []


class TestGaps:
    def test_lists_flow_that_no_session_explains(self, database: Database) -> None:
        minute = timedelta(minutes=1)
        with database.write() as conn:
            add_outlets(conn)
            for at, pulses, cause, reference in (
                (NOW, 0, "boot", "ev_1"),
                (NOW + minute, 0, "opening", "ws_1"),
                (NOW + 2 * minute, 50, "scheduled", "ev_2"),
                (NOW + 3 * minute, 100, "closing", "ws_1"),
                (NOW + 4 * minute, 107, "unbilled_flow", "ev_3"),
                (NOW + 5 * minute, 107, "opening", "ws_2"),
                (NOW + 6 * minute, 120, "closing", "ws_2"),
            ):
                service.record(conn, reading("dev_1", at, pulses, cause, reference))
            found = service.gaps(conn, TENANT)

        assert [(gap.earlier.reference, gap.later.reference, gap.volume_ml) for gap in found] == [("ws_1", "ev_3", 7)]
