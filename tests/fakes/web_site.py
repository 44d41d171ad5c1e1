"""A small school behind the pages: seeded people, outlets, a door, prices; and a gateway that a test plays by hand."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from backend.access import service as access
from backend.access.rules import ALWAYS
from backend.bootstrap.container import Backend
from backend.cardholders import service as cardholders
from backend.config import Config
from backend.db import Database
from backend.fleet import service as fleet
from backend.kit.clock import epoch_ms
from backend.kit.ids import new_id
from backend.outbox import service as outbox
from backend.payments import service as payments
from backend.payments.capabilities import EXTERNAL_METHODS
from backend.protections import service as protections
from backend.settlement import service as settlement
from backend.tariffs import service as tariffs
from backend.tariffs.rules import TariffVersion
from backend.tenants import service as tenants
from backend.water_sessions import service as water_sessions
from backend.water_sessions.context import Context
from backend.water_sessions.types import StartRequest, WaterSession
from gateway.contract.events import StopReason, ValveOpened, WaterSessionEnded
from gateway.contract.messages import DeviceHealth, HealthReport, Hello, MeterSampled
from tests.factories import NOW
from tests.fakes.steady_provider import SteadyProvider

PASSWORD = "correct horse battery"
K_FACTOR = 450_000


@dataclass
class StandingClock:
    """A clock that a test moves."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class School:
    """A seeded school and the means to play its gateway."""

    backend: Backend
    clock: StandingClock
    providers: dict[str, SteadyProvider]
    tenant_id: str = "gxu"
    stickers: dict[str, str] = field(default_factory=dict)
    registers: dict[str, int] = field(default_factory=dict)

    @property
    def db(self) -> Database:
        return self.backend.db

    def person(self, login: str) -> cardholders.Cardholder:
        with self.db.read() as conn:
            return cardholders.cardholder_by_login(conn, self.tenant_id, login)

    def report_health(self, *, faults: tuple[str, ...] = (), silent: tuple[str, ...] = ()) -> None:
        """Let the gateway report that all devices answer, the first outlet with these faults."""
        now = epoch_ms(self.clock.now)
        devices = [
            DeviceHealth(
                device=device_id,
                state="silent" if device_id in silent else "online",
                last_answer_at_ms=now,
                evidence="timeout x3" if device_id in silent else "identity read",
                faults=list(faults) if device_id == "dev_o1" else [],
                register_pulses=self.registers.get(device_id, 0),
                temperature_decidegc=440 if device_id != "dev_door" else None,
            )
            for device_id in ("dev_o1", "dev_o2", "dev_o3", "dev_door")
        ]
        with self.db.write() as conn:
            fleet.record_health(
                conn, self.tenant_id, HealthReport(gateway="gw_1", at_ms=now, devices=devices), self.clock.now
            )

    def open_valve(self, session: WaterSession) -> WaterSession:
        """Let the gateway report the outlet open."""
        event = ValveOpened(
            event_id=new_id("ev"),
            at_ms=epoch_ms(self.clock.now),
            device=session.device_id,
            water_session_id=session.water_session_id,
            cmd_id=session.open_cmd_id,
            opening_pulses=self.registers.get(session.device_id, 0),
            k_factor_pulses_per_m3=K_FACTOR,
        )
        with self.db.write() as conn:
            outbox.take_turn(conn, self.tenant_id)
            return settlement.on_valve_opened(conn, self.backend.context, self.tenant_id, event, self.clock.now)

    def sample(self, session: WaterSession, *, pulses: int, elapsed_s: int) -> MeterSampled:
        """Return what the gateway would say of a running session."""
        return MeterSampled(
            device=session.device_id,
            water_session_id=session.water_session_id,
            at_ms=epoch_ms(self.clock.now),
            pulses=pulses,
            k_factor_pulses_per_m3=K_FACTOR,
            flow_ml_per_min=7_800,
            temperature_decidegc=441,
            elapsed_s=elapsed_s,
        )

    def end(self, session: WaterSession, *, pulses: int, reason: StopReason = StopReason.REMOTE) -> WaterSession:
        """Let the gateway report the end after so many pulses."""
        opening = self.registers.get(session.device_id, 0)
        self.registers[session.device_id] = opening + pulses
        event = WaterSessionEnded(
            event_id=new_id("ev"),
            at_ms=epoch_ms(self.clock.now),
            device=session.device_id,
            water_session_id=session.water_session_id,
            stop_reason=reason,
            opening_pulses=opening,
            closing_pulses=opening + pulses,
            k_factor_pulses_per_m3=K_FACTOR,
            temperature_decidegc=441,
            duration_s=60,
            device_log_sequence=1,
        )
        with self.db.write() as conn:
            outbox.take_turn(conn, self.tenant_id)
            return settlement.on_ended(conn, self.backend.context, self.tenant_id, event, self.clock.now)

    def live(self, login: str = "wang") -> WaterSession | None:
        with self.db.read() as conn:
            return water_sessions.live_of_cardholder(conn, self.tenant_id, self.person(login).cardholder_id)

    def history(self, login: str = "wang") -> list[WaterSession]:
        with self.db.read() as conn:
            return water_sessions.history(conn, self.tenant_id, self.person(login).cardholder_id)

    def shower(self, login: str, device_id: str, pulses: int, request_id: str) -> WaterSession:
        """Run one whole shower and return the settled session."""
        started = water_sessions.request_start(
            self.backend.context,
            StartRequest(self.tenant_id, request_id, device_id, self.person(login).cardholder_id, "wallet"),
        )
        self.open_valve(started)
        self.clock.now += timedelta(minutes=4)
        done = self.end(started, pulses=pulses, reason=StopReason.USER)
        self.report_health()
        return done

    def add_tariff(self, place_id: str = "pl_campus") -> None:
        with self.db.write() as conn:
            tariffs.add(conn, tariff(self.tenant_id, place_id))

    def grant(self, *, brand: str = "unionpay", days: int = 100, status: str = "approved") -> str:
        """Protect a brand on the whole campus from yesterday on."""
        admin, second = self.person("admin").cardholder_id, self.person("approver").cardholder_id
        new = protections.Grant(
            tenant_id=self.tenant_id,
            grant_id=new_id("pg"),
            grantor="计财处",
            brand=brand,
            scenario="hot_water",
            place_id="pl_campus",
            active_from=self.clock.now - timedelta(days=1),
            active_to=self.clock.now + timedelta(days=days),
            mode="exclusive",
            created_by=admin,
        )
        with self.db.write() as conn:
            protections.draft(conn, new, self.clock.now)
            if status != "draft":
                protections.submit(conn, self.tenant_id, new.grant_id, admin, self.clock.now)
            if status == "approved":
                protections.approve(conn, self.tenant_id, new.grant_id, second, self.clock.now)
        return new.grant_id


