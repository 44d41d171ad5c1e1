"""All increments together: takes steps in the order in which they can be understood, and keeps what does not hold."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from firmware_sim.audit.books import Books
from firmware_sim.audit.rows import Page, Row
from firmware_sim.audit.water import Water
from firmware_sim.audit.wire import Journal, Wire
from gateway.contract.events import WaterSessionEnded

if TYPE_CHECKING:
    from firmware_sim.scenarios.uplink import Passing

#: more findings than anybody reads
FOUND_MAX = 100


class Auditor:
    """
    Everything that is followed of one stack.

    One round: `hear` what passed until now, take a `page` of the database, take the devices' `world`, `hear` again. An
    opening stands in the world after its command passed; a bill stands in the database after its end was in the world;
    a confirmation passes after what it confirms was committed. So nothing is judged before its cause is known.
    """

    def __init__(
        self,
        plans: Mapping[str, Mapping[str, Any]],
        keys: Mapping[str, Mapping[str, Ed25519PublicKey]],
        marks: Mapping[str, frozenset[str]],
        *,
        since_ms: int = 0,
    ) -> None:
        """
        Follow from the beginning of every record.

        `plans`, command `keys` and words that are nobody else's (`marks`) are by tenant; `since_ms` is when the run
        began: nobody heard which commands passed before.
        """
        self.books = {tenant: Books(tenant) for tenant in plans}
        self.water = Water(plans, since_ms=since_ms)
        self.wire = Wire(keys, marks)
        self.steps: Counter[str] = Counter()
        self.found: dict[str, None] = {}
        self._sessions: dict[str, tuple[Any, ...]] = {}
        self._cursors: dict[Journal, int] = {}
        self._acks: deque[tuple[Journal, int]] = deque()
        self._ends: deque[WaterSessionEnded] = deque()
        self._authorizations: dict[tuple[str, str], Row] = {}
        self._orders_of: dict[str, tuple[str, str]] = {}
        self._orders: dict[str, tuple[Any, ...]] = {}

    @property
    def after(self) -> dict[str, int]:
        """Return up to which transfer each ledger has been followed."""
        return {tenant: books.number for tenant, books in self.books.items()}

    def note(self, found: Iterable[str]) -> list[str]:
        """Keep what was found, each once; return what is new."""
        new = [each for each in found if each not in self.found]
        for each in new[: max(0, FOUND_MAX - len(self.found))]:
            self.found[each] = None
        return new

    # -- what passed

    def hear(self, passings: Sequence["Passing"]) -> list[str]:
        """Take what passed between gateways and broker; return what is newly wrong."""
        found: list[str] = []
        for passing in passings:
            self.steps[f"message {passing.what}"] += 1
            heard = self.wire.hear(passing)
            found += heard.found
            self._acks += heard.acks
            self._ends += heard.ends
            for sample in heard.samples:
                found += self.water.sampled(sample)
            for command in heard.commands:
                self.water.granted(command)
        return self.note(found)

    # -- what happened to the devices

    def round(self, before: Sequence["Passing"], page: Page | None, world: Sequence[Row], after: Sequence["Passing"]
              ) -> list[str]:  # fmt: skip
        """Take one round; return what is newly wrong. Without a page the database could not be read."""
        new = self.hear(before)
        due_acks, self._acks = self._acks, deque()
        due_ends, self._ends = self._ends, deque()
        new += self.hear(after)
        new += self.world(world)
        new += self.note(p for e in due_ends for p in self.water.reported(e.device, e.opening_pulses, e.closing_pulses))
        if page is None:
            self._acks.extendleft(reversed(due_acks))
            return new
        new += self.note(self._page(page))
        return new + self.note(self._confirmed(due_acks))

    def world(self, steps: Sequence[Row]) -> list[str]:
        """Take what happened to the devices; return what is newly wrong."""
        found: list[str] = []
        for step in steps:
            self.steps[f"world {step['step']}"] += 1
            found += self.water.world(step)
        return self.note(found)

    # -- what was stored

    def _page(self, page: Page) -> Iterator[str]:
        for tenant, rows in page.transfers.items():
            books, rules = self.books[tenant], page.accounts[tenant]
            for row in rows:
                self.steps[f"transfer {row['kind']}"] += 1
                yield from books.apply(row, rules)
            yield from books.compare(rules)
        for row in page.cursors:
            yield from self._cursor(row)
        for row in page.sessions:
            yield from self._session(row)
        yield from self._authorized(page.authorizations)
        self._orders_of = {row["number"]: (row["tenant_id"], row["order_id"]) for row in page.operations
                           if row["kind"] in ("authorize", "charge")}  # fmt: skip

    def _cursor(self, row: Row) -> Iterator[str]:
        journal, now = (row["tenant_id"], row["gateway_id"], row["epoch"]), row["acked_through"]
        before = self._cursors.get(journal, 0)
        if now != before:
            self.steps["records accepted"] += 1
        if now < before:
            yield f"nothing_lost: {journal[1]} was confirmed up to {before}, now only up to {now}"
        self._cursors[journal] = now

    def _confirmed(self, acks: Iterable[tuple[Journal, int]]) -> Iterator[str]:
        for journal, through in acks:
            if self._cursors.get(journal, 0) < through:
                stored = self._cursors.get(journal, 0)
                yield f"nothing_lost: {journal[1]} was told that {through} records are kept; {stored} are"

    def _session(self, row: Row) -> Iterator[str]:
        seen = tuple(row.values())
        if self._sessions.get(row["water_session_id"]) == seen:
            return
        self._sessions[row["water_session_id"]] = seen
        self.steps[f"session {row['state']}"] += 1
        yield from self.water.session(row)

    def _authorized(self, rows: Sequence[Row]) -> Iterator[str]:
        taken: Counter[tuple[str, str]] = Counter()
        for row in rows:
            name, captured = (row["tenant_id"], row["auth_id"]), row["captured_minor"]
            if self._authorizations.get(name) != row:
                self._authorizations[name] = row
                self.steps[f"authorization {row['state']}"] += 1
                if captured > row["amount_minor"]:
                    yield f"captured_within_hold: {name[1]} captured {captured} of {row['amount_minor']}"
            taken[row["tenant_id"], row["water_session_id"]] += captured > 0
        for (_, session), times in taken.items():
            if times > 1:
                yield f"charged_once: {session} was paid by {times} authorizations"

    # -- what a provider did

    def orders(self, orders: Sequence[Row] | None) -> list[str]:
        """Take a provider's books as they are, None while it is down; return what is newly wrong."""
        return self.note(self._provider(orders or ()))

    def _provider(self, orders: Sequence[Row]) -> Iterator[str]:
        taken: Counter[tuple[str, str]] = Counter()
        for order in orders:
            number = order["order_no"]
            seen = (order["status"], order["times_taken"], order["captured_minor"], order["refunded_minor"])
            if self._orders.get(number) != seen:
                self._orders[number] = seen
                self.steps[f"order {order['status']}"] += 1
            if order["times_taken"] > 1:
                yield f"charged_once: {order['brand']} took {number} {order['times_taken']} times"
            net = (order["captured_minor"] or order["amount_minor"]) - order["refunded_minor"]
            known = self._orders_of.get(number)
            if known is not None and order["times_taken"] and order["status"] != "voided" and net > 0:
                taken[known] += 1
        for (_, ours), times in taken.items():
            if times > 1:
                yield f"charged_once: {ours} was paid by {times} orders of the provider"

    # -- in the end

    def unfinished(self) -> dict[str, list[str]]:
        """Return what must not be left when everything has come to rest, by the name of what it breaks."""
        lost = [
            f"{gateway} told {told} records, {self._cursors.get((tenant, gateway, epoch), 0)} are kept"
            for (tenant, gateway, epoch), told in sorted(self.wire.told.items())
            if self._cursors.get((tenant, gateway, epoch), 0) < told
        ]
        held = [f"{hold} of {amount} has not ended" for books in self.books.values()
                for hold, (_, _, amount) in sorted(books.holds.items())]  # fmt: skip
        unbilled = [f"{device}: {pulses} pulses of ended sessions are on no bill"
                    for device, pulses in sorted(self.water.unbilled().items()) if pulses]  # fmt: skip
        return {"nothing_lost": lost, "captured_within_hold": held, "every_pulse_explained": unbilled}
