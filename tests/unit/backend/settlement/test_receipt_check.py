"""A receipt made by a real settlement, and everything a forger might do to it."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from backend.db import Database, open_database
from backend.mqtt import ingest
from backend.settlement import receipt_check, receipt_file
from backend.settlement.receipt_file import Page, Statement
from backend.water_sessions.types import WaterSession
from gateway.contract.signing import Signed, public_text, sign
from tests.unit.backend.mqtt.test_ingest import Journal, events
from tests.unit.backend.water_sessions.world import OTHER_OUTLET, TENANT, World


@pytest.fixture
def world(sqlite_template: Path, tmp_path: Path) -> Iterator[World]:
    """Yield a school on a quick database: what a file proves does not depend on its kind."""
    shutil.copyfile(sqlite_template, tmp_path / "one.db")
    opened = open_database(f"sqlite:///{tmp_path / 'one.db'}")
    yield World(opened, tmp_path / "secrets").fill()
    opened.engine.dispose()


def shower(world: World) -> WaterSession:
    """Return a settled session whose records have other people's records before, between and after them."""
    journal, other = Journal(world), world.start("bob", device_id=OTHER_OUTLET)
    started = world.start()
    batch = [journal.record(world.opened(other)), journal.record(world.opened(started))]
    batch += [journal.record(world.ended(other)), journal.record(world.ended(started))]
    ingest.handle(world.ctx, [events(*batch)])
    return world.session(started.water_session_id)


def receipt(world: World, session: WaterSession, *, start: int = 0, limit: int = 1_000) -> bytes:
    with world.db.read() as conn:
        signing = world.ctx.signing(TENANT)
        return receipt_file.page(conn, signing, TENANT, session.water_session_id, start=start, limit=limit)


def bad(found: list[receipt_check.Finding]) -> list[str]:
    return [finding.what for finding in found if not finding.is_good]


