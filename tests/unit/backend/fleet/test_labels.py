"""Stickers are those of a place, and of the own school alone."""

import pytest

from backend.db import Database
from backend.fleet import service as fleet
from backend.fleet.labels import NothingToPrint, TooManyLabels, counts, labels
from backend.fleet.service import DeviceUnknown, PlaceUnknown
from backend.fleet.types import Gateway, Place
from backend.tenants.service import Tenant, create
from tests.unit.backend.fleet.helpers import TENANT, add_campus, outlet

URL = "https://tap.campus.example"


class TestLabels:
    @pytest.mark.parametrize(
        ("place_id", "device_ids", "expected"),
        [
            (None, [], ["dev_1", "dev_3"]),
            ("pl_b1", [], ["dev_1"]),
            ("pl_b2", [], ["dev_3"]),
            (None, ["dev_3"], ["dev_3"]),
        ],
    )
    def test_are_those_of_the_place(
        self, database: Database, place_id: str | None, device_ids: list[str], expected: list[str]
    ) -> None:
        with database.write() as conn:
            add_campus(conn)
            fleet.add_device(conn, outlet("dev_3", place_id="pl_o3"))
            fleet.add_device(conn, outlet("dev_gate", place_id="pl_gate", kind="door"))
            found = labels(conn, TENANT, URL, place_id=place_id, device_ids=device_ids)

        assert [label.device_id for label in found] == expected

    @pytest.mark.parametrize(
        ("place_id", "device_ids", "refusal"),
        [("pl_gate", [], NothingToPrint), ("pl_none", [], PlaceUnknown), (None, ["dev_gate"], DeviceUnknown)],
    )
    def test_refuse_where_there_is_no_outlet(
        self, database: Database, place_id: str | None, device_ids: list[str], refusal: type[Exception]
    ) -> None:
        with database.write() as conn:
            add_campus(conn)
            with pytest.raises(refusal):
                labels(conn, TENANT, URL, place_id=place_id, device_ids=device_ids)

    def test_are_no_more_than_a_file_may_hold(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            fleet.add_device(conn, outlet("dev_3", place_id="pl_o3"))

            assert len(labels(conn, TENANT, URL, labels_max=2)) == 2
            with pytest.raises(TooManyLabels, match=r"2 outlets are more than one file holds \(1\)"):
                labels(conn, TENANT, URL, labels_max=1)

    def test_are_of_the_own_school_alone(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            create(conn, Tenant("other", "别的大学", "Another University"))
            fleet.add_place(conn, Place("other", "pl_x", None, "campus", "别处", "Elsewhere"))
            fleet.add_gateway(conn, Gateway("other", "gw_x", "pl_x", "key"))

            with pytest.raises(PlaceUnknown):
                labels(conn, "other", URL, place_id="pl_b1")
            with pytest.raises(NothingToPrint):
                labels(conn, "other", URL)
            with pytest.raises(DeviceUnknown):
                labels(conn, "other", URL, device_ids=["dev_1"])


class TestCounts:
    def test_are_of_buildings_and_floors_before_what_lies_in_them(self, database: Database) -> None:
        with database.write() as conn:
            add_campus(conn)
            fleet.add_device(conn, outlet("dev_2", place_id="pl_o2"))
            fleet.add_device(conn, outlet("dev_3", place_id="pl_o3"))
            fleet.add_device(conn, outlet("dev_gate", place_id="pl_gate", kind="door"))

            found = [(each.place.place_id, len(each.path), each.outlets) for each in counts(conn, TENANT)]

        assert found == [("pl_c", 1, 3), ("pl_b1", 2, 2), ("pl_b1_f1", 3, 2), ("pl_b2", 2, 1)]

    def test_are_none_without_outlets(self, database: Database) -> None:
        assert counts_of_nothing(database) == []


def counts_of_nothing(database: Database) -> list[object]:
    """Return the counts of a school that is not there."""
    with database.read() as conn:
        return list(counts(conn, "nobody"))
