"""
Checks a receipt file without asking anybody. Pure.

Everything in the file is under a signature or a digest, and the file has one way to be written, so that no byte of it
can be changed without a finding that names what was changed.
"""

import base64
import binascii
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature

from backend.metering.rules import InvalidRegister
from backend.settlement import rules
from backend.settlement.receipt_file import FORMAT, Link, Page, Statement, links_digest, sha256_of
from backend.tariffs.rules import TariffVersion
from gateway.contract.events import JournalRecord, ValveOpened, WaterSessionEnded
from gateway.contract.signing import SignatureRefused, Signed, decode, public_from_text
from gateway.contract.units import InvalidKFactor

_FIRST_PREVIOUS = "0" * 64


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked. `what` is a stable word, `said` a sentence."""

    what: str
    is_good: bool
    said: str


class _Broken(Exception):
    """Nothing further can be checked."""

    def __init__(self, what: str, said: str) -> None:
        super().__init__(said)
        self.finding = Finding(what, False, said)


def check(files: Sequence[bytes], *, trusted: Collection[str] = ()) -> list[Finding]:
    """
    Return all findings on the pages of one receipt, in the order of the checks; it is genuine if all are good.

    :param trusted: the school's public keys as it published them; with none, the one in the file is taken, and said.
    """
    found: list[Finding] = []
    try:
        pages = sorted((_page(data, number) for number, data in enumerate(files, 1)), key=lambda each: each.start)
        statement = _statement(pages, trusted, found)
        links = _links(pages, statement, found)
        records = _records(pages[0], statement, found)
        found += _chain(records, links, pages[0].records)
        found += _bill(statement, [record.event for record in records])
    except _Broken as broken:
        found.append(broken.finding)
    return found


def _page(data: bytes, number: int) -> Page:
    try:
        page = msgspec.json.decode(data, type=Page)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _Broken("file", f"file {number} is not a receipt: {error}") from error
    if page.format != FORMAT:
        raise _Broken("file", f"file {number} has format {page.format!r}, not {FORMAT!r}")
    if msgspec.json.encode(page) != data.rstrip(b"\n") or data.count(b"\n") > 1:
        raise _Broken("file", f"file {number} is not written as the school writes it: bytes were added or changed")
    return page


def _is_signed(signed: Signed, key_text: str) -> bool:
    try:
        key = public_from_text(key_text)
        raw = base64.b64decode(signed.signature, validate=True)
        if base64.b64encode(raw).decode() != signed.signature:
            return False
        key.verify(raw, signed.payload.encode())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _inside(signed: Signed, as_type: Any, what: str) -> Any:
    try:
        return decode(signed.payload, as_type)
    except SignatureRefused as error:
        raise _Broken(what, f"the {what} cannot be read: {error}") from error


def _statement(pages: list[Page], trusted: Collection[str], found: list[Finding]) -> Statement:
    if not pages:
        raise _Broken("file", "there is no file")
    first = pages[0]
    if any((each.statement, each.school_key) != (first.statement, first.school_key) for each in pages):
        raise _Broken("pages", "the files belong to different receipts")
    if trusted and first.school_key not in trusted:
        raise _Broken("school_key", "the receipt is not from the school: its key is none of those you trust")
    if not _is_signed(first.statement, first.school_key):
        raise _Broken("statement", "the statement was changed: the school's signature does not fit it")
    statement: Statement = _inside(first.statement, Statement, "statement")
    if first.statement.kid != statement.kid or not statement.kid.startswith(f"{statement.tenant}-"):
        raise _Broken("school_key", f"the key {first.statement.kid!r} is not one of {statement.tenant}")
    believed = "a key you trust" if trusted else f"key {first.school_key}; compare it with the one the school publishes"
    found.append(Finding("statement", True, f"signed by {statement.tenant} with {believed}"))
    return statement


def _links(pages: list[Page], statement: Statement, found: list[Finding]) -> list[Link]:
    links: list[Link] = []
    for page in pages:
        if page.start != len(links):
            raise _Broken("pages", f"a page is missing or there twice: {page.start} does not follow {len(links)}")
        links += page.links
        is_last = page is pages[-1]
        if (page.next is None) != is_last or (page.next is not None and page.next != len(links)):
            raise _Broken("pages", f"a page is missing: after link {len(links)}")
        if page.start and page.records:
            raise _Broken("pages", "records stand on another page than the first")
    if len(links) != statement.link_count or links_digest(links) != statement.links_sha256:
        raise _Broken("links", "the digests between the records were changed")
    found.append(Finding("pages", True, f"{len(pages)} pages, {len(links)} digests, complete"))
    return links


def _records(first: Page, statement: Statement, found: list[Finding]) -> list[JournalRecord]:
    if not len(first.records) == len(statement.records) == len(statement.gateway_keys):
        raise _Broken(
            "records", f"{len(first.records)} records are there, the statement names {len(statement.records)}"
        )
    records: list[JournalRecord] = []
    rows = zip(first.records, statement.records, statement.gateway_keys, strict=True)
    for number, (signed, sha256, key) in enumerate(rows, 1):
        if sha256_of(signed.payload) != sha256:
            raise _Broken("record", f"record {number} was changed: its digest is not the one in the statement")
        if signed.kid != statement.gateway or not _is_signed(signed, key):
            raise _Broken("record", f"record {number} was changed: the gateway's signature does not fit it")
        record: JournalRecord = _inside(signed, JournalRecord, "record")
        if (record.tenant, record.gateway) != (statement.tenant, statement.gateway):
            raise _Broken("record", f"record {number} is of {record.tenant}/{record.gateway}")
        records.append(record)
    found.append(Finding("records", True, f"{len(records)} records signed by {statement.gateway}"))
    return records


def _chain(records: list[JournalRecord], links: list[Link], signed: list[Signed]) -> list[Finding]:
    """Check that the records stand in the gateway's chain where the digests say, none missing in between."""
    at = {(link.epoch, link.sequence): link.sha256 for link in links}
    if len(at) != len(links):
        return [Finding("chain", False, "a place in the chain is there twice")]
    for record, bytes_signed in zip(records, signed, strict=True):
        place = f"record {record.sequence}"
        if at.get((record.epoch, record.sequence)) != sha256_of(bytes_signed.payload):
            return [Finding("chain", False, f"{place} does not stand in the chain where it says")]
        before = _FIRST_PREVIOUS if record.sequence == 1 else at.get((record.epoch, record.sequence - 1))
        if before is None:
            return [Finding("chain", False, f"the record before {place} is missing")]
        if record.previous_sha256 != before:
            return [Finding("chain", False, f"{place} does not follow the record before it: the chain is broken")]
    for epoch in {link.epoch for link in links}:
        sequences = [link.sequence for link in links if link.epoch == epoch]
        if sequences != list(range(sequences[0], sequences[0] + len(sequences))):
            return [Finding("chain", False, "records are missing in between")]
    return [Finding("chain", True, "the records follow each other in the gateway's chain")] if records else []