class TestCheck:
    def test_finds_a_true_receipt_genuine(self, world: World) -> None:
        session = shower(world)
        data = receipt(world, session)
        key = public_text(world.ctx.signing(TENANT)[1].public_key())

        found = receipt_check.check([data + b"\n"], trusted=[key])

        assert bad(found) == []
        assert [finding.what for finding in found] == [
            "statement", "pages", "records", "chain", "registers", "tariff", "amount",
        ]  # fmt: skip
        assert "66 were taken" in found[-1].said

    def test_shows_nothing_of_other_people(self, world: World) -> None:
        session = shower(world)

        data = receipt(world, session)

        assert OTHER_OUTLET.encode() not in data
        page = msgspec.json.decode(data, type=Page)
        assert [link.sequence for link in page.links] == [1, 2, 3, 4]
        assert len(page.records) == 2

    def test_needs_all_pages_in_any_order(self, world: World) -> None:
        session = shower(world)
        pages = [receipt(world, session, start=start, limit=2) for start in (0, 2)]

        assert bad(receipt_check.check(pages[::-1])) == []
        assert bad(receipt_check.check(pages[:1])) == ["pages"]
        assert bad(receipt_check.check(pages[1:])) == ["pages"]
        assert bad(receipt_check.check([*pages, pages[1]])) == ["pages"]
        assert bad(receipt_check.check([])) == ["file"]

    def test_names_every_single_changed_byte(self, world: World) -> None:
        data = receipt(world, shower(world))
        chance = random.Random(8)

        for place in chance.sample(range(len(data)), 400):
            spoiled = bytearray(data)
            spoiled[place] ^= 1 << chance.randrange(8)
            assert bad(receipt_check.check([bytes(spoiled)])), (
                f"byte {place} of {data[max(0, place - 20) : place + 20]!r}"
            )

    def test_names_bytes_that_were_added_or_cut(self, world: World) -> None:
        data = receipt(world, shower(world))

        for spoiled in (
            data + b" ",
            b" " + data,
            data[:-1],
            data + b"\n\n",
            data.replace(b",", b", ", 1),
            b"",
            b"\xff",
        ):
            assert bad(receipt_check.check([spoiled])) == ["file"]

    def test_names_a_key_that_is_not_the_schools(self, world: World) -> None:
        data = receipt(world, shower(world))

        assert bad(receipt_check.check([data], trusted=[public_text(Ed25519PrivateKey.generate().public_key())])) == [
            "school_key"
        ]

    @pytest.mark.parametrize(
        ("changes", "what"),
        [
            ({"charge_minor": 67}, "amount"),
            ({"captured_minor": 100}, "amount"),
            ({"volume_ml": 1}, "amount"),
            ({"closing_pulses": 20_000}, "registers"),
            ({"k_factor_pulses_per_m3": 1}, "registers"),
            ({"device": OTHER_OUTLET}, "registers"),
            ({"water_session_id": "ws_other"}, "record"),
            ({"gateway": "gw_9"}, "record"),
            ({"tenant": "other"}, "school_key"),
            ({"links_sha256": "0" * 64}, "links"),
            ({"records": []}, "records"),
        ],
    )
    def test_names_what_even_the_school_itself_cannot_claim(
        self, world: World, changes: dict[str, object], what: str
    ) -> None:
        page = msgspec.json.decode(receipt(world, shower(world)), type=Page)
        statement = msgspec.json.decode(page.statement.payload, type=Statement)
        kid, key = world.ctx.signing(TENANT)

        lied = sign(msgspec.structs.replace(statement, **changes), key=key, kid=kid)

        spoiled = msgspec.json.encode(msgspec.structs.replace(page, statement=lied))
        assert bad(receipt_check.check([spoiled])) == [what]

    def test_names_a_higher_price(self, world: World) -> None:
        page = msgspec.json.decode(receipt(world, shower(world)), type=Page)
        statement = msgspec.json.decode(page.statement.payload, type=Statement)
        kid, key = world.ctx.signing(TENANT)
        dearer = msgspec.structs.replace(statement.tariff, price_minor_per_m3=statement.tariff.price_minor_per_m3 * 2)

        lied = sign(msgspec.structs.replace(statement, tariff=dearer), key=key, kid=kid)

        spoiled = msgspec.json.encode(msgspec.structs.replace(page, statement=lied))
        assert "amount" in bad(receipt_check.check([spoiled]))

    def test_names_records_that_were_left_out_of_the_chain(self, world: World) -> None:
        page = msgspec.json.decode(receipt(world, shower(world)), type=Page)
        statement = msgspec.json.decode(page.statement.payload, type=Statement)
        kid, key = world.ctx.signing(TENANT)

        for missing in (0, 1, 2):
            links = [link for number, link in enumerate(page.links) if number != missing]
            digest = receipt_file.links_digest(links)
            said = msgspec.structs.replace(statement, link_count=len(links), links_sha256=digest)
            lied = msgspec.structs.replace(page, statement=sign(said, key=key, kid=kid), links=links)
            assert bad(receipt_check.check([msgspec.json.encode(lied)])) == ["chain"]

    def test_names_a_bill_without_a_signed_ending(self, world: World) -> None:
        page = msgspec.json.decode(receipt(world, shower(world)), type=Page)
        statement = msgspec.json.decode(page.statement.payload, type=Statement)
        kid, key = world.ctx.signing(TENANT)
        said = msgspec.structs.replace(statement, records=[], gateway_keys=[])

        lied = msgspec.structs.replace(page, statement=sign(said, key=key, kid=kid), records=[])

        assert bad(receipt_check.check([msgspec.json.encode(lied)])) == ["ending"]

    def test_survives_anything_signed(self, world: World) -> None:
        page = msgspec.json.decode(receipt(world, shower(world)), type=Page)
        kid, key = world.ctx.signing(TENANT)
        for payload in ("{", "[]", '{"format":1}', "\\ud800"):
            signature = msgspec.json.decode(msgspec.json.encode(sign(page.links[0], key=key, kid=kid)), type=Signed)
            lied = msgspec.structs.replace(page, statement=msgspec.structs.replace(signature, payload=payload))
            assert bad(receipt_check.check([msgspec.json.encode(lied)])) == ["statement"]


class TestPage:
    def test_waits_for_the_settlement(self, world: World) -> None:
        started = world.start()

        with pytest.raises(receipt_file.ReceiptNotReady):
            receipt(world, started)

    def test_is_the_same_bytes_each_time(self, database: Database, tmp_path: Path) -> None:
        world = World(database, tmp_path / "secrets").fill()
        session = shower(world)

        assert receipt(world, session) == receipt(world, session)
