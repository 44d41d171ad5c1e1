"""Valves, registers and bills of every outlet, step by step: who may open, and where each pulse goes."""

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from firmware_sim.report import charge_minor
from gateway.contract.commands import Command, OpenValve
from gateway.contract.messages import MeterSampled

#: from a deadline to what a process that is short of time does about it, and one look at the clock
SLACK_MS = 5_000
#: what may run between the moment a limit is reached and the moment the valve's drive ends: a look of the device
SLACK_ML = 500


@dataclass(slots=True)
class Grant:
    """An opening that was ordered and delivered."""

    cmd_id: str
    not_after_ms: int
    volume_limit_ml: int
    duration_limit_s: int
    #: the device's number of the session it opened
    used_by: int = 0


@dataclass(slots=True)
class Outlet:
    """What is known of one outlet of our own."""

    k_factor_pulses_per_m3: int
    tariff: Mapping[str, Any]
    #: session whose START was the last, and where the register stood at the last END
    session: int = 0
    closing: int = 0
    gap_pulses: int = 0
    #: opening and closing register of each END, and the session that was billed for it
    ends: dict[tuple[int, int], str] = field(default_factory=dict)


class Water:
    """All outlets of all schools, by device id."""

    def __init__(self, plans: Mapping[str, Mapping[str, Any]], *, since_ms: int = 0) -> None:
        """`plans` are the schools' plans by tenant; what opened before `since_ms` was another run's to judge."""
        self._since_ms = since_ms
        self.outlets = {
            raw["device_id"]: Outlet(raw["k_factor_pulses_per_m3"], plan["tariffs"][0])
            for plan in plans.values()
            for raw in plan["devices"]
            if raw["map_id"] == "chw.hwo1"
        }
        self._grants: dict[tuple[str, int], Grant] = {}
        self.settled: dict[str, Mapping[str, Any]] = {}
        #: the most that was shown of each session while it ran
        self._shown: dict[str, int] = {}

    def granted(self, command: Command) -> None:
        """Note that a valid command reached its gateway."""
        if isinstance(command.body, OpenValve):
            tag = zlib.crc32(command.cmd_id.encode())
            grant = Grant(
                command.cmd_id, command.not_after_ms, command.body.volume_limit_ml, command.body.duration_limit_s
            )
            self._grants.setdefault((command.device, tag), grant)

    def world(self, step: Mapping[str, Any]) -> Iterator[str]:
        """Take one step of the devices' world; say what it breaks."""
        outlet = self.outlets.get(step["where"])
        if outlet is None:
            return
        match step["step"]:
            case "START":
                yield from self._started(outlet, step)
            case "valve_open":
                if step["session"] == 0 or step["session"] != outlet.session:
                    yield f"valves_shut: {step['where']} opens its valve for no session"
            case "valve_shut" if "limit_ml" in step:
                yield from self._shut(step)
            case "END":
                yield from self._ended(outlet, step)

    def _started(self, outlet: Outlet, step: Mapping[str, Any]) -> Iterator[str]:
        device, session = step["where"], step["session"]
        outlet.session = session
        if step["at_ms"] < self._since_ms:
            return
        grant = self._grants.get((device, step["tag"]))
        if grant is None:
            yield f"valves_shut: {device} opens for session {session} without a command that was ever delivered to it"
            return
        if grant.used_by not in (0, session):
            yield f"valves_shut: {device} opens a second time from {grant.cmd_id}"
        if step["at_ms"] > grant.not_after_ms + SLACK_MS:
            late_ms = step["at_ms"] - grant.not_after_ms
            yield f"valves_shut: {device} opens {late_ms} ms after {grant.cmd_id} had lapsed"
        grant.used_by = session

    def _shut(self, step: Mapping[str, Any]) -> Iterator[str]:
        device = step["where"]
        if step["volume_ml"] > step["limit_ml"] + SLACK_ML:
            yield f"valves_shut: {device} gave {step['volume_ml']} ml of a grant of {step['limit_ml']}"
        if step["open_ms"] > step["limit_ms"] + SLACK_MS:
            yield f"valves_shut: {device} was open for {step['open_ms']} ms of a grant of {step['limit_ms']}"
        if step["since_lease_ms"] > step["lease_ms"] + SLACK_MS:
            yield f"valves_shut: {device} was open {step['since_lease_ms']} ms after its lease was last renewed"
        grant = self._grants.get((device, step["tag"]))
        if grant is not None and step["limit_ml"] > grant.volume_limit_ml:
            yield f"valves_shut: {device} was given {step['limit_ml']} ml, {grant.cmd_id} {grant.volume_limit_ml}"

    def _ended(self, outlet: Outlet, step: Mapping[str, Any]) -> Iterator[str]:
        device, closing = step["where"], step["total"]
        opening = closing - step["count"]
        if (opening, closing) in outlet.ends:
            return  # written again after a cut in the middle of writing
        if opening < outlet.closing:
            yield f"every_pulse_explained: {device} ends from {opening}, its last session ended at {outlet.closing}"
        outlet.gap_pulses += opening - outlet.closing
        outlet.ends[opening, closing] = ""
        outlet.closing = closing

    def reported(self, device: str, opening: int, closing: int) -> Iterator[str]:
        """Take an end that a gateway told from a device's log; say whether the device ever wrote it."""
        outlet = self.outlets.get(device)
        if outlet is not None and (opening, closing) not in outlet.ends:
            yield f"every_pulse_explained: {device} is said to have ended from {opening} to {closing}, and never did"

    def sampled(self, sample: MeterSampled) -> Iterator[str]:
        """Take a live figure on its way to a page; it never goes back, and knows the outlet's own K-factor."""
        outlet, name = self.outlets.get(sample.device), sample.water_session_id
        if outlet is None:
            return
        if sample.k_factor_pulses_per_m3 != outlet.k_factor_pulses_per_m3:
            yield f"one_price: {name} is shown at a K-factor of {sample.k_factor_pulses_per_m3}, not {sample.device}'s"
        self._shown[name] = max(sample.pulses, self._shown.get(name, 0))

    def session(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Take a session's row as it has become; say what its bill breaks."""
        name, captured = row["water_session_id"], row["captured_minor"] or 0
        if captured > row["hold_minor"]:
            yield f"captured_within_hold: {name} captured {captured} of a hold of {row['hold_minor']}"
        if row["state"] != "settled":
            if captured:
                yield f"captured_within_hold: {name} is {row['state']} and yet captured {captured}"
            return
        before = self.settled.get(name)
        self.settled[name] = row
        if before is not None:
            if before["captured_minor"] != row["captured_minor"]:
                yield f"charged_once: {name} was settled for {before['captured_minor']}, and then for {captured}"
            if before["closing_pulses"] == row["closing_pulses"]:
                return
        outlet = self.outlets.get(row["device_id"])
        if outlet is not None:
            yield from self._billed(outlet, row)

    def _billed(self, outlet: Outlet, row: Mapping[str, Any]) -> Iterator[str]:
        name, device = row["water_session_id"], row["device_id"]
        opening, closing = row["opening_pulses"], row["closing_pulses"]
        if opening is None or closing is None:
            yield f"billed_as_counted: {name} is settled without a register"
            return
        pulses = closing - opening
        due = charge_minor(pulses=pulses, k_factor_pulses_per_m3=outlet.k_factor_pulses_per_m3, tariff=outlet.tariff)
        if row["charge_minor"] != due:
            yield f"one_price: {name} is charged {row['charge_minor']} for {pulses} pulses; the tariff says {due}"
        if pulses < self._shown.get(name, 0):
            yield f"one_price: {name} was shown {self._shown[name]} pulses while it ran, and is billed for {pulses}"
        if (row["captured_minor"] or 0) + (row["overrun_minor"] or 0) != row["charge_minor"]:
            yield f"billed_as_counted: {name}: capture and overrun are not the charge"
        other = outlet.ends.get((opening, closing))
        if other is None:
            yield f"billed_as_counted: {name} is billed from {opening} to {closing}; {device} ended no session there"
        elif pulses and other not in ("", name):
            yield f"billed_as_counted: {name} bills water of {device} that {other} was billed for"
        else:
            outlet.ends[opening, closing] = name

    def unbilled(self) -> Counter[str]:
        """Return by outlet how many pulses ended in a session that nobody is billed for yet."""
        return Counter(
            {
                device: sum(closing - opening for (opening, closing), name in outlet.ends.items() if not name)
                for device, outlet in self.outlets.items()
            }
        )
