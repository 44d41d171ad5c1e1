"""
The worker process: what comes up from the gateways, what goes down, and what must be done by the clock.

Any number of workers may run on one database; each may be killed at any moment. The duties run in threads of their own,
so that a payment provider that hangs never delays an ending or a tap.
"""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from types import FrameType

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from backend.bootstrap.container import Backend
from backend.db import POISON
from backend.fleet import births
from backend.mqtt import ingest
from backend.mqtt.client import BrokerLink
from backend.mqtt.loop import FILTERS, WorkerLoop
from backend.mqtt.trace import Trace
from backend.payments import credit_limits, proving, staff_entries
from backend.payments import service as payments
from backend.settlement import sweeper
from backend.tenants import service as tenants
from backend.water_sessions import taps

log = logging.getLogger(__name__)

_EXPIRE_LIMIT = 500
_RESOLVE_LIMIT = 20
_STATEMENTS_EVERY_S = 300.0
_PROOF_EVERY_S = 300.0
_STOP_WAIT_S = 10


class Duty:
    """Something to be done every so often, in a thread of its own, until stopped."""

    def __init__(self, name: str, every_s: float, work: Callable[[], object]) -> None:
        self._every_s, self._work = every_s, work
        self._stopping = threading.Event()
        #: what ended it before its time
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def name(self) -> str:
        """Return what it is called."""
        return self._thread.name

    def start(self) -> None:
        """Begin; the first time is at once."""
        self._thread.start()

    def _run(self) -> None:
        try:
            while True:
                try:
                    self._work()
                except OperationalError as error:
                    log.error("duty put off", extra={"duty": self._thread.name, "reason": str(error.orig)})
                if self._stopping.wait(self._every_s):
                    return
        except BaseException as error:
            self.failure = error
            raise

    def stop(self) -> None:
        """Ask it to end after what it is doing."""
        self._stopping.set()

    def join(self, timeout_s: float) -> None:
        """Wait until it has ended, not longer than a timeout."""
        self._thread.join(timeout_s)


@contextmanager
def _surviving(what: str, tenant_id: str) -> Iterator[None]:
    """Let a bug that one school's data brings out stop neither the other schools' work nor the worker."""
    try:
        yield
    except POISON:
        log.exception("duty failed for a school", extra={"duty": what, "tenant": tenant_id})


def _expire(backend: Backend) -> None:
    """Release holds and forget proposals past their time, retry parked records, forget old taps."""
    ctx, now = backend.context, backend.context.clock()
    with ctx.db.read() as conn:
        tenant_ids = [tenant.tenant_id for tenant in tenants.list_all(conn)]
    for tenant_id in tenant_ids:
        with _surviving("expire", tenant_id):
            payments.in_turn(ctx.db, tenant_id, partial(_expire_in, tenant_id=tenant_id, now=now))
    ingest.retry_parked(ctx)
    taps.forget_taps(ctx, now)


def _expire_in(conn: Connection, tenant_id: str, now: datetime) -> None:
    """Let a school's holds, proposals and credits end whose time is over, in its turn."""
    payments.expire_due(conn, tenant_id, now, _EXPIRE_LIMIT)
    staff_entries.expire_due(conn, tenant_id, now, _EXPIRE_LIMIT)
    credit_limits.follow(conn, tenant_id, now)
    births.settle(conn, tenant_id, now)


def _read_statements(backend: Backend) -> None:
    """Fetch the daily files that are there now, and settle by them what nobody answered."""
    ctx = backend.context
    with ctx.db.read() as conn:
        tenant_ids = [tenant.tenant_id for tenant in tenants.list_all(conn)]
    for tenant_id in tenant_ids:
        with _surviving("fetch statements", tenant_id):
            payments.fetch_statements(ctx.db, ctx.providers, tenant_id, clock=ctx.clock)
        with _surviving("resolve from statements", tenant_id):
            payments.resolve_from_statements(ctx.db, tenant_id, clock=ctx.clock)


def _prove_books(backend: Backend) -> None:
    """Count again what is new in each school's ledger; what differs becomes a case."""
    ctx = backend.context
    with ctx.db.read() as conn:
        tenant_ids = [tenant.tenant_id for tenant in tenants.list_all(conn)]
    for tenant_id in tenant_ids:
        with _surviving("prove books", tenant_id), ctx.db.write() as conn:
            proving.prove(conn, tenant_id, ctx.clock())


def duties(backend: Backend) -> list[Duty]:
    """Return what a worker does by the clock."""
    ctx = backend.context

    def resolve() -> None:
        while payments.resolve_due(ctx.db, ctx.providers, clock=ctx.clock, limit=_RESOLVE_LIMIT) == _RESOLVE_LIMIT:
            log.info("more payments wait to be resolved")

    return [
        Duty("sweep", 1.0, lambda: sweeper.sweep(ctx, ctx.clock())),
        Duty("payments", 1.0, resolve),
        Duty("expire", 10.0, lambda: _expire(backend)),
        Duty("statements", _STATEMENTS_EVERY_S, lambda: _read_statements(backend)),
        Duty("books", _PROOF_EVERY_S, lambda: _prove_books(backend)),
    ]


@contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM and SIGINT set."""
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(backend: Backend) -> None:
    """Work until told to stop; a duty that failed for a reason of our own ends the process with it."""
    config = backend.config
    link = BrokerLink(host=config.broker_host, port=config.broker_port, filters=FILTERS, tls=config.broker_tls)
    loop = WorkerLoop(
        ctx=backend.context,
        link=link,
        batch_max=backend.config.ingest_batch,
        poll_ms=backend.config.outbox_poll_ms,
        trace=Trace.from_environment(),
    )
    running = duties(backend)
    with _stop_signal() as stopping:
        for duty in running:
            duty.start()
        log.info("worker started", extra={"broker": f"{link.host}:{link.port}"})
        try:
            while not stopping.is_set():
                loop.turn()
                failed = next((duty.failure for duty in running if duty.failure is not None), None)
                if failed is not None:
                    raise RuntimeError("a duty failed") from failed
        finally:
            for duty in running:
                duty.stop()
            link.close()
            for duty in running:
                duty.join(_STOP_WAIT_S)
    log.info("worker stopped")
