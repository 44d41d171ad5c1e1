"""Keeps the signed records that bills rest on, so that whoever pays can check them."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from backend.outbox import evidence_repository
from gateway.contract.events import CommandRefused, JournalRecord, ValveOpened, WaterSessionEnded
from gateway.contract.signing import Signed

_RECORDS_MAX = 100


@dataclass(frozen=True, slots=True)
class EvidenceRecord:
    """A record as its gateway signed it, and the key that fits."""

    gateway_id: str
    epoch: str
    sequence: int
    public_key: str
    signed: Signed


def session_of(record: JournalRecord) -> str:
    """Return the water session a record is evidence of, or nothing."""
    event = record.event
    if isinstance(event, ValveOpened | WaterSessionEnded):
        return event.water_session_id
    if isinstance(event, CommandRefused) and event.subject_id.startswith("ws_"):
        return event.subject_id
    return ""


def keep(
    conn: Connection, record: JournalRecord, signed: Signed, *, epoch: str, public_key: str, now: datetime
) -> bool:
    """Keep a verified record that is evidence of a session, once; return whether it was kept now."""
    water_session_id = session_of(record)
    if not water_session_id or len(water_session_id) > 64:
        return False
    return evidence_repository.insert(
        conn,
        {
            "tenant_id": record.tenant,
            "gateway_id": record.gateway,
            "epoch": epoch,
            "sequence": record.sequence,
            "water_session_id": water_session_id,
            "public_key": public_key,
            "kid": signed.kid,
            "payload": signed.payload,
            "signature": signed.signature,
            "accepted_at": now,
        },
    )


def of_session(conn: Connection, tenant_id: str, water_session_id: str) -> list[EvidenceRecord]:
    """Return the signed records of a session, in the order they were written."""
    return [
        EvidenceRecord(
            gateway_id=row["gateway_id"],
            epoch=row["epoch"],
            sequence=row["sequence"],
            public_key=row["public_key"],
            signed=Signed(kid=row["kid"], payload=row["payload"], signature=row["signature"]),
        )
        for row in evidence_repository.of_session(conn, tenant_id, water_session_id, _RECORDS_MAX)
    ]


def digests_between(conn: Connection, tenant_id: str, records: list[EvidenceRecord]) -> list[tuple[str, int, str]]:
    """Return (epoch, sequence, digest) of everything a gateway wrote from one of these records to the next."""
    found: list[tuple[str, int, str]] = []
    for gateway_id, epoch in sorted({(each.gateway_id, each.epoch) for each in records}):
        sequences = [each.sequence for each in records if (each.gateway_id, each.epoch) == (gateway_id, epoch)]
        between = evidence_repository.digests(
            conn, tenant_id, gateway_id, epoch, first=min(sequences) - 1, last=max(sequences)
        )
        found += [(epoch, sequence, sha256) for sequence, sha256 in between]
    return found
