"""Which slice hears of what."""

import logging
from datetime import datetime

from sqlalchemy import Connection

from backend.access import service as access
from backend.errors import BackendError
from backend.fleet import service as fleet
from backend.kit.clock import epoch_ms
from backend.settlement import service as settlement
from backend.water_sessions import taps
from backend.water_sessions.context import Context
from gateway.contract.events import (
    CommandRefused,
    Event,
    FaultCleared,
    FaultRaised,
    MeterRead,
    PassageCounted,
    ValveOpened,
    WaterSessionEnded,
)
from gateway.contract.messages import CredentialPresented, Decision

log = logging.getLogger(__name__)

#: A tap that took longer to arrive is answered with "expired": the person has tapped again or gone.
PRESENTED_MAX_AGE_MS = 15_000
#: A tap from further in the future is refused: it could be sent again when nobody remembers it.
PRESENTED_AHEAD_MAX_MS = 5_000


class ForeignDevice(BackendError):
    """A gateway speaks of a device that is not its own."""

    code = "foreign_device"
    status = 403


class PresentedTooLate(BackendError):
    """The tap is too old to be answered with water or a door."""

    code = "expired"
    status = 408


class PresentedAhead(BackendError):
    """The tap claims to be from the future."""

    code = "tap_ahead"
    status = 400


def event(conn: Connection, ctx: Context, tenant_id: str, gateway_id: str, what: Event, now: datetime) -> None:
    """
    Give a journaled event to the slice it is for.

    :raises ForeignDevice: if the gateway speaks of a device that is not its own; and what the slices raise.
    """
    if isinstance(what, FaultRaised):
        fleet.raise_fault(conn, tenant_id, gateway_id, what, now)
        return
    if isinstance(what, FaultCleared):
        fleet.clear_fault(conn, tenant_id, gateway_id, what, now)
        return
    if isinstance(what, CommandRefused):
        _refused(conn, ctx, tenant_id, gateway_id, what, now)
        return
    _check_own(conn, tenant_id, gateway_id, what.device)
    if isinstance(what, ValveOpened):
        settlement.on_valve_opened(conn, ctx, tenant_id, what, now)
    elif isinstance(what, WaterSessionEnded):
        settlement.on_ended(conn, ctx, tenant_id, what, now)
    elif isinstance(what, MeterRead):
        settlement.on_meter_read(conn, tenant_id, what)
    else:
        assert isinstance(what, PassageCounted)
        access.on_passage(conn, tenant_id, what, now)


def _check_own(conn: Connection, tenant_id: str, gateway_id: str, device_id: str) -> None:
    if fleet.device(conn, tenant_id, device_id).gateway_id != gateway_id:
        raise ForeignDevice(device_id=device_id, gateway_id=gateway_id)


def _refused(
    conn: Connection, ctx: Context, tenant_id: str, gateway_id: str, what: CommandRefused, now: datetime
) -> None:
    """Give a refusal to sessions or doors by what it is about."""
    if what.subject_id.startswith("ws_"):
        _check_own(conn, tenant_id, gateway_id, what.device)
        settlement.on_refused(conn, ctx, tenant_id, what, now)
    elif what.subject_id.startswith("pg_"):
        _check_own(conn, tenant_id, gateway_id, what.device)
        access.on_refused(conn, tenant_id, what, now)
    else:
        log.warning("command refused", extra={"gateway": gateway_id, "code": what.code.value, "detail": what.detail})


def presented(ctx: Context, tenant_id: str, gateway_id: str, what: CredentialPresented) -> Decision:
    """
    Return the answer to a tap or a code, by the kind of device it was shown to; a repeat is answered as before.

    :raises ForeignDevice: if the device is not the gateway's; PresentedTooLate and PresentedAhead by its time.
    """
    now = ctx.clock()
    with ctx.db.read() as conn:
        device = fleet.device(conn, tenant_id, what.device)
    if device.gateway_id != gateway_id:
        raise ForeignDevice(device_id=what.device, gateway_id=gateway_id)
    age_ms = epoch_ms(now) - what.at_ms
    if age_ms > PRESENTED_MAX_AGE_MS:
        raise PresentedTooLate
    if age_ms < -PRESENTED_AHEAD_MAX_MS:
        raise PresentedAhead
    if device.kind == "door":
        return access.decide(ctx, tenant_id, what, now, gateway_id=gateway_id)
    return taps.on_presented(ctx, tenant_id, what, now)
