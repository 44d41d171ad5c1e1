"""
What comes up, handled: decoded, verified, deduplicated, given to the slice it is for.

A bad message is counted and never stops its neighbors: each is handled in a savepoint of its own. A journal record that
is genuine but could not be handled is accepted and parked with its bytes, so that the journal goes on and nothing is
lost; it is tried again later. A database that cannot be reached is no fault of the message: that exception leaves here,
nothing is acknowledged, and everything comes again.
"""

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection

from backend.db import POISON
from backend.errors import BackendError
from backend.fleet import births
from backend.fleet import service as fleet
from backend.mqtt import dispatch, envelopes, repository
from backend.mqtt.client import Incoming
from backend.outbox import evidence
from backend.outbox import service as outbox
from backend.water_sessions.context import Context
from gateway.contract import topics
from gateway.contract.events import JournalRecord
from gateway.contract.messages import EventBatch, Gone, HealthReport
from gateway.contract.provisioning import Birth
from gateway.contract.signing import SignatureRefused, Signed, decode, public_text, verify

log = logging.getLogger(__name__)

_PARKED_PER_TURN = 100
_SEQUENCE_MAX = 2**63 - 1
_EPOCH = re.compile(r"[a-z0-9_]{1,64}")


@dataclass(frozen=True, slots=True)
class Ack:
    """What a gateway may forget once this batch is committed."""

    tenant_id: str
    gateway_id: str
    epoch: str
    acked_through: int


@dataclass(slots=True)
class _Batch:
    """One transaction's worth of messages and what is known while handling them."""

    conn: Connection
    ctx: Context
    now: datetime
    keys: dict[tuple[str, str], Ed25519PublicKey | None] = field(default_factory=dict)
    touched: dict[tuple[str, str, str], None] = field(default_factory=dict)

    def key_of(self, tenant_id: str, gateway_id: str) -> Ed25519PublicKey | None:
        """Return a known gateway's public key, or None."""
        at = (tenant_id, gateway_id)
        if at not in self.keys:
            self.keys[at] = envelopes.key_of(self.conn, *at)
        return self.keys[at]

    def reject(self, tenant_id: str, gateway_id: str, kind: str, reason: str, sample: str) -> None:
        """Count and log a message that is not taken."""
        log.warning("message rejected", extra={"gateway": f"{tenant_id}/{gateway_id}", "kind": kind, "reason": reason})
        repository.count_rejected(
            self.conn,
            tenant_id=tenant_id,
            gateway_id=gateway_id,
            kind=kind,
            reason=reason,
            sample=sample,
            now=self.now,
        )

    def refuse(self, address: topics.Address, kind: str, refusal: SignatureRefused, sample: str) -> None:
        """
        Count a message that is not what a gateway signed.

        It proves nothing about the gateway: anyone can forge badly. A gateway that lost its key brings no well-signed
        health any more, so its outlets count as offline within a minute.
        """
        self.reject(address.tenant, address.gateway, kind, refusal.code, sample)


def reason_of(error: Exception) -> str:
    """Return the stable word for what went wrong."""
    return error.code if isinstance(error, BackendError) else type(error).__name__


def sample_of(message: Incoming) -> str:
    """Return the beginning of a message, readable; of a tap only its topic, for it carries a card's number."""
    if topics.Up.PRESENT.value in message.topic:
        return message.topic
    return f"{message.topic} {message.payload[:200].decode(errors='replace')}"


def handle(ctx: Context, messages: Sequence[Incoming]) -> list[Ack]:
    """
    Handle messages other than CredentialPresented in one transaction and return what to acknowledge to gateways.

    :raises sqlalchemy.exc.OperationalError: if the database cannot be reached; then nothing has changed.
    """
    now = ctx.clock()
    with ctx.db.write() as conn:
        batch = _Batch(conn, ctx, now)
        addressed = [(address, message) for message in messages if (address := _address(batch, message))]
        for tenant_id in sorted({address.tenant for address, _ in addressed}):
            outbox.take_turn(conn, tenant_id)
        for address, message in addressed:
            try:
                with conn.begin_nested():
                    _handle_one(batch, address, message)
            except SignatureRefused as refusal:
                batch.refuse(address, address.kind, refusal, f"{refusal} {sample_of(message)}")
            except POISON as error:
                batch.reject(address.tenant, address.gateway, address.kind, reason_of(error), sample_of(message))
        _handle_records(batch, addressed)
        return [Ack(*at, outbox.acked_through(conn, *at)) for at in batch.touched]


