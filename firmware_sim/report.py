"""
Compares what the devices counted with what the backend billed, and says whether every invariant holds.

Pure: device records, sessions and ledger figures go in as plain data, findings come out. The charge is worked out here
a second time from the plan's tariff, so that a mistake in the server's rating has two chances to show.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

_ENDED = {"settled", "voided", "refused"}


@dataclass(frozen=True, slots=True)
class ShowerRow:
    """One shower as the report prints it: ids, device evidence, bill."""

    water_session_id: str
    device_id: str
    auth_id: str
    state: str
    opening_pulses: int | None
    closing_pulses: int | None
    device_opening_pulses: int | None
    device_closing_pulses: int | None
    billed_ml: int | None
    charge_minor: int | None
    hold_minor: int
    capture_minor: int
    overrun_minor: int
    stop_reason: str | None


@dataclass(slots=True)
class Report:
    """The result of a run. `violations` is empty when everything that must hold does."""

    seed: int
    showers: list[ShowerRow]
    totals: dict[str, int]
    ledger: dict[str, int]
    breaks: int
    violations: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain data for `--report FILE`."""
        return asdict(self)


def charge_minor(*, pulses: int, k_factor_pulses_per_m3: int, tariff: Mapping[str, Any]) -> int:
    """Return the charge for a pulse count in minor units, rounded half up once, from the plan's tariff."""
    volume_ml = pulses * 1_000_000 // k_factor_pulses_per_m3
    if pulses == 0 or volume_ml < tariff["free_below_ml"]:
        return 0
    exact = Fraction(volume_ml * tariff["price_minor_per_m3"], 1_000_000) + tariff["fixed_minor"]
    return max(int(tariff["minimum_minor"]), int(exact + Fraction(1, 2)))


def _row(session: dict[str, Any], record: dict[str, Any] | None) -> ShowerRow:
    return ShowerRow(
        water_session_id=session["water_session_id"],
        device_id=session["device_id"],
        auth_id=session["auth_id"],
        state=session["state"],
        opening_pulses=session["opening_pulses"],
        closing_pulses=session["closing_pulses"],
        device_opening_pulses=record["opening_pulses"] if record else None,
        device_closing_pulses=record["closing_pulses"] if record else None,
        billed_ml=session["volume_ml"],
        charge_minor=session["charge_minor"],
        hold_minor=session["hold_minor"],
        capture_minor=session["captured_minor"] or 0,
        overrun_minor=session["overrun_minor"] or 0,
        stop_reason=session["stop_reason"],
    )


def _check_session(row: ShowerRow, *, k_factor: int, tariff: dict[str, Any], has_log: bool) -> list[str]:
    name = row.water_session_id
    found = []
    if row.state not in _ENDED:
        found.append(f"{name} has not ended: {row.state}")
    if row.capture_minor > row.hold_minor:
        found.append(f"{name} captured {row.capture_minor} of a hold of {row.hold_minor}")
    if row.state != "settled":
        if row.capture_minor:
            found.append(f"{name} is {row.state} and yet captured {row.capture_minor}")
        return found
    if row.device_closing_pulses is None and has_log:
        return [*found, f"{name} is settled, but no device record ends at its closing register"]
    assert row.opening_pulses is not None
    assert row.closing_pulses is not None
    own = (row.device_opening_pulses, row.device_closing_pulses)
    if has_log and (row.opening_pulses, row.closing_pulses) != own:
        found.append(f"{name} was billed from registers that are not the device's")
    pulses = row.closing_pulses - row.opening_pulses
    expected = charge_minor(pulses=pulses, k_factor_pulses_per_m3=k_factor, tariff=tariff)
    if row.charge_minor != expected:
        found.append(f"{name} was charged {row.charge_minor} for {pulses} pulses; the tariff says {expected}")
    if row.capture_minor + row.overrun_minor != expected:
        found.append(f"{name}: capture {row.capture_minor} and overrun {row.overrun_minor} are not the charge")
    return found


def _check_devices(
    records: list[dict[str, Any]], matched: set[tuple[str, int]], explained: Counter[tuple[str, int]]
) -> list[str]:
    found = []
    unused = explained.copy()
    last_closing: dict[str, int] = {}
    for record in records:
        device, closing = record["device_id"], record["closing_pulses"]
        gap = record["opening_pulses"] - last_closing.get(device, record["opening_pulses"])
        if gap and unused[device, gap]:
            unused[device, gap] -= 1
        elif gap:
            found.append(f"{device}: register gap from {last_closing[device]} to {record['opening_pulses']}")
        last_closing[device] = closing
        if record["opening_pulses"] != closing and (device, closing) not in matched:
            found.append(f"{device}: {closing - record['opening_pulses']} pulses up to {closing} were never billed")
    return found


