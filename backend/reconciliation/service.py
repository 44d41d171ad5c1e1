"""
Use cases of reconciliation: compare registers, sessions and ledger of a tenant, keep the run and its breaks.

A run looks at one snapshot: call it in a transaction of its own. Breaks are found again by every run until their cause
is gone; nothing is repaired here.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping

from backend.errors import NotFound
from backend.fleet import service as fleet
from backend.kit.ids import new_id
from backend.ledger import chart
from backend.ledger import service as ledger
from backend.ledger.rules import TransferKind
from backend.metering import service as metering
from backend.metering.rules import Reading
from backend.payments import bank_payouts
from backend.payments import service as payments
from backend.reconciliation import bank_breaks, repository, rules
from backend.reconciliation.rules import FINANCE, Break, DeviceReport
from backend.tariffs import rules as tariff_rules
from backend.tariffs import service as tariffs
from backend.water_sessions import service as water_sessions
from backend.water_sessions.types import WaterSession
from gateway.contract.units import volume_ml

__all__ = [
    "HOLD_AGE_MAX",
    "Break",
    "LatePosting",
    "Run",
    "RunUnknown",
    "breaks",
    "get",
    "late",
    "run",
    "runs",
]

#: Holds are minutes long; one that nobody resolved for a day is a break.
HOLD_AGE_MAX = timedelta(hours=24)
_ALL = 10**9
_BREAK_FIELDS = tuple(field.name for field in fields(Break))


class RunUnknown(NotFound):
    """No such reconciliation run."""

    code = "run_unknown"


@dataclass(frozen=True, slots=True)
class Run:
    """A reconciliation: how much water was compared, and every break found. No break means that all figures agree."""

    tenant_id: str
    run_id: str
    run_at: datetime
    devices: int
    sessions: int
    register_pulses: int
    billed_pulses: int
    #: in sessions that cost nothing
    free_pulses: int
    #: in sessions whose charge nobody paid
    lost_pulses: int
    #: in no session
    gap_pulses: int
    break_count: int
    #: of the newest transfer that was compared
    last_number: int
    breaks: tuple[Break, ...]


@dataclass(frozen=True, slots=True)
class LatePosting:
    """Revenue that happened before an earlier run and was recorded after it: the gateway, or a reading, came late."""

    transfer_id: str
    #: the water session
    reference: str
    amount_minor: int
    event_at: datetime
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class _Books:
    """What the ledger holds under each session's name: captured and written off into revenue, and refunded from it."""

    captured: dict[str, int]
    overrun: dict[str, int]
    refunded: dict[str, int]


def _books(conn: Connection, tenant_id: str) -> _Books:
    captured: dict[str, int] = defaultdict(int)
    overrun: dict[str, int] = defaultdict(int)
    refunded: dict[str, int] = defaultdict(int)
    loss = chart.account_id("operator_loss")
    for line in ledger.statement(conn, tenant_id, chart.account_id("water_revenue"), _ALL):
        if line.kind in (TransferKind.SINGLE, TransferKind.POST):
            tally = overrun if line.counter_account_id == loss else captured if line.change_minor > 0 else refunded
            tally[line.reference] += abs(line.change_minor) if tally is refunded else line.change_minor
    return _Books(captured, overrun, refunded)


class _Tariffs:
    """Rates by pinned tariff version, each read once."""

    def __init__(self, conn: Connection, tenant_id: str) -> None:
        self._conn, self._tenant_id = conn, tenant_id
        self._known: dict[tuple[str, int], tariff_rules.TariffVersion] = {}

    def charge_minor(self, session: WaterSession, volume_ml: int) -> int:
        """Return what a volume costs by a session's own tariff version."""
        key = (session.tariff_id, session.tariff_version)
        if key not in self._known:
            self._known[key] = tariffs.version(self._conn, self._tenant_id, *key)
        return tariff_rules.rate(self._known[key], volume_ml=volume_ml).amount_minor

    def priced(self, found: Break, device: fleet.Device, at: datetime) -> Break:
        """Return a gap with what its water would have cost, or as it is where nothing says so."""
        if found.kind != "register_gap" or found.volume_ml <= 0:
            return found
        path = [place.place_id for place in fleet.place_path(self._conn, self._tenant_id, device.place_id)]
        try:
            tariff = tariffs.applicable(self._conn, self._tenant_id, place_ids=path, scenario=device.scenario, at=at)
        except tariffs.TariffMissing:
            return found
        return replace(found, amount_minor=tariff_rules.rate(tariff, volume_ml=found.volume_ml).amount_minor)


