"""A school with as many outlets as people, each with a wallet, for many showers at once."""

from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from backend.cardholders import service as cardholders
from backend.cardholders.types import Cardholder
from backend.db import Database
from backend.fleet import service as fleet
from backend.fleet.types import Device, Gateway, Place
from backend.kit.clock import epoch_ms
from backend.payments import service as payments
from backend.tariffs import service as tariffs
from backend.tariffs.rules import TariffVersion
from backend.tenants import service as tenants
from backend.water_sessions.types import StartRequest
from gateway.contract.messages import DeviceHealth, HealthReport, Hello
from gateway.contract.signing import public_text

TENANT, GATEWAY = "school", "gw_wide"
START_MINOR = 5_000


def start_of(number: int) -> StartRequest:
    """Return the request of a person to start a shower at the outlet of the same number."""
    return StartRequest(TENANT, f"rq_{number}", f"dev_{number}", f"ch_{number}", "wallet")


def fill_school(db: Database, count: int, now: datetime) -> None:
    """Store a school with so many outlets, and as many people who can pay."""
    devices = [f"dev_{number}" for number in range(count)]
    key = public_text(Ed25519PrivateKey.generate().public_key())
    with db.write() as conn:
        tenants.create(conn, tenants.Tenant(TENANT, "大学", "University"))
        fleet.add_place(conn, Place(TENANT, "pl_campus", None, "campus", "校区", "Campus"))
        fleet.add_gateway(conn, Gateway(TENANT, GATEWAY, "pl_campus", key))
        for number, device_id in enumerate(devices):
            place_id, person_id = f"pl_{number}", f"ch_{number}"
            fleet.add_place(conn, Place(TENANT, place_id, "pl_campus", "outlet", "口", "Outlet"))
            fleet.add_device(
                conn, Device(TENANT, device_id, GATEWAY, place_id, "outlet", "chw.hwo1", "口", "Outlet", "", "shower")
            )
            roles = frozenset({"student"})
            person = Cardholder(TENANT, person_id, person_id, person_id, person_id, "student", "active", roles)
            cardholders.add_cardholder(conn, person, "a long password", now)
            payments.credit_wallet(
                conn,
                tenant_id=TENANT,
                cardholder_id=person_id,
                amount_minor=START_MINOR,
                transfer_id=f"tr_open_{number}",
                now=now,
            )
        tariffs.add(
            conn,
            TariffVersion(
                tenant_id=TENANT,
                tariff_id="tf_water",
                version=1,
                place_id="pl_campus",
                scenario="shower",
                name="热水",
                name_en="Hot water",
                active_from=now - timedelta(days=1),
                active_to=None,
                price_minor_per_m3=3_300,
                fixed_minor=0,
                minimum_minor=0,
                free_below_ml=0,
                volume_limit_ml=60_000,
                duration_limit_s=900,
                idle_limit_s=60,
                minimum_hold_minor=50,
            ),
        )
        hello = Hello(
            gateway=GATEWAY,
            at_ms=epoch_ms(now),
            software="1",
            contract="1.0",
            journal_epoch="ep1",
            journal_sequence=0,
            maps={},
            devices=devices,
        )
        fleet.record_hello(conn, TENANT, hello, now)
        healthy = [
            DeviceHealth(
                device=each,
                state="online",
                last_answer_at_ms=epoch_ms(now),
                evidence="identity read",
                register_pulses=None,
            )
            for each in devices
        ]
        fleet.record_health(conn, TENANT, HealthReport(gateway=GATEWAY, at_ms=epoch_ms(now), devices=healthy), now)