def _address(batch: _Batch, message: Incoming) -> topics.Address | None:
    """Return where a message is from if that is a known gateway and the message may count."""
    try:
        address = topics.parse(message.topic)
    except topics.MalformedTopic:
        batch.reject("-", "-", "topic", "malformed_topic", sample_of(message))
        return None
    if address.direction != "up" or message.retained:
        reason = "retained" if message.retained else "wrong_direction"
        batch.reject(address.tenant, address.gateway, address.kind, reason, sample_of(message))
        return None
    if batch.key_of(address.tenant, address.gateway) is None:
        batch.reject(address.tenant, address.gateway, address.kind, "unknown_gateway", sample_of(message))
        return None
    return address


class WrongSender(BackendError):
    """A message speaks of another gateway than its topic."""

    code = "wrong_audience"


def _handle_one(batch: _Batch, address: topics.Address, message: Incoming) -> None:
    """Handle a message that is not journaled; event batches are only checked to be readable."""
    conn, tenant_id, gateway_id = batch.conn, address.tenant, address.gateway
    key = batch.key_of(tenant_id, gateway_id)
    assert key is not None, "only known gateways get here"
    if address.kind == topics.Up.HELLO:
        hello = envelopes.opened(message.payload, gateway_id=gateway_id, key=key, as_type=Birth)
        _check_sender(hello.gateway, gateway_id)
        if not _EPOCH.fullmatch(hello.journal_epoch) or not 0 <= hello.journal_sequence <= _SEQUENCE_MAX:
            raise SignatureRefused("malformed", "no journal can stand there")
        fleet.record_hello(conn, tenant_id, hello, batch.now)
        if births.record(conn, tenant_id, hello, batch.now):
            log.error("two boxes hold one certificate", extra={"gateway": f"{tenant_id}/{gateway_id}"})
        outbox.resend(conn, tenant_id, gateway_id, batch.now)
        batch.touched[tenant_id, gateway_id, hello.journal_epoch] = None
    elif address.kind == topics.Up.GONE:
        _check_sender(decode(message.payload, Gone).gateway, gateway_id)
        fleet.record_gone(conn, tenant_id, gateway_id, batch.now)
    elif address.kind == topics.Up.HEALTH:
        report = envelopes.opened(message.payload, gateway_id=gateway_id, key=key, as_type=HealthReport)
        _check_sender(report.gateway, gateway_id)
        for device_id in fleet.record_health(conn, tenant_id, report, batch.now):
            batch.reject(tenant_id, gateway_id, "health", "unknown_device", device_id)
    elif address.kind == topics.Up.EVENT:
        decode(message.payload, EventBatch)


def _check_sender(named: str, gateway_id: str) -> None:
    if named != gateway_id:
        raise WrongSender(f"{named!r} on the topic of {gateway_id!r}")


def _handle_records(batch: _Batch, addressed: Sequence[tuple[topics.Address, Incoming]]) -> None:
    """Handle all readable journal records of a batch, each gateway's in sequence."""
    found: list[tuple[JournalRecord, Signed]] = []
    for address, message in addressed:
        if address.kind != topics.Up.EVENT:
            continue
        try:
            signed_records = decode(message.payload, EventBatch).records
        except SignatureRefused:
            continue  # counted already
        for signed in signed_records:
            record = _verified(batch, address, signed)
            if record is not None:
                found.append((record, signed))
    found.sort(key=lambda one: (one[0].tenant, one[0].gateway, one[0].epoch, one[0].sequence))
    for at, records in groupby(found, key=lambda one: (one[0].tenant, one[0].gateway, one[0].epoch)):
        batch.touched[at] = None
        for record, signed in records:
            _accept(batch, record, signed)


