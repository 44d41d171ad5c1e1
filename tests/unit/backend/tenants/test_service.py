"""Schools are stored once and found by id."""

from zoneinfo import ZoneInfoNotFoundError

import pytest

from backend.db import Database
from backend.tenants import service
from backend.tenants.service import Tenant, TenantUnknown

GXU = Tenant("gxu", "桂湖大学", "Guihu University")


class TestGet:
    def test_returns_what_was_created(self, database: Database) -> None:
        with database.write() as conn:
            service.create(conn, GXU)

        with database.read() as conn:
            assert service.get(conn, "gxu") == GXU

    def test_refuses_an_unknown_one(self, database: Database) -> None:
        with database.read() as conn, pytest.raises(TenantUnknown):
            service.get(conn, "nobody")


class TestCreate:
    def test_brings_a_known_one_up_to_date(self, database: Database) -> None:
        renamed = Tenant("gxu", "桂湖大学", "Guihu Uni", zone="Asia/Urumqi")

        with database.write() as conn:
            service.create(conn, GXU)
            service.create(conn, renamed)

        with database.read() as conn:
            assert service.list_all(conn) == [renamed]

    def test_refuses_a_zone_that_does_not_exist(self, database: Database) -> None:
        with database.write() as conn, pytest.raises(ZoneInfoNotFoundError):
            service.create(conn, Tenant("x", "x", "x", zone="Asia/Guihu"))
