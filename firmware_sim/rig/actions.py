"""What hands can do at a device, as requests to the control port. Only what is listed here gets there."""

from collections.abc import Callable, Mapping
from typing import Any

from firmware_sim.mishaps import FELT, PIPE_FAULTS

_PLUG_PULLED_S = 5
_TEXT_MAX = 208

#: faults an installer meets and can look for
FAULTS = tuple(name for name in {**PIPE_FAULTS, **FELT} if name != "sensor_unplugged")


class NoSuchAction(Exception):
    """The page asked for something that no hand can do."""


def _card(form: Mapping[str, str]) -> dict[str, Any]:
    typed = form.get("uid", "").replace(":", "").replace(" ", "")
    return {"do": "tap", "uid": typed or form.get("card", "")}


def _fault(form: Mapping[str, str], *, on: bool) -> dict[str, Any]:
    if form.get("fault") not in FAULTS:
        raise NoSuchAction("no such fault")
    return {"do": "fault", "fault": form["fault"], "on": on}


_ACTIONS: Mapping[str, Callable[[Mapping[str, str]], dict[str, Any]]] = {
    "tap": _card,
    "show_code": lambda form: {"do": "code", "text": form.get("code", "")[:_TEXT_MAX]},
    "button": lambda form: {"do": "button"},
    "mixer_open": lambda form: {"do": "tap_flow", "open": True},
    "mixer_close": lambda form: {"do": "tap_flow", "open": False},
    "unplug": lambda form: {"do": "fault", "fault": "sensor_unplugged", "on": True},
    "plug": lambda form: {"do": "fault", "fault": "sensor_unplugged", "on": False},
    "pull": lambda form: {"do": "power_cut", "seconds": _PLUG_PULLED_S},
    "cut_wire": lambda form: {"do": "silent", "on": True},
    "mend_wire": lambda form: {"do": "silent", "on": False},
    "walk_in": lambda form: {"do": "pass", "direction": "in"},
    "walk_out": lambda form: {"do": "pass", "direction": "out"},
    "break": lambda form: _fault(form, on=True),
    "mend": lambda form: _fault(form, on=False),
}


def request_for(form: Mapping[str, str]) -> dict[str, Any]:
    """
    Return the control request of a form that was sent.

    :raises NoSuchAction: when it asks for anything else.
    """
    make = _ACTIONS.get(form.get("action", ""))
    if make is None:
        raise NoSuchAction("no such action")
    return {"device": form.get("device", ""), **make(form)}