def _session_breaks(
    session: WaterSession,
    readings: dict[tuple[str, str], Reading],
    books: _Books,
    rates: _Tariffs,
) -> tuple[rules.RegisterPair, list[Break]]:
    believed, wrong_reading = rules.check_readings(session, readings)
    assert session.k_factor_pulses_per_m3 is not None
    expected = rates.charge_minor(
        session,
        volume_ml(pulses=believed.pulses, k_factor_pulses_per_m3=session.k_factor_pulses_per_m3),
    )
    money = rules.check_money(
        session,
        ledger_captured=books.captured.get(session.water_session_id, 0),
        ledger_overrun=books.overrun.get(session.water_session_id, 0),
        expected_charge_minor=expected,
        ledger_refunded=books.refunded.get(session.water_session_id, 0),
    )
    found = (wrong_reading, rules.check_figures(session, believed, expected), money)
    return believed, [each for each in found if each is not None]


def _water_breaks(
    conn: Connection, tenant_id: str, sessions: list[WaterSession], books: _Books, now: datetime
) -> tuple[DeviceReport, int, list[Break]]:
    """Return the sums over all outlets, how many outlets there are, and the breaks of sessions and registers."""
    by_device: dict[str, list[WaterSession]] = defaultdict(list)
    for session in sessions:
        by_device[session.device_id].append(session)
    readings_of = metering.readings_by_device(conn, tenant_id)
    live = {session.device_id: session for session in water_sessions.live(conn, tenant_id)}
    rates = _Tariffs(conn, tenant_id)
    total, found = DeviceReport(), list[Break]()
    outlets = fleet.devices(conn, tenant_id, kind="outlet")
    for device in outlets:
        readings = readings_of.get(device.device_id, [])
        paired = {(each.cause, each.reference): each for each in readings if each.cause in ("opening", "closing")}
        believed: list[tuple[WaterSession, rules.RegisterPair]] = []
        own: list[Break] = []
        for session in by_device.pop(device.device_id, []):
            pair, wrong = _session_breaks(session, paired, books, rates)
            believed.append((session, pair))
            own += wrong
        loose = [each for each in readings if each.cause not in ("opening", "closing")]
        report = rules.check_continuity(device.device_id, believed, loose, live.get(device.device_id))
        own += [rates.priced(each, device, now) for each in report.breaks]
        unequal = rules.check_sum(device.device_id, report)
        if unequal is not None and not own:
            own.append(unequal)
        found += own
        for name in ("register_pulses", "billed_pulses", "free_pulses", "lost_pulses", "gap_pulses"):
            setattr(total, name, getattr(total, name) + getattr(report, name))
    for device_id in sorted(by_device):
        found.append(Break("device_unknown", device_id, 0, 0, "sessions of a device that is not there", "operator"))
    return total, len(outlets), found


def _money_breaks(
    conn: Connection, tenant_id: str, sessions: list[WaterSession], books: _Books, named: set[str], now: datetime
) -> Iterable[Break]:
    """Yield the breaks of the ledger: money of no session, clearing that is not at zero, old holds, unequal sums."""
    ended = {session.water_session_id for session in sessions}
    for reference in sorted((set(books.captured) | set(books.overrun)) - ended):
        amount = books.captured.get(reference, 0) + books.overrun.get(reference, 0)
        cause = "revenue under the name of no ended session"
        yield Break("money_without_session", reference or "(none)", amount, 0, cause, FINANCE)
    running = {session.water_session_id for session in water_sessions.live(conn, tenant_id)}
    for reference, residue in ledger.open_clearing(conn, tenant_id):
        if reference not in running and reference not in named:
            yield Break("clearing_open", reference or "(none)", residue, 0, "money left in clearing", FINANCE)
    for hold, reference, amount in repository.open_holds(conn, tenant_id, now - HOLD_AGE_MAX):
        yield Break("hold_unresolved", hold, amount, 0, f"held for more than a day for {reference}", FINANCE)
    for unknown in payments.unknowns(conn, tenant_id):
        if unknown.status != "refused" and unknown.created_at < now - HOLD_AGE_MAX:
            cause = f"{unknown.method} has not said for more than a day what became of it"
            yield Break("payment_unknown", unknown.operation_id, unknown.amount_minor, 0, cause, FINANCE)
    for mismatch in bank_payouts.mismatches(conn, tenant_id, now):
        yield bank_breaks.of_mismatch(mismatch)
    accounts = ledger.verify(conn, tenant_id)
    for wrong in accounts:
        off = wrong.running[3] - wrong.running[1] - wrong.counted[3] + wrong.counted[1]
        cause = f"running sums {wrong.running}, transfers add up to {wrong.counted}"
        yield Break("ledger_account", wrong.account_id, off, 0, cause, FINANCE)
    sums = ledger.sums(conn, tenant_id)
    if not sums.balanced and not accounts:
        off = sums.debits_posted - sums.credits_posted
        yield Break("ledger_unbalanced", "ledger", off, 0, "debits are not credits", FINANCE)


