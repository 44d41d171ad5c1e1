from datetime import timedelta

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from backend.db import Database
from backend.fleet import births, configurations, service
from gateway.contract.provisioning import Birth, ConfigurationDocument, ConfigurationState
from gateway.contract.signing import verify
from tests.factories import NOW
from tests.unit.backend.fleet.helpers import TENANT, add_campus, hello

TOML = f'tenant = "{TENANT}"\ngateway = "gw_1"\n'


@pytest.fixture
def campus(database: Database) -> Database:
    with database.write() as conn:
        add_campus(conn)
    return database


def heard(campus: Database, version: int) -> None:
    said = ConfigurationState(version=version, state="applied", running_version=version)
    with campus.write() as conn:
        service.record_hello(conn, TENANT, hello(), NOW)
        births.record(conn, TENANT, Birth(**msgspec.structs.asdict(hello()), instance="a", configuration=said), NOW)


class TestDesire:
    def test_counts_versions_up_and_beyond_what_the_gateway_has_heard(self, campus: Database) -> None:
        with campus.write() as conn:
            assert [configurations.desire(conn, TENANT, "gw_1", TOML, NOW).version for _ in range(2)] == [1, 2]
        heard(campus, 7)

        with campus.write() as conn:
            assert configurations.desire(conn, TENANT, "gw_1", TOML, NOW).version == 8
            wanted = configurations.desired(conn, TENANT, "gw_1")
        assert wanted is not None
        assert wanted.version == 8

    @pytest.mark.parametrize(
        ("toml", "confirm_s", "reason"),
        [
            ("[", 60, "toml"),
            ('tenant = "x"\ngateway = "gw_1"', 60, "for"),
            ("", 60, "for"),
            (TOML + "# " + "x" * 200_000, 60, "size"),
            (TOML, 4, "confirm"),
            (TOML, 601, "confirm"),
        ],
    )
    def test_refuses_what_cannot_be_meant(self, campus: Database, toml: str, confirm_s: int, reason: str) -> None:
        with campus.write() as conn, pytest.raises(configurations.ConfigurationRefused) as refused:
            configurations.desire(conn, TENANT, "gw_1", toml, NOW, confirm_s=confirm_s)
        assert refused.value.details["reason"] == reason

    def test_needs_a_gateway(self, campus: Database) -> None:
        with campus.write() as conn, pytest.raises(service.GatewayUnknown):
            configurations.desire(conn, TENANT, "gw_9", TOML, NOW)


class TestDue:
    def test_is_the_newest_until_the_gateway_has_heard(self, campus: Database) -> None:
        heard(campus, 0)
        with campus.write() as conn:
            configurations.desire(conn, TENANT, "gw_1", TOML, NOW)
            configurations.desire(conn, TENANT, "gw_1", TOML, NOW)
            (one,) = configurations.due(conn, NOW)
            assert one.version == 2
            configurations.mark_sent(conn, one, NOW)
            assert configurations.due(conn, NOW + timedelta(seconds=5)) == []
            assert len(configurations.due(conn, NOW + timedelta(seconds=21))) == 1
        heard(campus, 2)

        with campus.read() as conn:
            assert configurations.due(conn, NOW + timedelta(minutes=5)) == []

    def test_is_nothing_while_the_gateway_is_away(self, campus: Database) -> None:
        with campus.write() as conn:
            configurations.desire(conn, TENANT, "gw_1", TOML, NOW)

            assert configurations.due(conn, NOW) == []


class TestDocument:
    def test_is_signed_for_one_gateway_and_not_for_long(self, campus: Database) -> None:
        key = Ed25519PrivateKey.generate()
        with campus.write() as conn:
            made = configurations.desire(conn, TENANT, "gw_1", TOML, NOW)

        signed = configurations.document(made, ("gxu-1", key), NOW)

        document = verify(signed, keys={"gxu-1": key.public_key()}, as_type=ConfigurationDocument)
        assert (document.tenant, document.gateway, document.version, document.toml) == (TENANT, "gw_1", 1, TOML)
        assert document.not_after_ms - document.issued_at_ms == 60_000