def _as_version(statement: Statement) -> TariffVersion:
    values = {name: getattr(statement.tariff, name) for name in statement.tariff.__struct_fields__}
    return TariffVersion(tenant_id=statement.tenant, **values)


def _bill(statement: Statement, events: list[Any]) -> list[Finding]:
    """Check register pair, tariff period and amount against the gateway's own record of the ending."""
    mine = [each for each in events if getattr(each, "water_session_id", "") == statement.water_session_id]
    if len(mine) != len([each for each in events if isinstance(each, ValveOpened | WaterSessionEnded)]):
        return [Finding("record", False, "a record is of another session")]
    endings = [each for each in mine if isinstance(each, WaterSessionEnded)]
    pair = (statement.opening_pulses, statement.closing_pulses, statement.k_factor_pulses_per_m3)
    billed = [e for e in endings if (e.opening_pulses, e.closing_pulses, e.k_factor_pulses_per_m3) == pair]
    if not endings:
        return [Finding("ending", False, "no ending signed by the gateway: the bill rests on a reading alone")]
    if not billed:
        signed = ", ".join(f"{e.opening_pulses} to {e.closing_pulses}" for e in endings)
        return [Finding("registers", False, f"billed {pair[0]} to {pair[1]} pulses, the gateway signed {signed}")]
    ending = billed[0]
    if ending.device != statement.device:
        return [Finding("registers", False, f"the ending is of {ending.device}, the bill of {statement.device}")]
    said = f"{ending.opening_pulses} to {ending.closing_pulses} pulses at {ending.k_factor_pulses_per_m3} per m³"
    found = [Finding("registers", True, said)]
    try:
        version = _as_version(statement)
        bill = rules.bill(
            version,
            opening_pulses=ending.opening_pulses,
            closing_pulses=ending.closing_pulses,
            k_factor_pulses_per_m3=ending.k_factor_pulses_per_m3,
            held_minor=statement.captured_minor,
        )
    except (InvalidRegister, InvalidKFactor) as error:
        return [*found, Finding("registers", False, str(error))]
    found += [_tariff(statement, version), _amount(statement, bill)]
    return found


def _tariff(statement: Statement, version: TariffVersion) -> Finding:
    started_at = statement.opened_at or statement.closed_at
    said = f"{version.tariff_id} version {version.version}, {version.price_minor_per_m3} minor units per m³"
    # the price is pinned when the person asks, which is a little before the valve opens
    if started_at is not None and version.active_from > started_at:
        return Finding("tariff", False, f"{said}: not yet in force when the water ran")
    if started_at is not None and version.active_to and version.active_to + timedelta(hours=1) < started_at:
        return Finding("tariff", False, f"{said}: no longer in force when the water ran")
    return Finding("tariff", True, said)


def _amount(statement: Statement, bill: rules.Bill) -> Finding:
    if bill.volume_ml != statement.volume_ml:
        return Finding("amount", False, f"billed {statement.volume_ml} mL, the registers say {bill.volume_ml} mL")
    if bill.charge_minor != statement.charge_minor:
        said = f"billed {statement.charge_minor} minor units, the tariff says {bill.charge_minor}"
        return Finding("amount", False, said)
    if statement.captured_minor > statement.charge_minor:
        said = f"{statement.captured_minor} minor units were taken for water that cost {statement.charge_minor}"
        return Finding("amount", False, said)
    said = f"{bill.volume_ml} mL cost {bill.charge_minor} minor units, {statement.captured_minor} were taken"
    return Finding("amount", True, said)