def tariff(tenant_id: str, place_id: str) -> TariffVersion:
    """Return the price that most tests use: ¥0.032 a litre."""
    return TariffVersion(
        tenant_id=tenant_id,
        tariff_id="tf_hot",
        version=12,
        place_id=place_id,
        scenario="hot_water",
        name="热水标准价",
        name_en="Hot water",
        active_from=NOW - timedelta(days=90),
        active_to=None,
        price_minor_per_m3=3_200,
        fixed_minor=0,
        minimum_minor=0,
        free_below_ml=0,
        volume_limit_ml=120_000,
        duration_limit_s=900,
        idle_limit_s=60,
        minimum_hold_minor=50,
    )


_PLACES = (
    ("pl_campus", None, "campus", "西校区", "West campus"),
    ("pl_b3", "pl_campus", "building", "三号公寓", "Hall 3"),
    ("pl_b3f4", "pl_b3", "floor", "4 层", "Floor 4"),
    ("pl_b5", "pl_campus", "building", "五号公寓", "Hall 5"),
    ("pl_lib", "pl_campus", "building", "图书馆", "Library"),
)
_DEVICES = (
    ("dev_o1", "outlet", "pl_b3f4", "12 号淋浴", "Shower 12", "hot_water"),
    ("dev_o2", "outlet", "pl_b3f4", "13 号淋浴", "Shower 13", "hot_water"),
    ("dev_o3", "outlet", "pl_b5", "1 号淋浴", "Shower 1", "hot_water"),
    ("dev_door", "door", "pl_lib", "图书馆 1 号闸机", "Library gate 1", "access"),
)
_PEOPLE = (
    ("wang", "王一鸣", "Wang Yiming", {"student"}, 3_620),
    ("zhao", "赵子涵", "Zhao Zihan", {"student"}, 5_000),
    ("poor", "陈可欣", "Chen Kexin", {"student"}, 0),
    ("fac", "李后勤", "Li Houqin", {"facilities"}, 0),
    ("admin", "张管理", "Zhang Guanli", {"admin"}, 0),
    ("approver", "周审批", "Zhou Shenpi", {"approver"}, 0),
    ("desk", "吴值守", "Wu Zhishou", {"gate_desk"}, 0),
    ("fin", "郑财务", "Zheng Caiwu", {"finance"}, 0),
)


