"""
What the page of one outlet shows one person now: the state of their water there, or why there can be none.

One function decides, from the same use cases that start and bill; page and live stream show its answer.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from backend.cardholders.types import Cardholder
from backend.errors import BackendError
from backend.fleet import service as fleet
from backend.fleet.types import Device, Place
from backend.payments import service as payments
from backend.protections import service as protections
from backend.protections.rules import MethodDecision
from backend.settlement import rules as settlement_rules
from backend.tariffs import rules as tariff_rules
from backend.tariffs import service as tariffs
from backend.tariffs.rules import TariffVersion
from backend.water_sessions import service as water_sessions
from backend.water_sessions.machine import State
from backend.water_sessions.quoting import OutletBusy, check_outlet
from backend.water_sessions.types import WaterSession
from backend.web.live import LiveHub
from gateway.contract.units import volume_ml

_VIEW = {
    State.REQUESTED: "checking",
    State.AUTHORIZED: "opening",
    State.OPENING: "opening",
    State.FLOWING: "running",
    State.PAUSED: "running",
    State.CLOSING: "stopping",
    State.METERED: "stopping",
    State.SETTLED: "receipt",
    State.DISPUTED: "receipt",
    State.REFUSED: "refused",
    State.VOIDED: "voided",
}
#: Views that change by themselves, so that the page keeps looking.
MOVING = frozenset({"checking", "opening", "running", "stopping"})


@dataclass(frozen=True, slots=True)
class Outlet:
    """An outlet with its place, root first."""

    device: Device
    path: tuple[Place, ...]

    @property
    def place_ids(self) -> list[str]:
        """Return the path's ids, root first."""
        return [place.place_id for place in self.path]


@dataclass(frozen=True, slots=True)
class Offer:
    """What a start would cost and how it can be paid; `obstacle` says why there can be none now."""

    tariff: TariffVersion | None
    wallet: payments.Wallet
    methods: tuple[MethodDecision, ...]
    #: the most a session can cost, and the volume limit, for the wallet's balance or in full for other methods
    worst_minor: int
    volume_limit_ml: int
    obstacle: BackendError | None
    request_id: str
    #: what a method that cannot hold takes at the start
    deposit_minor: int
    #: the method that is ticked at first: the wallet while it covers the smallest shower, else the brand in force
    suggested: str


@dataclass(frozen=True, slots=True)
class Figures:
    """The live figures of a session; None where nothing has been heard."""

    volume_ml: int
    charge_minor: int
    temperature_decidegc: int | None
    elapsed_s: int
    #: share of the session's volume or time limit used, whichever is larger, in thousandths
    used_permille: int
    is_paused: bool
    #: whether a sample was heard lately
    is_fresh: bool


def outlet_by_sticker(conn: Connection, tenant_id: str, token: str) -> Outlet:
    """
    Return the outlet of a sticker.

    :raises OutletUnknown: for an unknown sticker, one of another school and one that is not an outlet's, alike.
    """
    device = fleet.device_by_sticker(conn, token)
    if device.tenant_id != tenant_id or device.kind != "outlet":
        raise fleet.OutletUnknown("no outlet has this sticker")
    return outlet_of(conn, device)


def outlet_of(conn: Connection, device: Device) -> Outlet:
    """Return a device with its place."""
    return Outlet(device, tuple(fleet.place_path(conn, device.tenant_id, device.place_id)))


def request_id(person: Cardholder, device_id: str, last: WaterSession | None) -> str:
    """
    Return the id under which this person may start once here, until their latest session changes.

    Derived, not drawn: a second click, a reload and a second tab ask for the same session, and an old tab that is sent
    after the session ended gets that session again instead of a new one.
    """
    before = last.water_session_id if last is not None else "none"
    seed = "\0".join((person.tenant_id, person.cardholder_id, device_id, before))
    return "rq_" + hashlib.sha256(seed.encode()).hexdigest()[:32]


