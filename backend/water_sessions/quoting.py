"""
What a start would rest on: the outlet as it is now, the price in force, who accepts what, and how much can be held.

Changes nothing, so that a page or a tap can ask before anything is at stake.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from backend.cardholders import service as cardholders
from backend.errors import BackendError, Conflict
from backend.fleet import rules as fleet_rules
from backend.fleet import service as fleet
from backend.fleet.types import Device
from backend.payments import service as payments
from backend.protections import service as protections
from backend.tariffs import rules as tariff_rules
from backend.tariffs import service as tariffs
from backend.tariffs.rules import TariffVersion
from backend.water_sessions.types import StartRequest

WALLET = "wallet"


class OutletBusy(Conflict):
    """Someone else is using this outlet."""

    code = "outlet_busy"


class CardholderBusy(Conflict):
    """You already have water running."""

    code = "cardholder_busy"


class OutletOffline(BackendError):
    """The outlet cannot be reached now."""

    code = "outlet_offline"
    status = 503


class OutletFaulty(BackendError):
    """The outlet is out of order."""

    code = "outlet_faulty"
    status = 503


class InsufficientFunds(BackendError):
    """The wallet does not cover the smallest shower."""

    code = "insufficient_funds"
    status = 402


class PaymentDeclined(BackendError):
    """The payment provider declined."""

    code = "payment_declined"
    status = 402


@dataclass(frozen=True, slots=True)
class Quote:
    """What a start would rest on: where, at which price, and how much is held for how much water at most."""

    device: Device
    place_ids: tuple[str, ...]
    tariff: TariffVersion
    hold: tariff_rules.HoldPlan


def check_outlet(conn: Connection, device: Device, now: datetime) -> None:
    """
    Pass if an outlet may be opened now.

    :raises OutletOffline: if its gateway or it has not been heard of for too long.
    :raises OutletFaulty: if it has a fault that forbids opening.
    """
    gateway = fleet.gateway(conn, device.tenant_id, device.gateway_id)
    obstacle = fleet_rules.opening_obstacle(device, gateway, now)
    if obstacle is not None:
        raise OutletOffline if obstacle == OutletOffline.code else OutletFaulty


def quote(conn: Connection, request: StartRequest, now: datetime) -> Quote:
    """
    Return what a start would rest on now, changing nothing.

    :raises DeviceUnknown: if it is not an outlet of this tenant.
    :raises OutletOffline: see `check_outlet`; also OutletFaulty.
    :raises TariffMissing: if no price is in force there.
    :raises MethodNotAccepted: if a protection grant excludes the method there now.
    :raises InsufficientFunds: if the wallet does not cover the smallest hold.
    """
    device = fleet.device(conn, request.tenant_id, request.device_id)
    if device.kind != "outlet":
        raise fleet.DeviceUnknown(f"{request.device_id!r} is not an outlet")
    cardholder = cardholders.cardholder(conn, request.tenant_id, request.cardholder_id)
    if cardholder.status != "active":
        raise cardholders.CardholderInactive
    check_outlet(conn, device, now)
    place_ids = [place.place_id for place in fleet.place_path(conn, request.tenant_id, device.place_id)]
    tariff = tariffs.applicable(conn, request.tenant_id, place_ids=place_ids, scenario=device.scenario, at=now)
    protections.require_accepted(
        conn,
        request.tenant_id,
        method=request.method,
        place_ids=place_ids,
        scenario=device.scenario,
        person_class=cardholder.person_class,
        at=now,
    )
    worst_case = tariff_rules.worst_case_minor(tariff)
    available = worst_case
    if request.method == WALLET:
        available = payments.wallet(conn, request.tenant_id, request.cardholder_id).available_minor
    hold = tariff_rules.plan(tariff, available_minor=available)
    if hold is None:
        raise InsufficientFunds(available_minor=available, needed_minor=tariff.minimum_hold_minor)
    return Quote(device=device, place_ids=tuple(place_ids), tariff=tariff, hold=hold)
