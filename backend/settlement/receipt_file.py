"""
A receipt to take home: what a bill rests on, signed, in pages of JSON that anybody can check offline.

The gateway signed the records. The school signed the statement: register pair, tariff version, amount, which records
and which digests between them belong to it. What other people's records say is nobody's business, so between the
session's own records there are digests only: they show the places of the records in the gateway's one chain.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from backend.errors import Conflict
from backend.outbox import evidence
from backend.settlement import service as settlement
from backend.settlement.service import Receipt
from backend.tariffs.rules import TariffVersion
from gateway.contract.signing import Signed, public_text, sign

FORMAT = "campustap-receipt/1"
PAGE_LINKS_MAX = 1_000


class Link(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One record of the gateway's chain, by its place and digest."""

    epoch: str
    sequence: int
    sha256: str


class Tariff(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tariff version a bill was rated with."""

    tariff_id: str
    version: int
    place_id: str
    scenario: str
    name: str
    name_en: str
    active_from: datetime
    active_to: datetime | None
    price_minor_per_m3: int
    fixed_minor: int
    minimum_minor: int
    free_below_ml: int
    volume_limit_ml: int
    duration_limit_s: int
    idle_limit_s: int
    minimum_hold_minor: int


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the school says the water came to, signed with the key that signs its commands."""

    format: str
    #: name of the key it is signed with
    kid: str
    tenant: str
    gateway: str
    device: str
    water_session_id: str
    state: str
    opened_at: datetime | None
    closed_at: datetime | None
    settled_at: datetime | None
    stop_reason: str
    #: `device_log` or `register_continuity`; `latest_reading…` when no ending was ever reported
    evidence: str
    opening_pulses: int | None
    closing_pulses: int | None
    k_factor_pulses_per_m3: int | None
    volume_ml: int
    charge_minor: int
    captured_minor: int
    overrun_minor: int
    tariff: Tariff
    #: digests of the session's own records, in order, and the keys they were signed with
    records: list[str]
    gateway_keys: list[str]
    #: of all links, see `links_digest`
    link_count: int
    links_sha256: str


class Page(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One page of a receipt; the first has the records, all have the same statement. Its bytes are canonical."""

    format: str
    statement: Signed
    #: the school's public key, by the name the statement is signed under
    school_key: str
    #: number of the page's first link
    start: int
    records: list[Signed]
    links: list[Link]
    #: `start` of the next page; None on the last
    next: int | None


class ReceiptNotReady(Conflict):
    """The session has no bill yet."""

    code = "receipt_not_ready"


def sha256_of(text: str) -> str:
    """Return the digest of a signed text, in hexadecimal."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def links_digest(links: Sequence[Link]) -> str:
    """Return the digest of a list of links."""
    return hashlib.sha256("".join(f"{one.epoch} {one.sequence} {one.sha256}\n" for one in links).encode()).hexdigest()


def _tariff(version: TariffVersion) -> Tariff:
    names = [name for name in Tariff.__struct_fields__ if name in {field.name for field in fields(version)}]
    return Tariff(**{name: getattr(version, name) for name in names})


def _statement(receipt: Receipt, kid: str, records: list[evidence.EvidenceRecord], links: list[Link]) -> Statement:
    of = receipt.session
    return Statement(
        format=FORMAT,
        kid=kid,
        tenant=of.tenant_id,
        gateway=of.gateway_id,
        device=of.device_id,
        water_session_id=of.water_session_id,
        state=of.state.value,
        opened_at=of.opened_at,
        closed_at=of.closed_at,
        settled_at=of.settled_at,
        stop_reason=of.stop_reason,
        evidence=of.evidence,
        opening_pulses=of.opening_pulses,
        closing_pulses=of.closing_pulses,
        k_factor_pulses_per_m3=of.k_factor_pulses_per_m3,
        volume_ml=of.volume_ml or 0,
        charge_minor=of.charge_minor or 0,
        captured_minor=of.captured_minor or 0,
        overrun_minor=of.overrun_minor or 0,
        tariff=_tariff(receipt.tariff),
        records=[sha256_of(each.signed.payload) for each in records],
        gateway_keys=[each.public_key for each in records],
        link_count=len(links),
        links_sha256=links_digest(links),
    )


def page(
    conn: Connection,
    signing: tuple[str, Ed25519PrivateKey],
    tenant_id: str,
    water_session_id: str,
    *,
    start: int = 0,
    limit: int = PAGE_LINKS_MAX,
) -> bytes:
    """
    Return one page of a settled session's receipt, in the one way it is written.

    :raises WaterSessionUnknown: if this tenant has no such session.
    :raises ReceiptNotReady: while it is not settled, and for ever when nothing was ever opened.
    """
    receipt = settlement.receipt(conn, tenant_id, water_session_id)
    if receipt.session.settled_at is None:
        raise ReceiptNotReady
    records = evidence.of_session(conn, tenant_id, water_session_id)
    links = [
        Link(epoch=epoch, sequence=sequence, sha256=sha256)
        for epoch, sequence, sha256 in evidence.digests_between(conn, tenant_id, records)
    ]
    kid, key = signing
    shown = links[start : start + limit]
    end = start + len(shown)
    return msgspec.json.encode(
        Page(
            format=FORMAT,
            statement=sign(_statement(receipt, kid, records, links), key=key, kid=kid),
            school_key=public_text(key.public_key()),
            start=start,
            records=[each.signed for each in records] if start == 0 else [],
            links=shown,
            next=end if end < len(links) else None,
        )
    )
