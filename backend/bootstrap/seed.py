"""
Fills a database from a demo plan. Running it again adds what is new and changes nothing else: no balance twice, no new
sticker, no new password. Passwords are made at the first run and live in the output folder's `demo.json` alone.
"""

import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from backend.access import service as access
from backend.access.rules import ALWAYS
from backend.bootstrap.gateway_file import gateway_toml
from backend.bootstrap.plan import Plan, PlanMalformed, PlannedGrant, PlannedPerson, read_plan
from backend.cardholders import service as cardholders
from backend.cardholders.sign_in import set_password
from backend.config import Config
from backend.db import Database
from backend.fleet import service as fleet
from backend.kit.clock import utc_now
from backend.kit.ids import new_id
from backend.ledger import service as ledger
from backend.payments import service as payments
from backend.payments.capabilities import MATRIX
from backend.protections import service as protections
from backend.tariffs import service as tariffs
from backend.tariffs.rules import TariffVersion
from backend.tenants import keys
from backend.tenants import service as tenants
from gateway.contract.signing import public_text

_VISIT = timedelta(hours=72)


@dataclass(frozen=True, slots=True)
class Seeded:
    """What a run of the seed left behind: the demo file's content and the files written."""

    demo: dict[str, Any]
    files: tuple[Path, ...]


def _known_passwords(demo_file: Path) -> dict[str, str]:
    if not demo_file.exists():
        return {}
    try:
        written = json.loads(demo_file.read_text())
        return {login["login"]: login["password"] for login in written["logins"]}
    except (ValueError, KeyError, TypeError) as error:
        raise PlanMalformed(f"{demo_file.name} is damaged; remove it to have new passwords made") from error


def _write_private(path: Path, text: str) -> None:
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.replace(path)


def _seed_places_and_devices(conn: Connection, plan: Plan) -> None:
    tenant_id = plan.tenant.tenant_id
    tenants.create(
        conn,
        tenants.Tenant(
            tenant_id, plan.tenant.name, plan.tenant.name_en, zone=plan.tenant.zone, currency=plan.tenant.currency
        ),
    )
    ledger.open_chart(conn, tenant_id, tuple(MATRIX))
    for place in plan.places:
        fleet.add_place(
            conn, fleet.Place(tenant_id, place.place_id, place.parent_id, place.kind, place.name, place.name_en)
        )
    for gateway in plan.gateways:
        fleet.add_gateway(conn, fleet.Gateway(tenant_id, gateway.gateway_id, gateway.place_id, gateway.public_key))
    for device in plan.devices:
        fleet.place_path(conn, tenant_id, device.place_id)
        fleet.gateway(conn, tenant_id, device.gateway_id)
        fleet.add_device(
            conn,
            fleet.Device(
                tenant_id=tenant_id,
                device_id=device.device_id,
                gateway_id=device.gateway_id,
                place_id=device.place_id,
                kind=device.kind,
                map_id=device.map_id,
                name=device.name,
                name_en=device.name_en,
                sticker_token="",
                scenario=device.scenario,
            ),
        )
        if device.kind == "door":
            hours = device.door.hours
            access.set_door(
                conn,
                access.DoorPolicy(
                    tenant_id=tenant_id,
                    device_id=device.device_id,
                    person_classes=frozenset(device.door.person_classes),
                    minimum_assurance=device.door.minimum_assurance,
                    hours=ALWAYS
                    if hours is None
                    else tuple(access.OpenHours(each.weekday, each.from_minute, each.to_minute) for each in hours),
                ),
            )


def _seed_person(
    conn: Connection, secrets_dir: Path, tenant_id: str, person: PlannedPerson, password: str | None, now: datetime
) -> tuple[str, str]:
    """Return the id and the password of a person, who is added if new."""
    try:
        cardholder_id = cardholders.cardholder_by_login(conn, tenant_id, person.login).cardholder_id
        if password is None:
            password = secrets.token_urlsafe(9)
            set_password(conn, tenant_id, cardholder_id, password)
    except cardholders.CardholderUnknown:
        cardholder_id, password = new_id("ch"), password or secrets.token_urlsafe(9)
        new = cardholders.Cardholder(
            tenant_id=tenant_id,
            cardholder_id=cardholder_id,
            login=person.login,
            name=person.name,
            name_en=person.name_en,
            person_class=person.person_class,
            status="active",
            roles=frozenset(person.roles),
        )
        cardholders.add_cardholder(conn, new, password, now)
        if person.person_class == "visitor" or person.visitor_pass is not None:
            visit = person.visitor_pass
            cardholders.set_visitor_pass(
                conn,
                tenant_id,
                cardholder_id,
                not_before=visit.not_before if visit else now,
                not_after=visit.not_after if visit else now + _VISIT,
                uses=visit.uses if visit else None,
            )
    if person.card_uid:
        cardholders.add_card(conn, secrets_dir, tenant_id, cardholder_id, person.card_uid, now)
    if person.opening_minor > 0:
        payments.credit_wallet(
            conn,
            tenant_id=tenant_id,
            cardholder_id=cardholder_id,
            amount_minor=person.opening_minor,
            transfer_id=f"tr_opening_{cardholder_id}",
            now=now,
            memo="opening balance",
        )
    for method, agreement in person.agreements.items():
        payments.bind_payer(
            conn, tenant_id=tenant_id, cardholder_id=cardholder_id, method=method, agreement=agreement, now=now
        )
    return cardholder_id, password


