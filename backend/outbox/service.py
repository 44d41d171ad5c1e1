"""
Commands leave and journal records arrive: at least once on the wire, once in effect.

A command is stored in the transaction that decides it, so that neither exists without the other. A worker claims it
for a moment, publishes it, and marks it sent when the broker took it. A worker that dies in between leaves a claim
that runs out, and the next one sends it again; the gateway knows it by its sequence. What expires unsent is never sent.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from backend.errors import BackendError
from backend.kit.clock import epoch_ms
from backend.kit.ids import new_id
from backend.outbox import repository
from gateway.contract.commands import Body, Command, GrantPassage
from gateway.contract.messages import CommandMessage
from gateway.contract.signing import sign

#: How long a worker has a claimed command to itself before another sends it again.
CLAIM_S = 3
#: The most sequences a cursor moves on in one call; the rest follows with the next.
_CURSOR_STEP = 10_000


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A signed command that waits to be published."""

    tenant_id: str
    cmd_id: str
    gateway_id: str
    device_id: str
    sequence: int
    kind: str
    subject_id: str
    message: str
    not_after: datetime
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class ParkedRecord:
    """A verified journal record whose handling failed; its bytes are kept and it is tried again."""

    tenant_id: str
    gateway_id: str
    epoch: str
    sequence: int
    payload: str
    reason: str
    attempts: int


def take_turn(conn: Connection, tenant_id: str) -> None:
    """
    Wait until no other transaction changes this tenant's sessions and commands; released at commit.

    Taken first by everything that starts, stops or settles, so that locks below it are always taken in one order.
    """
    repository.take_turn(conn, tenant_id)


def enqueue_command(
    conn: Connection,
    *,
    signing: tuple[str, Ed25519PrivateKey],
    tenant_id: str,
    gateway_id: str,
    device_id: str,
    sequence: int,
    body: Body,
    now: datetime,
    ttl_s: int = 20,
) -> str:
    """Sign a command, store it to be sent once this transaction commits, and return its id."""
    kid, key = signing
    cmd_id = new_id("cmd")
    not_after = now + timedelta(seconds=ttl_s)
    command = Command(
        cmd_id=cmd_id,
        tenant=tenant_id,
        gateway=gateway_id,
        device=device_id,
        sequence=sequence,
        issued_at_ms=epoch_ms(now),
        not_after_ms=epoch_ms(not_after),
        body=body,
    )
    message = CommandMessage(signed=sign(command, key=key, kid=kid))
    repository.insert_command(
        conn,
        {
            "tenant_id": tenant_id,
            "cmd_id": cmd_id,
            "gateway_id": gateway_id,
            "device_id": device_id,
            "sequence": sequence,
            "kind": body.__struct_config__.tag,
            "subject_id": body.passage_id if isinstance(body, GrantPassage) else body.water_session_id,
            "message": msgspec.json.encode(message).decode(),
            "created_at": now,
            "not_after": not_after,
            "attempts": 0,
        },
    )
    return cmd_id


def _row(row: repository.Row) -> OutboxRow:
    return OutboxRow(**{name: row[name] for name in OutboxRow.__slots__})


def command(conn: Connection, tenant_id: str, cmd_id: str) -> OutboxRow | None:
    """Return a stored command, sent or not, or None."""
    row = repository.command(conn, tenant_id, cmd_id)
    return None if row is None else _row(row)


def any_due(conn: Connection, now: datetime) -> bool:
    """Return whether a command waits, without claiming it: the cheap question a poll asks first."""
    return repository.any_waiting(conn, now)


def due(conn: Connection, now: datetime, limit: int) -> list[OutboxRow]:
    """Return commands to publish now, in sequence per device, claimed for this worker for a moment."""
    claimed_until = now + timedelta(seconds=CLAIM_S)
    return [_row(row) for row in repository.claim(conn, now=now, claimed_until=claimed_until, limit=limit)]


def mark_sent(conn: Connection, keys: list[tuple[str, str]], now: datetime) -> None:
    """Note that the broker took the commands with these (tenant_id, cmd_id)."""
    if keys:
        repository.mark_sent(conn, keys, now)


def resend(conn: Connection, tenant_id: str, gateway_id: str, now: datetime) -> int:
    """
    Return how many unexpired commands of a gateway are sent once more, because it has just come (back) to the broker.

    A broker that restarted, or took a command while the gateway was away, may have lost it. The gateway recognizes a
    command it has dealt with, and refuses one that expired.
    """
    return repository.unmark_sent(conn, tenant_id, gateway_id, now)


