"""
What daily statements settle: the last word on what nobody answered, and the first on what nobody told us.

A row says that the provider has done it; another amount than ours becomes a case and nothing else. No row says that it
has not, once the files of the day and of the next are in: a provider may book what happens at midnight a day later.
Holds leave no rows, so their absence says nothing; and a step still being asked about may yet be done.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from backend.db import POISON, Database
from backend.kit.clock import Clock
from backend.ledger import service as ledger
from backend.payments import bank_payouts, orders, queue_repository, steps
from backend.payments.capabilities import MATRIX
from backend.payments.order_numbers import order_no, step_nos
from backend.payments.port import Answer, Declined, Provider, Succeeded
from backend.payments.rules import Source
from backend.payments.types import Operation
from backend.statements import service as statements
from backend.statements.types import StatementFile, StatementLine, StatementRefused
from backend.tenants import service as tenants

log = logging.getLogger(__name__)

#: When yesterday's file is there at every provider, local time.
FETCH_FROM = time(10)
#: How many days back a file that was missed is still asked for.
FETCH_DAYS = 3
#: How far back orders given up are looked for in statements.
LOOK_BACK = timedelta(days=7)
ABSENT = "not_in_statement"
_INTENTS = ("authorize", "charge")
_Lines = Mapping[str, Sequence[StatementLine]]
_Settle = Callable[[Operation, _Lines], bool]


def fetch_statements(
    db: Database, providers: Mapping[str, Provider], tenant_id: str, *, clock: Clock
) -> list[StatementFile]:
    """
    Return the daily files that were fetched and imported now: yesterday's of each provider, and any missed before.

    Each day's file is imported once, and asked for from ten o'clock local time. A file that is refused is reported in
    the log with its line and asked for again.

    :raises TenantUnknown: if there is no such tenant.
    """
    now = clock()
    with db.read() as conn:
        zone = tenants.get(conn, tenant_id).time_zone
        wanted = [
            (method, day)
            for method in providers
            if MATRIX[method].statement
            for day in _days_wanted(conn, tenant_id, method, zone, now)
        ]
    fetched = []
    for method, day in wanted:
        try:
            file = _fetch(db, providers[method], tenant_id, day, now)
        except StatementRefused as refused:
            log.error("statement refused", extra={"method": method, "day": str(day), "reason": str(refused)})
        except POISON:  # whatever is in this file, the others are none the worse
            log.exception("statement not read", extra={"tenant": tenant_id, "method": method, "day": str(day)})
        else:
            fetched += [file] if file is not None else []
    return fetched


def _fetch(db: Database, provider: Provider, tenant_id: str, day: date, now: datetime) -> StatementFile | None:
    file = provider.statement(tenant_id, day)
    if file is None:
        return None
    with db.write() as conn:
        return statements.import_file(
            conn,
            tenant_id=tenant_id,
            method=provider.method,
            day=day,
            name=file[0],
            data=file[1],
            now=now,
            merchant_no=provider.merchant_no(tenant_id),
        )


def _days_wanted(conn: Connection, tenant_id: str, method: str, zone: ZoneInfo, now: datetime) -> list[date]:
    first_sent_at = queue_repository.first_sent_at(conn, tenant_id, method)
    if first_sent_at is None:
        return []
    local = now.astimezone(zone)
    last = local.date() - timedelta(days=1 if local.time() >= FETCH_FROM else 2)
    first = max(first_sent_at.astimezone(zone).date(), last - timedelta(days=FETCH_DAYS - 1))
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    there = set(statements.whole_days(conn, tenant_id, method))
    return [day for day in days if day not in there]


def resolve_from_statements(db: Database, tenant_id: str, *, clock: Clock) -> int:
    """
    Return how many unknowns the imported statements settled or found taken after they were given up, and how many
    payouts by bank they cleared.

    :raises TenantUnknown: if there is no such tenant.
    """
    settled = 0
    for method, able in MATRIX.items():
        if able.statement:
            with db.write() as conn:
                ledger.lock(conn, tenant_id)
                settled += _Settler(conn, tenant_id, method, clock()).settle()
    return settled + _clear_payouts(db, tenant_id, clock)


def _clear_payouts(db: Database, tenant_id: str, clock: Clock) -> int:
    """Return how many payouts by bank its statements cleared; running into a bug leaves what providers' settled."""
    try:
        with db.write() as conn:
            return bank_payouts.clear(conn, tenant_id, clock())
    except POISON:
        log.exception("payouts not cleared", extra={"tenant": tenant_id})
        return 0