def attach_school(db: Database, folder: Path, *, start: datetime = NOW) -> School:
    """Return the school of a database that was seeded already, with the secrets in a folder."""
    clock = StandingClock(start)
    secrets_dir = folder / "secrets"
    config = Config("", secrets_dir, "127.0.0.1", 1, "http://testserver", "127.0.0.1", 0, "http://127.0.0.1:1")
    providers = {name: SteadyProvider(name) for name in EXTERNAL_METHODS}
    backend = Backend(config, db, Context(db, clock, secrets_dir, dict(providers)))
    school = School(backend, clock, providers)
    with db.read() as conn:
        school.stickers = {each.device_id: each.sticker_token for each in fleet.devices(conn, school.tenant_id)}
    return school


def open_school(db: Database, folder: Path, *, start: datetime = NOW, with_tariff: bool = True) -> School:
    """Seed a school into an empty database and return it, all devices online."""
    school = attach_school(db, folder, start=start)
    secrets_dir = folder / "secrets"
    tenant_id = school.tenant_id
    with db.write() as conn:
        tenants.create(conn, tenants.Tenant(tenant_id, "广西大学", "Guangxi University"))
        for place_id, parent, kind, name, name_en in _PLACES:
            fleet.add_place(conn, fleet.Place(tenant_id, place_id, parent, kind, name, name_en))
        fleet.add_gateway(conn, fleet.Gateway(tenant_id, "gw_1", "pl_campus", "A" * 43 + "="))
        for device_id, kind, place_id, name, name_en, scenario in _DEVICES:
            map_id = "chw.hwo1" if kind == "outlet" else "chw.acr1"
            made = fleet.add_device(
                conn,
                fleet.Device(tenant_id, device_id, "gw_1", place_id, kind, map_id, name, name_en, "", scenario),
            )
            school.stickers[device_id] = made.sticker_token
        access.set_door(
            conn,
            access.DoorPolicy(tenant_id, "dev_door", frozenset({"student", "staff"}), 0, ALWAYS),
        )
        for login, name, name_en, roles, opening in _PEOPLE:
            person_class = "student" if "student" in roles else "staff"
            person = cardholders.Cardholder(
                tenant_id, f"ch_{login}", login, name, name_en, person_class, "active", frozenset(roles)
            )
            cardholders.add_cardholder(conn, person, PASSWORD, start)
            if opening:
                payments.credit_wallet(
                    conn,
                    tenant_id=tenant_id,
                    cardholder_id=person.cardholder_id,
                    amount_minor=opening,
                    transfer_id=f"tr_opening_{login}",
                    now=start,
                    memo="opening balance",
                )
            for method in ("unionpay", "alipay"):
                payments.bind_payer(
                    conn,
                    tenant_id=tenant_id,
                    cardholder_id=person.cardholder_id,
                    method=method,
                    agreement=f"agr_{login}",
                    now=start,
                )
        cardholders.add_card(conn, secrets_dir, tenant_id, "ch_wang", "04A1B2C3D4E5F6", start)
        hello = Hello(
            gateway="gw_1",
            at_ms=epoch_ms(start),
            software="0.1.0",
            contract="1.0",
            journal_epoch="e1",
            journal_sequence=0,
            maps={},
            devices=[row[0] for row in _DEVICES],
        )
        fleet.record_hello(conn, tenant_id, hello, start)
        if with_tariff:
            tariffs.add(conn, tariff(tenant_id, "pl_campus"))
    school.report_health()
    return school


def add_foreign_school(school: School) -> str:
    """Add a second school with one outlet and return that outlet's sticker."""
    with school.db.write() as conn:
        tenants.create(conn, tenants.Tenant("other", "别的大学", "Another University"))
        fleet.add_place(conn, fleet.Place("other", "pl_x", None, "campus", "别处", "Elsewhere"))
        fleet.add_gateway(conn, fleet.Gateway("other", "gw_x", "pl_x", "A" * 43 + "="))
        device = fleet.Device("other", "dev_x", "gw_x", "pl_x", "outlet", "chw.hwo1", "1 号", "No. 1", "", "hot_water")
        return fleet.add_device(conn, device).sticker_token