def view_of(session: WaterSession) -> str:
    """Return which view a session's state belongs to."""
    return _VIEW[session.state]


def _obstacle(conn: Connection, outlet: Outlet, person: Cardholder, now: datetime) -> BackendError | None:
    try:
        check_outlet(conn, outlet.device, now)
    except BackendError as refusal:
        return refusal
    running = water_sessions.live_of_device(conn, person.tenant_id, outlet.device.device_id)
    if running is not None and running.cardholder_id != person.cardholder_id:
        return OutletBusy()
    own = water_sessions.live_of_cardholder(conn, person.tenant_id, person.cardholder_id)
    if own is not None and own.device_id != outlet.device.device_id:
        return water_sessions.CardholderBusy()
    return None


def offer(conn: Connection, outlet: Outlet, person: Cardholder, now: datetime) -> Offer:
    """Return what starting here would mean for a person now."""
    device = outlet.device
    obstacle = _obstacle(conn, outlet, person, now)
    wallet = payments.wallet(conn, person.tenant_id, person.cardholder_id)
    methods = protections.options(
        conn,
        person.tenant_id,
        place_ids=outlet.place_ids,
        scenario=device.scenario,
        person_class=person.person_class,
        at=now,
    )
    latest = water_sessions.history(conn, person.tenant_id, person.cardholder_id, 1)
    tariff: TariffVersion | None = None
    worst, limit, deposit = 0, 0, 0
    others = sorted(
        (method for method in methods if method.accepted and method.method != water_sessions.WALLET),
        key=lambda method: not method.preferred,
    )
    suggested = water_sessions.WALLET
    try:
        tariff = tariffs.applicable(
            conn, person.tenant_id, place_ids=outlet.place_ids, scenario=device.scenario, at=now
        )
    except tariffs.TariffMissing as missing:
        obstacle = obstacle or missing
    else:
        deposit = tariff_rules.worst_case_minor(tariff)
        plan = tariff_rules.plan(tariff, available_minor=wallet.available_minor)
        worst = plan.hold_minor if plan is not None else deposit
        limit = plan.volume_limit_ml if plan is not None else tariff.volume_limit_ml
        if plan is None and not others:
            obstacle = obstacle or water_sessions.InsufficientFunds()
        if plan is None and others:
            suggested = others[0].method
    token = request_id(person, device.device_id, latest[0] if latest else None)
    return Offer(tariff, wallet, tuple(methods), worst, limit, obstacle, token, deposit, suggested)


def figures(hub: LiveHub, session: WaterSession, tariff: TariffVersion, now: datetime) -> Figures:
    """Return the live figures of a session, rated by the function that writes its bill."""
    sample = hub.latest(session.tenant_id, session.water_session_id)
    since = session.opened_at or session.authorized_at or session.requested_at
    elapsed_s = max(0, int((now - since).total_seconds())) if session.opened_at else 0
    if sample is None:
        used = elapsed_s * 1000 // max(1, session.duration_limit_s)
        return Figures(0, 0, None, elapsed_s, min(1000, used), session.state is State.PAUSED, False)
    meter = sample.meter
    volume = volume_ml(pulses=meter.pulses, k_factor_pulses_per_m3=meter.k_factor_pulses_per_m3)
    used = max(
        volume * 1000 // max(1, session.volume_limit_ml), meter.elapsed_s * 1000 // max(1, session.duration_limit_s)
    )
    return Figures(
        volume_ml=volume,
        charge_minor=settlement_rules.live_charge(
            tariff, pulses=meter.pulses, k_factor_pulses_per_m3=meter.k_factor_pulses_per_m3
        ).amount_minor,
        temperature_decidegc=meter.temperature_decidegc,
        elapsed_s=max(elapsed_s, meter.elapsed_s),
        used_permille=min(1000, used),
        is_paused=meter.state == "paused",
        is_fresh=(now - sample.received_at).total_seconds() <= 6,
    )
