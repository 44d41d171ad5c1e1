"""A plan fills a school; running it again changes nothing but what is new."""

import copy
import json
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backend.access import service as access
from backend.bootstrap.plan import PlanMalformed
from backend.bootstrap.seed import seed
from backend.cardholders import service as cardholders
from backend.config import Config
from backend.db import Database
from backend.fleet import service as fleet
from backend.ledger import service as ledger
from backend.payments import service as payments
from backend.protections import service as protections
from backend.tariffs import service as tariffs
from backend.tenants import keys
from firmware_sim.plan import PlanSize, build_plan
from gateway.config import load_config
from tests.factories import NOW

PUBLIC_KEY = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


def a_plan() -> dict[str, Any]:
    """Return the demonstration plan with a visitor."""
    gateways = {"gw_b1": PUBLIC_KEY, "gw_library": PUBLIC_KEY}
    size = PlanSize(buildings=1, floors=1, outlets_per_floor=2, students=2)
    plan = build_plan(seed=7, size=size, ports=[15_020, 15_021], public_keys=gateways, now=NOW)
    visitor = {
        "login": "guest",
        "name": "访客",
        "name_en": "Guest",
        "person_class": "visitor",
        "roles": [],
        "card_uid": None,
        "opening_minor": 0,
    }
    plan["people"].append(visitor)
    return json.loads(json.dumps(plan))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Return a configuration whose secrets are in a fresh folder."""
    return Config(
        database_url="",
        secrets_dir=tmp_path / "secrets",
        broker_host="127.0.0.1",
        broker_port=11_883,
        public_url="http://127.0.0.1:8080/",
        http_host="127.0.0.1",
        http_port=8080,
        provider_url="",
    )


class TestSeed:
    def test_makes_everything_work(self, database: Database, config: Config, tmp_path: Path) -> None:
        plan = a_plan()
        demo = seed(database, config, plan, tmp_path / "out", now=NOW).demo
        people = {login["login"]: login for login in demo["logins"]}

        with database.write() as conn:
            signed = cardholders.sign_in(conn, "gxu", "s001", people["s001"]["password"], NOW)
            student = signed.cardholder.cardholder_id
            uid = next(person["card_uid"] for person in plan["people"] if person["login"] == "s001")
            resolved = cardholders.resolve(conn, config.secrets_dir, "gxu", kind="uid", value=uid, now=NOW)
            assert resolved.cardholder.cardholder_id == student
            assert payments.wallet(conn, "gxu", student).available_minor == 5_000
            outlets = fleet.devices(conn, "gxu", kind="outlet")
            assert set(demo["stickers"]) == {outlet.device_id for outlet in outlets}
            for outlet in outlets:
                url = demo["stickers"][outlet.device_id]
                assert url.startswith("http://127.0.0.1:8080/w/")
                assert fleet.device_by_sticker(conn, url.rpartition("/")[2]) == outlet
                path = [place.place_id for place in fleet.place_path(conn, "gxu", outlet.place_id)]
                assert tariffs.applicable(conn, "gxu", place_ids=path, scenario="hot_water", at=NOW)
            assert access.door(conn, "gxu", "dev_library_1").person_classes
            guest = cardholders.cardholder_by_login(conn, "gxu", "guest")
            assert cardholders.student_code(conn, config.secrets_dir, "gxu", guest.cardholder_id, NOW)
            assert len(protections.list_all(conn, "gxu")) == len(plan.get("grants", []))

    def test_changes_nothing_the_second_time(self, database: Database, config: Config, tmp_path: Path) -> None:
        first = seed(database, config, a_plan(), tmp_path / "out", now=NOW)
        with database.read() as conn:
            before = ledger.sums(conn, "gxu")
        again = seed(database, config, a_plan(), tmp_path / "out", now=NOW + timedelta(days=1))

        assert again.demo == first.demo
        with database.read() as conn:
            assert ledger.sums(conn, "gxu") == before
            for person in cardholders.cardholders(conn, "gxu"):
                kinds = [each.kind for each in cardholders.credentials(conn, "gxu", person.cardholder_id)]
                assert len(kinds) == len(set(kinds))

    def test_makes_new_passwords_when_the_file_is_lost(
        self, database: Database, config: Config, tmp_path: Path
    ) -> None:
        first = seed(database, config, a_plan(), tmp_path / "out", now=NOW).demo
        (tmp_path / "out" / "demo.json").unlink()
        second = seed(database, config, a_plan(), tmp_path / "out", now=NOW).demo
        old, new = (demo["logins"][0]["password"] for demo in (first, second))

        assert old != new
        with database.write() as conn:
            assert cardholders.sign_in(conn, "gxu", second["logins"][0]["login"], new, NOW).token

    def test_keeps_passwords_to_the_owner_and_out_of_the_database(
        self, database: Database, config: Config, tmp_path: Path
    ) -> None:
        seed(database, config, a_plan(), tmp_path / "out", now=NOW)
        demo_file = tmp_path / "out" / "demo.json"

        assert stat.S_IMODE(demo_file.stat().st_mode) == 0o600
        assert json.loads(demo_file.read_text())["tenant_id"] == "gxu"

    def test_writes_files_gateways_start_from(self, database: Database, config: Config, tmp_path: Path) -> None:
        seeded = seed(database, config, a_plan(), tmp_path / "out", now=NOW)
        kid, key = keys.command_key(config.secrets_dir, "gxu")

        read = load_config(tmp_path / "out" / "gateway-gw_b1.toml")

        assert len(seeded.files) == 3
        assert (read.tenant, read.gateway, read.broker_port) == ("gxu", "gw_b1", 11_883)
        assert read.command_keys[kid].public_bytes_raw() == key.public_key().public_bytes_raw()
        assert [(line.line_id, line.port) for line in read.lines] == [("b1", 15_020)]
        assert {device.kind for device in read.devices} == {"outlet"}

    @pytest.mark.parametrize(
        ("damage", "word"),
        [
            (lambda plan: plan.pop("tenant"), "tenant"),
            (lambda plan: plan["people"][0].pop("login"), "login"),
            (lambda plan: plan["people"][0].update(roles=["king"]), "king"),
            (lambda plan: plan["gateways"][0]["lines"][0].update(port="x"), "port"),
            (lambda plan: plan["tariffs"][0].update(active_from="2026-01-01T00:00:00"), "zone"),
        ],
    )
    def test_says_what_is_wrong_with_a_plan(
        self, database: Database, config: Config, tmp_path: Path, damage: Any, word: str
    ) -> None:
        plan = copy.deepcopy(a_plan())
        damage(plan)

        with pytest.raises(PlanMalformed, match=word):
            seed(database, config, plan, tmp_path / "out", now=NOW)

        assert not (tmp_path / "out" / "demo.json").exists()