def run(conn: Connection, tenant_id: str, now: datetime, *, run_id: str | None = None) -> Run:
    """
    Compare everything a tenant has and return the stored run. A run id that is known returns that run unchanged.
    """
    run_id = run_id or new_id("rec")
    known = repository.find_runs(conn, tenant_id, run_id=run_id)
    if known:
        return _run(conn, known[0])
    sessions = water_sessions.ended(conn, tenant_id)
    books = _books(conn, tenant_id)
    total, devices, found = _water_breaks(conn, tenant_id, sessions, books, now)
    found += _money_breaks(conn, tenant_id, sessions, books, {each.subject for each in found}, now)
    stored = Run(
        tenant_id=tenant_id,
        run_id=run_id,
        run_at=now,
        devices=devices,
        sessions=len(sessions),
        register_pulses=total.register_pulses,
        billed_pulses=total.billed_pulses,
        free_pulses=total.free_pulses,
        lost_pulses=total.lost_pulses,
        gap_pulses=total.gap_pulses,
        break_count=len(found),
        last_number=ledger.last_number(conn, tenant_id),
        breaks=tuple(found),
    )
    repository.insert_run(conn, {name: value for name, value in asdict(stored).items() if name != "breaks"})
    rows = [
        {"tenant_id": tenant_id, "run_id": run_id, "position": position, **asdict(each), "cause": each.cause[:300]}
        for position, each in enumerate(found)
    ]
    repository.insert_breaks(conn, rows)
    return stored


def _run(conn: Connection, row: RowMapping) -> Run:
    return Run(**row, breaks=tuple(breaks(conn, row["tenant_id"], row["run_id"])))


def runs(conn: Connection, tenant_id: str, limit: int = 30) -> list[Run]:
    """Return a tenant's latest runs, latest first."""
    return [_run(conn, row) for row in repository.find_runs(conn, tenant_id, limit=limit)]


def get(conn: Connection, tenant_id: str, run_id: str) -> Run:
    """
    Return a run.

    :raises RunUnknown: if this tenant has none with this id.
    """
    found = repository.find_runs(conn, tenant_id, run_id=run_id)
    if not found:
        raise RunUnknown(f"no run {run_id!r}")
    return _run(conn, found[0])


def late(conn: Connection, tenant_id: str, run_id: str) -> list[LatePosting]:
    """
    Return what this run was the first to see of the time that the run before it had compared, oldest first.

    Nothing is closed for good: each run compares everything, so a shower that is reported a day late is in the next
    run's figures; here stands by how much the days before have changed since they were looked at.

    :raises RunUnknown: if this tenant has none with this id.
    """
    of = get(conn, tenant_id, run_id)
    before = repository.find_run_before(conn, tenant_id, of.run_at, of.run_id)
    if before is None:
        return []
    lines = ledger.statement(conn, tenant_id, chart.account_id("water_revenue"), _ALL, until=before["run_at"])
    return [
        LatePosting(each.transfer_id, each.reference, each.change_minor, each.event_at, each.recorded_at)
        for each in reversed(lines)
        if before["last_number"] < each.number <= of.last_number and each.change_minor
    ]


def breaks(conn: Connection, tenant_id: str, run_id: str) -> list[Break]:
    """Return a run's breaks in the order they were found."""
    rows = repository.find_breaks(conn, tenant_id, run_id)
    return [Break(**{name: row[name] for name in _BREAK_FIELDS}) for row in rows]
