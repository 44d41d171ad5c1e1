"""Tariffs in the database."""

from dataclasses import replace
from datetime import timedelta
from threading import Barrier, Thread

import pytest

from backend.db import Database
from backend.tariffs import service
from tests.factories import NOW
from tests.unit.backend.tariffs.test_rules import TARIFF

LATER = NOW + timedelta(days=30)


class TestAdd:
    def test_a_version_comes_back_as_it_was(self, database: Database) -> None:
        with database.write() as conn:
            service.add(conn, TARIFF)
        with database.read() as conn:
            assert service.version(conn, "gxu", "tar_water", 1) == TARIFF
            assert service.versions(conn, "gxu") == [TARIFF]

    def test_the_same_again_changes_nothing(self, database: Database) -> None:
        with database.write() as conn:
            service.add(conn, TARIFF)
            service.add(conn, TARIFF)
            assert service.versions(conn, "gxu") == [TARIFF]

    @pytest.mark.parametrize(
        "changes",
        [
            {"version": 2},
            {"tariff_id": "tar_other"},
            {"version": 2, "active_from": LATER},
            {"version": 2, "active_from": NOW - timedelta(days=9), "active_to": NOW + timedelta(milliseconds=1)},
            {"price_minor_per_m3": 1},
        ],
    )
    def test_a_common_moment_or_number_is_refused(self, database: Database, changes: dict[str, object]) -> None:
        with database.write() as conn:
            service.add(conn, TARIFF)
            with pytest.raises(service.TariffOverlap) as refused:
                service.add(conn, replace(TARIFF, **changes))  # type: ignore[arg-type]
            assert refused.value.details == {"tariff_id": "tar_water", "version": 1}

    @pytest.mark.parametrize(
        "changes",
        [
            {"tariff_id": "tar_a", "place_id": "room"},
            {"tariff_id": "tar_b", "scenario": "access"},
            {"tariff_id": "tar_c", "active_from": NOW - timedelta(days=9), "active_to": NOW},
            {"tenant_id": "other"},
        ],
    )
    def test_what_does_not_meet_is_accepted(self, database: Database, changes: dict[str, object]) -> None:
        with database.write() as conn:
            service.add(conn, TARIFF)
            service.add(conn, replace(TARIFF, **changes))  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "changes",
        [{"price_minor_per_m3": -1}, {"volume_limit_ml": 0}, {"active_to": NOW}, {"minimum_hold_minor": -1}],
    )
    def test_nonsense_is_refused(self, database: Database, changes: dict[str, object]) -> None:
        with database.write() as conn, pytest.raises(service.TariffMalformed):
            service.add(conn, replace(TARIFF, **changes))  # type: ignore[arg-type]

    def test_of_two_at_once_one_is_refused(self, database: Database) -> None:
        barrier, outcomes = Barrier(2), []

        def add(version: int) -> None:
            barrier.wait()
            try:
                with database.write() as conn:
                    service.add(conn, replace(TARIFF, version=version))
                outcomes.append("added")
            except service.TariffOverlap:
                outcomes.append("refused")

        threads = [Thread(target=add, args=(version,)) for version in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(outcomes) == ["added", "refused"]


class TestApplicable:
    def test_the_deepest_place_wins(self, database: Database) -> None:
        room = replace(TARIFF, tariff_id="tar_room", place_id="room")
        with database.write() as conn:
            service.add(conn, TARIFF)
            service.add(conn, room)
            found = service.applicable(
                conn, "gxu", place_ids=["campus", "building", "room"], scenario="hot_water", at=NOW
            )
        assert found == room

    @pytest.mark.parametrize(
        ("tenant_id", "scenario", "at"),
        [("gxu", "hot_water", NOW - timedelta(days=1)), ("gxu", "access", NOW), ("other", "hot_water", NOW)],
    )
    def test_without_one_it_is_refused(self, database: Database, tenant_id: str, scenario: str, at: object) -> None:
        with database.write() as conn:
            service.add(conn, TARIFF)
            with pytest.raises(service.TariffMissing):
                service.applicable(conn, tenant_id, place_ids=["campus"], scenario=scenario, at=at)  # type: ignore[arg-type]


class TestVersion:
    def test_what_is_not_there_is_unknown(self, database: Database) -> None:
        with database.read() as conn, pytest.raises(service.TariffUnknown):
            service.version(conn, "gxu", "tar_water", 9)


class TestEnd:
    def test_the_next_version_takes_over_without_a_gap(self, database: Database) -> None:
        with database.write() as conn:
            service.add(conn, TARIFF)
            service.end(conn, "gxu", "tar_water", 1, active_to=LATER, now=NOW)
            service.add(conn, replace(TARIFF, version=2, active_from=LATER))
            found = [
                service.applicable(conn, "gxu", place_ids=["campus"], scenario="hot_water", at=at).version
                for at in (LATER - timedelta(milliseconds=1), LATER)
            ]
        assert found == [1, 2]

    @pytest.mark.parametrize("active_to", [NOW - timedelta(days=1), NOW])
    def test_the_past_stays_as_it_was(self, database: Database, active_to: object) -> None:
        with database.write() as conn:
            service.add(conn, TARIFF)
            with pytest.raises(service.TariffEnded):
                service.end(conn, "gxu", "tar_water", 1, active_to=active_to, now=NOW)  # type: ignore[arg-type]