def _verified(batch: _Batch, address: topics.Address, signed: Signed) -> JournalRecord | None:
    """Return a record its gateway signed, or None after counting why not."""
    key = batch.key_of(address.tenant, address.gateway)
    assert key is not None, "only known gateways get here"
    try:
        record = verify(signed, keys={address.gateway: key}, as_type=JournalRecord)
    except SignatureRefused as refusal:
        batch.refuse(address, "record", refusal, signed.payload)
        return None
    well_formed = 0 < record.sequence <= _SEQUENCE_MAX and _EPOCH.fullmatch(record.epoch) is not None
    if (record.tenant, record.gateway) != (address.tenant, address.gateway) or not well_formed:
        reason = "wrong_audience" if well_formed else "malformed"
        batch.reject(address.tenant, address.gateway, "record", reason, signed.payload)
        return None
    return record


def _accept(batch: _Batch, record: JournalRecord, signed: Signed) -> None:
    """Take a record once: handle it, or park it."""
    conn, kind, payload = batch.conn, record.event.__struct_config__.tag, signed.payload
    at = (record.tenant, record.gateway, record.epoch, record.sequence)
    sha256 = hashlib.sha256(payload.encode()).hexdigest()
    parked_epoch = record.epoch
    try:
        with conn.begin_nested():
            if not outbox.accept_record(conn, *at, sha256, batch.now):
                return
            if not outbox.continues_chain(conn, *at, record.previous_sha256):
                batch.reject(record.tenant, record.gateway, str(kind), "broken_chain", payload)
    except outbox.ConflictingRecord as conflict:
        # a journal file that was put back: what it says still happened, and events are taken once per session
        parked_epoch = f"conflict_{sha256[:48]}"
        if not outbox.accept_record(
            conn, record.tenant, record.gateway, parked_epoch, record.sequence, sha256, batch.now
        ):
            return
        log.error("conflicting record", extra={"gateway": record.gateway, "epoch": record.epoch, "sequence": at[3]})
        batch.reject(record.tenant, record.gateway, str(kind), conflict.code, payload)
    key = batch.key_of(record.tenant, record.gateway)
    assert key is not None, "its signature was verified"
    evidence.keep(conn, record, signed, epoch=parked_epoch, public_key=public_text(key), now=batch.now)
    try:
        with conn.begin_nested():
            dispatch.event(conn, batch.ctx, record.tenant, record.gateway, record.event, batch.now)
    except POISON as error:
        reason = reason_of(error)
        log.exception("record parked", extra={"gateway": record.gateway, "sequence": record.sequence})
        batch.reject(record.tenant, record.gateway, str(kind), reason, payload)
        outbox.park(
            conn,
            tenant_id=record.tenant,
            gateway_id=record.gateway,
            epoch=parked_epoch,
            sequence=record.sequence,
            payload=payload,
            reason=f"{reason}: {error}",
            now=batch.now,
        )


def retry_parked(ctx: Context) -> int:
    """Return how many parked records could be handled at last; the others wait longer."""
    now, handled = ctx.clock(), 0
    with ctx.db.read() as conn:
        due = outbox.parked_due(conn, now, _PARKED_PER_TURN)
    for parked in due:
        with ctx.db.write() as conn:
            outbox.take_turn(conn, parked.tenant_id)
            if not outbox.still_parked(conn, parked):
                continue
            record = decode(parked.payload, JournalRecord)
            try:
                with conn.begin_nested():
                    dispatch.event(conn, ctx, record.tenant, record.gateway, record.event, now)
            except POISON as error:
                outbox.postpone_parked(conn, parked, reason=f"{reason_of(error)}: {error}", now=now)
                continue
            outbox.unpark(conn, parked)
            handled += 1
    return handled
