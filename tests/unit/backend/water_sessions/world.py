"""A small school with real slices: one room with two outlets, a door, a gateway with its key, people with wallets."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, select

from backend.cardholders import service as cardholders
from backend.cardholders.types import Cardholder
from backend.db import Database
from backend.fleet import service as fleet
from backend.fleet.types import Device, Gateway, Place
from backend.kit.clock import epoch_ms
from backend.kit.ids import new_id
from backend.ledger import service as ledger
from backend.outbox.models import commands
from backend.payments import service as payments
from backend.payments.port import Declined, Unknown
from backend.tariffs import service as tariffs
from backend.tariffs.rules import TariffVersion
from backend.tenants import keys
from backend.tenants import service as tenants
from backend.tenants.service import Tenant
from backend.water_sessions import service as water_sessions
from backend.water_sessions.context import Context
from backend.water_sessions.types import StartRequest, WaterSession
from gateway.contract.commands import Command
from gateway.contract.events import CommandRefused, RefusalCode, StopReason, ValveOpened, WaterSessionEnded
from gateway.contract.messages import (
    CommandMessage,
    CredentialKind,
    CredentialPresented,
    DeviceHealth,
    HealthReport,
    Hello,
)
from gateway.contract.signing import public_text, verify
from tests.factories import NOW
from tests.fakes.steady_provider import SteadyProvider

TENANT, GATEWAY, OUTLET, OTHER_OUTLET, DOOR = "north", "gw_one", "dev_outlet1", "dev_outlet2", "dev_door1"
K_FACTOR = 450_000
#: signs what the gateway says, in every school
GATEWAY_KEY = Ed25519PrivateKey.generate()
UIDS = {"ann": "04A1B2C3", "bob": "04D4E5F6", "cat": "04112233"}
START_MINOR = 5_000


@dataclass
class World:
    """The school, its context and a clock that the test moves."""

    db: Database
    secrets_dir: Path
    now: datetime = NOW
    people: dict[str, str] = field(default_factory=dict)
    gateway_key: Ed25519PrivateKey = field(default_factory=lambda: GATEWAY_KEY)
    unionpay: SteadyProvider = field(default_factory=lambda: SteadyProvider("unionpay"))
    wechat: SteadyProvider = field(default_factory=lambda: SteadyProvider("wechat"))

    def __post_init__(self) -> None:
        providers = {"unionpay": self.unionpay, "alipay": SteadyProvider("alipay"), "wechat": self.wechat}
        self.ctx = Context(db=self.db, clock=lambda: self.now, secrets_dir=self.secrets_dir, providers=providers)

    def later(self, seconds: float) -> datetime:
        """Move the clock and return the new time."""
        self.now += timedelta(seconds=seconds)
        return self.now

    def fill(self) -> "World":
        """Store the school."""
        with self.db.write() as conn:
            tenants.create(conn, Tenant(TENANT, "北方大学", "North University"))
            for place in (
                Place(TENANT, "pl_campus", None, "campus", "校区", "Campus"),
                Place(TENANT, "pl_room", "pl_campus", "room", "301", "301"),
                Place(TENANT, "pl_outlet1", "pl_room", "outlet", "一号", "One"),
                Place(TENANT, "pl_outlet2", "pl_room", "outlet", "二号", "Two"),
                Place(TENANT, "pl_door", "pl_campus", "door", "门", "Door"),
            ):
                fleet.add_place(conn, place)
            fleet.add_gateway(conn, Gateway(TENANT, GATEWAY, "pl_campus", public_text(self.gateway_key.public_key())))
            for device_id, place_id in ((OUTLET, "pl_outlet1"), (OTHER_OUTLET, "pl_outlet2")):
                fleet.add_device(
                    conn,
                    Device(TENANT, device_id, GATEWAY, place_id, "outlet", "chw.hwo1", "口", "Outlet", "", "hot_water"),
                )
            fleet.add_device(
                conn, Device(TENANT, DOOR, GATEWAY, "pl_door", "door", "chw.acr1", "门", "Door", "", "access")
            )
            for login, uid in UIDS.items():
                self.people[login] = new_id("ch")
                roles = frozenset({"facilities"}) if login == "cat" else frozenset({"student"})
                person = Cardholder(TENANT, self.people[login], login, login, login, "student", "active", roles)
                cardholders.add_cardholder(conn, person, "a long password", self.now)
                cardholders.add_card(conn, self.secrets_dir, TENANT, self.people[login], uid, self.now)
                payments.credit_wallet(
                    conn,
                    tenant_id=TENANT,
                    cardholder_id=self.people[login],
                    amount_minor=START_MINOR,
                    transfer_id=f"tr_open_{login}",
                    now=self.now,
                    memo="opening",
                )
                for method in ("unionpay", "alipay"):
                    payments.bind_payer(
                        conn,
                        tenant_id=TENANT,
                        cardholder_id=self.people[login],
                        method=method,
                        agreement=f"agr_{login}",
                        now=self.now,
                    )
            tariffs.add(conn, tariff())
        self.connect()
        return self

    def connect(self) -> None:
        """Let the gateway say hello and report healthy devices."""
        with self.db.write() as conn:
            fleet.record_hello(conn, TENANT, hello(self.now), self.now)
            fleet.record_health(conn, TENANT, health(self.now), self.now)

    def request(
        self, login: str = "ann", *, device_id: str = OUTLET, method: str = "wallet", request_id: str = ""
    ) -> StartRequest:
        """Return a start request."""
        return StartRequest(TENANT, request_id or new_id("rq"), device_id, self.people[login], method)

    def start(self, login: str = "ann", *, device_id: str = OUTLET, method: str = "wallet") -> WaterSession:
        """Start a session and return it."""
        return water_sessions.request_start(self.ctx, self.request(login, device_id=device_id, method=method))

    def session(self, water_session_id: str) -> WaterSession:
        """Return a session as stored."""
        with self.db.read() as conn:
            return water_sessions.session(conn, TENANT, water_session_id)

    def opened(self, of: WaterSession, *, pulses: int = 1_000, at_s: float = 1) -> ValveOpened:
        """Return the event of an opening."""
        return ValveOpened(
            event_id=new_id("ev"),
            at_ms=epoch_ms(of.requested_at) + int(at_s * 1000),
            device=of.device_id,
            water_session_id=of.water_session_id,
            cmd_id=of.open_cmd_id,
            opening_pulses=pulses,
            k_factor_pulses_per_m3=K_FACTOR,
        )

    def ended(
        self,
        of: WaterSession,
        *,
        pulses: int = 1_000,
        used: int = 9_000,
        at_s: float = 120,
        reason: StopReason = StopReason.USER,
    ) -> WaterSessionEnded:
        """Return the event of an ending; 9,000 pulses are 20 liters."""
        return WaterSessionEnded(
            event_id=new_id("ev"),
            at_ms=epoch_ms(of.requested_at) + int(at_s * 1000),
            device=of.device_id,
            water_session_id=of.water_session_id,
            stop_reason=reason,
            opening_pulses=pulses,
            closing_pulses=pulses + used,
            k_factor_pulses_per_m3=K_FACTOR,
            temperature_decidegc=401,
            duration_s=int(at_s) - 1,
            device_log_sequence=7,
        )

    def refused(self, of: WaterSession, code: RefusalCode, *, cmd_id: str = "") -> CommandRefused:
        """Return the event of a refused command: the session's OpenValve unless another id is given."""
        return CommandRefused(
            event_id=new_id("ev"),
            at_ms=epoch_ms(of.requested_at) + 500,
            code=code,
            cmd_id=cmd_id or of.open_cmd_id,
            device=of.device_id,
            subject_id=of.water_session_id,
        )

    def tap(self, login: str, *, device_id: str = OUTLET, request_id: str = "") -> CredentialPresented:
        """Return a card tap."""
        return CredentialPresented(
            request_id=request_id or new_id("rq"),
            at_ms=epoch_ms(self.now),
            device=device_id,
            kind=CredentialKind.UID,
            value=UIDS[login],
        )

    def commands(self) -> list[Command]:
        """Return all stored commands, verified with the tenant's key, by sequence."""
        kid, key = keys.command_key(self.secrets_dir, TENANT)
        with self.db.read() as conn:
            texts = conn.execute(select(commands.c.message).order_by(commands.c.sequence)).scalars().all()
        signed = [msgspec.json.decode(text, type=CommandMessage).signed for text in texts]
        return [verify(one, keys={kid: key.public_key()}, as_type=Command) for one in signed]

    def wallet(self, login: str = "ann") -> payments.Wallet:
        """Return a person's wallet."""
        with self.db.read() as conn:
            return payments.wallet(conn, TENANT, self.people[login])

    def check_books(self) -> None:
        """Assert that debits equal credits, nothing is left in clearing, and the accounts are what they count."""
        with self.db.read() as conn:
            assert ledger.sums(conn, TENANT).balanced
            assert ledger.open_clearing(conn, TENANT) == []
            assert ledger.verify(conn, TENANT) == []