def _unique_records(device_log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return END records once each: a device that dies while it writes may log the same record again."""
    return list({(entry["device_id"], entry["log_seq"]): entry for entry in device_log}.values())


@dataclass(frozen=True, slots=True)
class Audit:
    """Sessions held against what the devices wrote: what is wrong with a bill, and what with a register."""

    rows: list[ShowerRow]
    records: list[dict[str, Any]]
    bills_wrong: list[str]
    registers_wrong: list[str]


def audit(
    *,
    plan: dict[str, Any],
    device_log: list[dict[str, Any]],
    sessions: list[dict[str, Any]],
    explained_gaps: Counter[tuple[str, int]] | None = None,
) -> Audit:
    """
    Return every session with its device's own record, and what does not agree.

    :param device_log: END records as the devices wrote them, in order per device.
    :param sessions: water sessions as the backend's API gives them.
    :param explained_gaps: device and pulses of gaps that somebody already accounts for.
    """
    records = _unique_records(device_log)
    # a shower without a pulse ends at the register where the one before it ended: the pair tells them apart
    by_closing = {(entry["device_id"], entry["closing_pulses"]): entry for entry in records}
    by_pair = {(entry["device_id"], entry["opening_pulses"], entry["closing_pulses"]): entry for entry in records}
    factors = {device["device_id"]: device["k_factor_pulses_per_m3"] for device in plan["devices"]}
    without_log = {device["device_id"] for device in plan["devices"] if device.get("parts")}
    rows, matched, violations = [], set(), []
    for session in sessions:
        key = (session["device_id"], session["closing_pulses"])
        record = by_pair.get((key[0], session["opening_pulses"], key[1])) or by_closing.get(key)
        row = _row(session, record)
        rows.append(row)
        violations += _check_session(
            row, k_factor=factors[row.device_id], tariff=plan["tariffs"][0], has_log=row.device_id not in without_log
        )
        if record is not None and row.state == "settled" and record["opening_pulses"] != record["closing_pulses"]:
            if key in matched:
                violations.append(f"{row.water_session_id} bills water that another session was billed for")
            matched.add(key)
    registers = _check_devices(records, matched, explained_gaps or Counter())
    return Audit(rows, records, violations, registers)


def build_report(
    *,
    seed: int,
    plan: dict[str, Any],
    device_log: list[dict[str, Any]],
    sessions: list[dict[str, Any]],
    ledger: dict[str, int],
    breaks: int,
) -> Report:
    """
    Return the report with every violation found.

    :param device_log: END records as the devices wrote them, in order per device.
    :param sessions: water sessions as the backend's API gives them.
    :param ledger: sums of posted and pending debits and credits.
    :param breaks: how many breaks the backend's own reconciliation found.
    """
    audited = audit(plan=plan, device_log=device_log, sessions=sessions)
    violations = audited.bills_wrong + audited.registers_wrong
    totals = totals_of(audited)
    if ledger["debits_posted"] != ledger["credits_posted"]:
        violations.append("posted debits and credits differ")
    if ledger["debits_pending"] != ledger["credits_pending"]:
        violations.append("pending debits and credits differ")
    if ledger["debits_pending"]:
        violations.append(f"{ledger['debits_pending']} minor units are still held after every shower ended")
    if breaks:
        violations.append(f"reconciliation lists {breaks} breaks")
    return Report(seed, audited.rows, totals, ledger, breaks, violations)


def totals_of(audited: Audit) -> dict[str, int]:
    """Return the sums of a run: showers, pulses, milliliters and money."""
    rows, records = audited.rows, audited.records
    return {
        "showers": sum(row.state == "settled" for row in rows),
        "device_pulses": sum(entry["closing_pulses"] - entry["opening_pulses"] for entry in records),
        "billed_pulses": sum(
            (row.closing_pulses or 0) - (row.opening_pulses or 0) for row in rows if row.state == "settled"
        ),
        "billed_ml": sum(row.billed_ml or 0 for row in rows if row.state == "settled"),
        "charged_minor": sum(row.charge_minor or 0 for row in rows if row.state == "settled"),
        "captured_minor": sum(row.capture_minor for row in rows),
        "overrun_minor": sum(row.overrun_minor for row in rows),
    }