def _seed_tariffs(conn: Connection, plan: Plan) -> None:
    for tariff in plan.tariffs:
        values = {name: getattr(tariff, name) for name in tariff.__struct_fields__}
        tariffs.add(conn, TariffVersion(tenant_id=plan.tenant.tenant_id, **values))


def _has_role(plan: Plan, role: str) -> list[str]:
    return [person.login for person in plan.people if role in person.roles]


def _seed_grant(conn: Connection, plan: Plan, planned: PlannedGrant, ids: dict[str, str], now: datetime) -> None:
    tenant_id = plan.tenant.tenant_id
    if any(known.grant_id == planned.grant_id for known in protections.list_all(conn, tenant_id)):
        return
    author = planned.created_by or next(iter(_has_role(plan, "admin")), "")
    second = planned.approved_by or next((login for login in _has_role(plan, "approver") if login != author), "")
    if author not in ids or (planned.status == "approved" and second not in ids):
        raise PlanMalformed(f"grant {planned.grant_id} needs an admin who drafts it and another person who approves it")
    values = {name: getattr(planned, name) for name in planned.__struct_fields__}
    values |= {"exemptions": tuple(planned.exemptions), "created_by": ids[author], "approved_by": None}
    protections.draft(conn, protections.Grant(tenant_id=tenant_id, **values), now)
    if planned.status in ("submitted", "approved"):
        protections.submit(conn, tenant_id, planned.grant_id, ids[author], now)
    if planned.status == "approved":
        protections.approve(conn, tenant_id, planned.grant_id, ids[second], now)


def _write_gateway_files(config: Config, plan: Plan, out_dir: Path) -> tuple[Path, ...]:
    tenant_id = plan.tenant.tenant_id
    kid, key = keys.command_key(config.secrets_dir, tenant_id)
    files = []
    for gateway in plan.gateways:
        path = out_dir / f"gateway-{gateway.gateway_id}.toml"
        text = gateway_toml(
            gateway,
            plan.devices,
            tenant_id=tenant_id,
            state_dir=gateway.state_dir or str((out_dir / f"gateway-{gateway.gateway_id}").absolute()),
            broker_host=config.broker_host,
            broker_port=config.broker_port,
            command_keys={kid: public_text(key.public_key())},
        )
        path.write_text(text)
        files.append(path)
    return tuple(files)


def seed(db: Database, config: Config, plan: dict[str, Any], out_dir: Path, *, now: datetime | None = None) -> Seeded:
    """
    Store everything a plan describes, write `demo.json` and a file for each gateway, and say what was done.

    The demo file is written before the commit, so that no password exists that nobody knows.

    :raises PlanMalformed: if the plan lacks something or contradicts itself; nothing is stored then.
    """
    moment = now or utc_now()
    read = read_plan(plan)
    tenant_id = read.tenant.tenant_id
    out_dir.mkdir(parents=True, exist_ok=True)
    demo_file = out_dir / "demo.json"
    passwords = _known_passwords(demo_file)
    with db.write() as conn:
        _seed_places_and_devices(conn, read)
        ids: dict[str, str] = {}
        logins: list[dict[str, Any]] = []
        for person in read.people:
            known = passwords.get(person.login)
            ids[person.login], password = _seed_person(conn, config.secrets_dir, tenant_id, person, known, moment)
            logins.append({"login": person.login, "password": password, "roles": person.roles, "name": person.name})
        _seed_tariffs(conn, read)
        for grant in read.grants:
            _seed_grant(conn, read, grant, ids, moment)
        outlets = fleet.devices(conn, tenant_id, kind="outlet")
        stickers = {each.device_id: f"{config.public_url.rstrip('/')}/w/{each.sticker_token}" for each in outlets}
        demo: dict[str, Any] = {"logins": logins, "stickers": stickers, "tenant_id": tenant_id}
        _write_private(demo_file, json.dumps(demo, ensure_ascii=False, indent=2) + "\n")
    return Seeded(demo, (demo_file, *_write_gateway_files(config, read, out_dir)))