def balance_of(conn: Connection, kind: str) -> int:
    """Return the posted balance of one of the school's own accounts."""
    return ledger.balances(conn, TENANT, ledger.account(conn, TENANT, kind)).posted_minor


def tariff(**changes: object) -> TariffVersion:
    """Return the price: ¥33 per cubic meter, 60 liters at most."""
    values: dict[str, object] = {
        "tenant_id": TENANT,
        "tariff_id": "tf_water",
        "version": 1,
        "place_id": "pl_campus",
        "scenario": "hot_water",
        "name": "热水",
        "name_en": "Hot water",
        "active_from": NOW - timedelta(days=30),
        "active_to": None,
        "price_minor_per_m3": 3_300,
        "fixed_minor": 0,
        "minimum_minor": 0,
        "free_below_ml": 0,
        "volume_limit_ml": 60_000,
        "duration_limit_s": 900,
        "idle_limit_s": 60,
        "minimum_hold_minor": 50,
    }
    return TariffVersion(**{**values, **changes})  # type: ignore[arg-type]


def hello(now: datetime) -> Hello:
    """Return the gateway's birth."""
    return Hello(
        gateway=GATEWAY,
        at_ms=epoch_ms(now),
        software="1",
        contract="1.0",
        journal_epoch="ep1",
        journal_sequence=0,
        maps={},
        devices=[OUTLET, OTHER_OUTLET, DOOR],
    )


def health(now: datetime, *, registers: dict[str, int] | None = None) -> HealthReport:
    """Return a report of healthy devices."""
    devices = [
        DeviceHealth(
            device=device_id,
            state="online",
            last_answer_at_ms=epoch_ms(now),
            evidence="identity read",
            register_pulses=(registers or {}).get(device_id),
        )
        for device_id in (OUTLET, OTHER_OUTLET, DOOR)
    ]
    return HealthReport(gateway=GATEWAY, at_ms=epoch_ms(now), devices=devices)


DECLINED = Declined("no_money")
UNKNOWN = Unknown("timeout")