def resend_all(conn: Connection, now: datetime) -> int:
    """
    Return how many unexpired commands of all gateways are sent once more, because the worker has (re)gained the broker.

    A broker that restarted may have lost what it had confirmed, and a gateway that was back before us greeted nobody.
    """
    return repository.unmark_all_sent(conn, now)


class ConflictingRecord(BackendError):
    """A gateway sent another record under a sequence that is already taken."""

    code = "conflicting_record"
    status = 409


def accept_record(
    conn: Connection, tenant_id: str, gateway_id: str, epoch: str, sequence: int, sha256: str, now: datetime
) -> bool:
    """
    Return True and remember a journal record, or False when it was accepted before.

    :raises ConflictingRecord: if the sequence is taken by a record with other bytes.
    """
    known = repository.record_sha256(conn, tenant_id, gateway_id, epoch, sequence)
    if known is not None:
        if known != sha256:
            raise ConflictingRecord(gateway=gateway_id, epoch=epoch, sequence=sequence)
        return False
    repository.insert_record(
        conn,
        {
            "tenant_id": tenant_id,
            "gateway_id": gateway_id,
            "epoch": epoch,
            "sequence": sequence,
            "sha256": sha256,
            "accepted_at": now,
        },
    )
    return True


def continues_chain(
    conn: Connection, tenant_id: str, gateway_id: str, epoch: str, sequence: int, previous_sha256: str
) -> bool:
    """Return whether a record names the digest of the one before it, as far as that one is here."""
    if sequence == 1:
        return previous_sha256 == "0" * 64
    known = repository.record_sha256(conn, tenant_id, gateway_id, epoch, sequence - 1)
    return known is None or known == previous_sha256


def acked_through(conn: Connection, tenant_id: str, gateway_id: str, epoch: str) -> int:
    """Return the sequence up to which every record of an epoch is accepted; sequences begin at 1, so 0 means none."""
    stored = repository.cursor(conn, tenant_id, gateway_id, epoch)
    reached = stored or 0
    for sequence in repository.sequences_after(conn, tenant_id, gateway_id, epoch, reached, _CURSOR_STEP):
        if sequence != reached + 1:
            break
        reached = sequence
    if reached != stored and reached > 0:
        repository.store_cursor(conn, tenant_id, gateway_id, epoch, reached)
    return reached


def stored_through(conn: Connection, tenant_id: str, gateway_id: str, epoch: str) -> int:
    """Return what `acked_through` found last, changing nothing."""
    return repository.cursor(conn, tenant_id, gateway_id, epoch) or 0


def park(
    conn: Connection,
    *,
    tenant_id: str,
    gateway_id: str,
    epoch: str,
    sequence: int,
    payload: str,
    reason: str,
    now: datetime,
) -> None:
    """Keep an accepted record whose handling failed, so that acknowledging it loses nothing."""
    values = {"tenant_id": tenant_id, "gateway_id": gateway_id, "epoch": epoch, "sequence": sequence}
    repository.insert_parked(
        conn,
        {
            **values,
            "payload": payload,
            "reason": _printable(reason),
            "attempts": 1,
            "retry_at": now + _retry_after(1),
            "parked_at": now,
        },
    )


def _printable(reason: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in reason)[:200]


def _retry_after(attempts: int) -> timedelta:
    return timedelta(seconds=min(5 * 2**attempts, 3600))


def parked_due(conn: Connection, now: datetime, limit: int) -> list[ParkedRecord]:
    """Return parked records to try again now; waits double up to an hour, and none is ever dropped."""
    rows = repository.parked_due(conn, now, limit)
    return [ParkedRecord(**{name: row[name] for name in ParkedRecord.__slots__}) for row in rows]


def _key(record: ParkedRecord) -> repository.Row:
    return {name: getattr(record, name) for name in ParkedRecord.__slots__}


def still_parked(conn: Connection, record: ParkedRecord) -> bool:
    """Return whether nobody has handled or postponed a parked record since it was looked up; it is locked then."""
    return repository.parked_attempts(conn, _key(record)) == record.attempts


def unpark(conn: Connection, record: ParkedRecord) -> None:
    """Forget a parked record that was handled at last."""
    repository.unpark(conn, _key(record))


def postpone_parked(conn: Connection, record: ParkedRecord, *, reason: str, now: datetime) -> None:
    """Note that a parked record failed again."""
    repository.postpone_parked(
        conn, _key(record), reason=_printable(reason), retry_at=now + _retry_after(record.attempts + 1)
    )
