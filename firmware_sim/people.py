"""Lives one visit through: at the page or the reader, under the water, until the bill is there."""

import asyncio
import contextlib
import time
import uuid
from dataclasses import replace
from typing import Any

from firmware_sim.campus import Visit
from firmware_sim.payment_codes import payment_code
from firmware_sim.school_api import Refused, SchoolApi
from firmware_sim.stack import control

_OPEN_WITHIN_S = 20.0
_BILL_WITHIN_S = 60.0
#: who tapped and still stands under running water taps again after so long, not for ever
_TAP_AGAIN_S, _TAPS_AGAIN_MAX = 10.0, 4
_ENDED = {"settled", "voided", "refused"}


async def _ask_devices(port: int, **request: Any) -> dict[str, Any]:
    return await asyncio.to_thread(lambda: control(port, **request))


async def _until(api: SchoolApi, visit: Visit, session_id: str, states: set[str], timeout_s: float) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    while True:
        session = await api.session(visit.login, session_id)
        if session["state"] in states | _ENDED:
            return session
        if time.monotonic() > deadline:
            raise TimeoutError(f"{session_id} is still {session['state']} after {timeout_s:.0f} s")
        await asyncio.sleep(0.1)


async def _start(api: SchoolApi, control_port: int, visit: Visit) -> str:
    if visit.start == "page":
        session = await api.start(
            visit.login,
            device_id=visit.device_id,
            method=visit.method,
            request_id=f"req_{uuid.uuid4().hex}",
            payer_code=payment_code(visit.method) if visit.shows_code else "",
        )
        return str(session["water_session_id"])
    await _ask_devices(control_port, do="tap", device=visit.device_id, uid=visit.card_uid)
    deadline = time.monotonic() + _OPEN_WITHIN_S
    while time.monotonic() < deadline:
        live = await api.live(visit.login)
        if live is not None:
            return str(live["water_session_id"])
        await asyncio.sleep(0.1)
    raise Refused(0, "card_not_answered")


async def _end(api: SchoolApi, control_port: int, visit: Visit, session_id: str) -> None:
    if visit.ending == "forget":
        return
    if visit.ending == "stop":
        await api.stop(visit.login, session_id)
    elif visit.roommate is not None:
        await _ask_devices(control_port, do="tap", device=visit.device_id, uid=visit.roommate[1])
    elif visit.ending == "card" and visit.start == "card":
        await _ask_devices(control_port, do="tap", device=visit.device_id, uid=visit.card_uid)
    else:
        await _ask_devices(control_port, do="tap_flow", device=visit.device_id, open=False)


async def _tap_until_heard(api: SchoolApi, control_port: int, visit: Visit, session_id: str) -> None:
    """Tap again while nothing follows from a tap: with the line down, nobody hears it."""
    for _ in range(_TAPS_AGAIN_MAX):
        with contextlib.suppress(TimeoutError):
            await _until(api, visit, session_id, {"closing"}, _TAP_AGAIN_S)
            return
        await _ask_devices(control_port, do="tap", device=visit.device_id, uid=visit.card_uid)


async def take_over(api: SchoolApi, control_port: int, visit: Visit) -> str:
    """
    Return the state in which the roommate's session ended, who tapped while somebody else's water ran.

    :raises Refused: when they got no water, with the code.
    """
    assert visit.roommate is not None
    login, card_uid = visit.roommate
    own = replace(visit, login=login, card_uid=card_uid, start="card", ending="stop", roommate=None)
    deadline = time.monotonic() + _OPEN_WITHIN_S
    while (live := await api.live(login)) is None:
        if time.monotonic() > deadline:
            raise Refused(0, "hand_over_not_answered")
        await asyncio.sleep(0.1)
    return await _shower(api, control_port, own, str(live["water_session_id"]))


async def live_through(api: SchoolApi, control_port: int, visit: Visit) -> str:
    """
    Return the state in which a visit's session ended.

    :raises Refused: when it was not given water, with the code.
    :raises TimeoutError: when it neither opened nor ended in time.
    """
    return await _shower(api, control_port, visit, await _start(api, control_port, visit))


async def _soak(control_port: int, visit: Visit) -> None:
    """Stand under the water, and shut the mixer in between where somebody soaps."""
    part_s = visit.duration_s / (len(visit.pauses_s) + 1)
    for pause_s in visit.pauses_s:
        await asyncio.sleep(part_s)
        await _ask_devices(control_port, do="tap_flow", device=visit.device_id, open=False)
        await asyncio.sleep(pause_s)
        await _ask_devices(control_port, do="tap_flow", device=visit.device_id, open=True)
    await asyncio.sleep(part_s)


async def _shower(api: SchoolApi, control_port: int, visit: Visit, session_id: str) -> str:
    session = await _until(api, visit, session_id, {"flowing", "paused"}, _OPEN_WITHIN_S)
    if session["state"] not in _ENDED:
        await _soak(control_port, visit)
        with contextlib.suppress(Refused):  # it ended by itself in the meantime; the bill below tells
            await _end(api, control_port, visit, session_id)
            if visit.ending == "card" and visit.start == "card":
                await _tap_until_heard(api, control_port, visit, session_id)
        patience_s = _BILL_WITHIN_S + (float(session["duration_limit_s"]) if visit.ending == "forget" else 0.0)
        session = await _until(api, visit, session_id, set(), patience_s)
    if session["state"] == "refused":
        raise Refused(0, str(session["refusal"]))
    return str(session["state"])