class _Settler:
    """What one provider's statements say about one tenant's open operations."""

    def __init__(self, conn: Connection, tenant_id: str, method: str, now: datetime) -> None:
        self._conn, self._tenant_id, self._method, self._now = conn, tenant_id, method, now
        self._zone = tenants.get(conn, tenant_id).time_zone
        self._days = statements.days(conn, tenant_id, method)
        #: what is not in these days' files was not done
        self._whole_days = set(statements.whole_days(conn, tenant_id, method))
        #: what a file lists and the provider has not done yet, or could not do
        self._under_way: set[str] = set()

    def settle(self) -> int:
        """Return how many operations the statements settled."""
        if not self._days:
            return 0
        conn, tenant_id, method, now = self._conn, self._tenant_id, self._method, self._now
        waiting = queue_repository.without_answer(conn, tenant_id, method)
        given_up = queue_repository.given_up(conn, tenant_id, method, now - LOOK_BACK, ("charge",))
        refused = queue_repository.refused_returns(conn, tenant_id, method, now - LOOK_BACK)
        numbers = {
            number for seen in (*waiting, *given_up, *refused) for number in (*_numbers(seen), order_no(seen.order_id))
        }
        told = statements.lines_of(conn, tenant_id, method, sorted(numbers)) if numbers else {}
        lines = {number: [line for line in listed if line.is_done] for number, listed in told.items()}
        self._under_way = {number for number, listed in told.items() if len(lines[number]) < len(listed)}
        settled = 0
        for seen in waiting:
            settled += self._survived(self._settle_intent if seen.kind in _INTENTS else self._settle_step, seen, lines)
        settled += sum(self._survived(self._settle_refused, seen, lines) for seen in refused)
        return settled + sum(self._survived(self._settle_late, seen, lines) for seen in given_up)

    def _survived(self, settle: _Settle, seen: Operation, lines: _Lines) -> bool:
        """Settle an operation in a savepoint of its own; one that runs into a bug leaves the others theirs."""
        try:
            with self._conn.begin_nested():
                return settle(seen, lines)
        except POISON:
            log.exception("not settled by statement", extra={"tenant": seen.tenant_id, "operation": seen.operation_id})
            return False

    def _settle_intent(self, seen: Operation, lines: _Lines) -> bool:
        told = lines.get(seen.number, [])
        answer = _order_answer(told) if told else self._absent(seen)
        if answer is None:
            return False
        before = orders.find(self._conn, self._tenant_id, seen.order_id)
        after = orders.apply_answer(
            self._conn, self._tenant_id, seen.order_id, answer, source=Source.STATEMENT, now=self._now
        )
        return after.state != before.state

    def _settle_step(self, seen: Operation, lines: _Lines) -> bool:
        answer = _step_answer(seen, lines) or _undone(seen, lines) or self._absent(seen)
        if answer is None:
            return False
        found = orders.find(self._conn, self._tenant_id, seen.order_id)
        if isinstance(answer, Succeeded) and answer.amount_minor != seen.amount_minor:
            orders.check_amount(
                self._conn, found, seen.operation_id, answer, seen.amount_minor, Source.STATEMENT, self._now
            )
            return False
        steps.apply_step(self._conn, seen, answer, source=Source.STATEMENT, now=self._now)
        return True

    def _settle_refused(self, seen: Operation, lines: _Lines) -> bool:
        """Book what a provider refused and the statement says it has given back after all."""
        answer = _step_answer(seen, lines) or _undone(seen, lines)
        if answer is None:
            return False
        steps.apply_step(self._conn, seen, answer, source=Source.STATEMENT, now=self._now)
        after = queue_repository.find(self._conn, self._tenant_id, seen.operation_id)
        return after is not None and after.status == "done"

    def _settle_late(self, seen: Operation, lines: _Lines) -> bool:
        """Undo an order that we gave up and the statement says was paid and not given back."""
        answer = _order_answer(lines.get(seen.number, []))
        found = orders.find(self._conn, self._tenant_id, seen.order_id)
        if answer is None or answer.status != "charged" or found.late_success:
            return False
        orders.apply_answer(self._conn, self._tenant_id, seen.order_id, answer, source=Source.STATEMENT, now=self._now)
        return True

    def _absent(self, seen: Operation) -> Declined | None:
        """Return that an operation was not done, if its own and the next day's files are in and it would be there."""
        assert seen.sent_at is not None, "only what was sent can be in a statement"
        if seen.kind == "charge":
            last_at = seen.sent_at
        elif seen.kind in ("capture", "refund") and seen.status == "abandoned":
            last_at = seen.asked_at or seen.sent_at
        else:
            return None
        if not self._under_way.isdisjoint(_numbers(seen)):
            return None
        first = seen.sent_at.astimezone(self._zone).date()
        last = last_at.astimezone(self._zone).date() + timedelta(days=1)
        needed = {first + timedelta(days=number) for number in range((last - first).days + 1)}
        return Declined(ABSENT) if needed <= self._whole_days else None


def _numbers(seen: Operation) -> list[str]:
    """Return every number that a row may know an operation by; a step may have been asked for again under another."""
    return [seen.number] if seen.kind in _INTENTS else [seen.number, *step_nos(seen.operation_id)[1:]]


def _sum(lines: Sequence[StatementLine], kinds: tuple[str, ...]) -> int:
    return sum(abs(line.amount_minor) for line in lines if line.kind in kinds)


def _order_answer(lines: Sequence[StatementLine]) -> Succeeded | None:
    """Return what an order's rows say became of it, or None if they say nothing."""
    own = [line for line in lines if line.kind in ("payment", "hold")]
    if not own:
        return None
    took, gave = _sum(own, ("payment", "hold")), _sum(lines, ("refund", "release"))
    if gave >= took:
        return Succeeded("refunded", took, own[0].provider_ref)
    status = "held" if own[0].kind == "hold" else "charged"
    return Succeeded(status, took, own[0].provider_ref, own[0].happened_at)


def _undone(seen: Operation, lines: _Lines) -> Answer | None:
    """Return that a charge was undone if its own rows say that all of it went back."""
    told = _order_answer(lines.get(order_no(seen.order_id), [])) if seen.kind in ("void", "undo") else None
    return Succeeded("voided", told.amount_minor, told.reference) if told and told.status == "refunded" else None


def _step_answer(seen: Operation, lines: _Lines) -> Answer | None:
    """Return what a step's rows say: listed under its own number, or under its order's with its number beside it."""
    kinds = {"capture": ("completion", "payment"), "refund": ("refund",)}.get(seen.kind, ("refund", "release"))
    status = {"capture": "captured", "refund": "refunded"}.get(seen.kind, "voided")
    own = [line for number in _numbers(seen) for line in lines.get(number, []) if line.kind in kinds]
    if not own:
        return None
    return Succeeded(status, _sum(own, kinds), own[0].provider_ref, own[0].happened_at)
