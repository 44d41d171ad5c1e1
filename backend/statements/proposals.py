"""
Files brought by hand: read when they are brought, believed when a second person has agreed.

What a daily file says settles unknown payments, so a file that a person brings counts as little as any entry of one
person's. It is read as if it were imported, so that whoever brings a wrong one hears of it at once, and waits with its
bytes. Files that we fetch from the provider ourselves need nobody.
"""

import hashlib
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection

from backend.errors import Conflict, Forbidden, NotFound
from backend.kit.ids import new_id
from backend.statements import proposal_repository as repository
from backend.statements import service
from backend.statements.types import StatementFile

#: More than this many files waiting for somebody are refused: their bytes are kept.
WAITING_MAX = 40


@dataclass(frozen=True, slots=True)
class ProposedFile:
    """A file that one person brought and another decides about; `waiting`, `imported` or `rejected`."""

    tenant_id: str
    proposal_id: str
    method: str
    day: date
    file_sha256: str
    name: str
    merchant_no: str
    byte_count: int
    line_count: int
    brought_by: str
    brought_at: datetime
    state: str = "waiting"
    decided_by: str = ""
    decided_at: datetime | None = None


class _Checked(Exception):
    """Ends the savepoint in which a file is only tried."""

    def __init__(self, file: StatementFile) -> None:
        super().__init__(file.name)
        self.file = file


class TooManyWaiting(Conflict):
    """Too many files wait for a second person already."""

    code = "statements_waiting"


def bring(
    conn: Connection,
    *,
    tenant_id: str,
    method: str,
    day: date,
    name: str,
    data: bytes,
    brought_by: str,
    now: datetime,
    merchant_no: str = "",
) -> ProposedFile | StatementFile:
    """
    Return the file as it waits for a second person, or as it was imported before; the same bytes wait once.

    :raises backend.statements.types.StatementRefused: if the file is not provably whole and right.
    :raises TooManyWaiting: if 40 wait already.
    """
    checked = _check(conn, tenant_id, method, day, name, data, now, merchant_no)
    if not checked.is_new:
        return checked
    waiting = repository.waiting(conn, tenant_id)
    sha256 = hashlib.sha256(data).hexdigest()
    for one in (ProposedFile(**row) for row in waiting):
        if (one.method, one.day, one.file_sha256) == (method, day, sha256):
            return one
    if len(waiting) >= WAITING_MAX:
        raise TooManyWaiting(waiting=len(waiting))
    proposed = ProposedFile(
        tenant_id=tenant_id,
        proposal_id=new_id("sf"),
        method=method,
        day=day,
        file_sha256=sha256,
        name=checked.name,
        merchant_no=merchant_no,
        byte_count=len(data),
        line_count=checked.line_count,
        brought_by=brought_by,
        brought_at=now,
    )
    repository.add(conn, {field: getattr(proposed, field) for field in proposed.__slots__}, data)
    return proposed


def _check(
    conn: Connection, tenant_id: str, method: str, day: date, name: str, data: bytes, now: datetime, merchant_no: str
) -> StatementFile:
    """Import a file and undo it, and return what it would be."""
    try:
        with conn.begin_nested():
            raise _Checked(
                service.import_file(
                    conn,
                    tenant_id=tenant_id,
                    method=method,
                    day=day,
                    name=name,
                    data=data,
                    now=now,
                    merchant_no=merchant_no,
                )
            )
    except _Checked as checked:
        return checked.file


class ProposedFileUnknown(NotFound):
    """There is no such file."""

    code = "proposed_file_unknown"


def find(conn: Connection, tenant_id: str, proposal_id: str) -> ProposedFile:
    """
    Return a file that was brought.

    :raises ProposedFileUnknown: if this tenant has none with this id.
    """
    row = repository.find(conn, tenant_id, proposal_id)
    if row is None:
        raise ProposedFileUnknown(proposal_id=proposal_id)
    return ProposedFile(**row)


def waiting(conn: Connection, tenant_id: str) -> list[ProposedFile]:
    """Return the files that wait for a second person, oldest first."""
    return [ProposedFile(**row) for row in repository.waiting(conn, tenant_id)]


class SamePerson(Forbidden):
    """Who brought a file does not decide about it."""

    code = "same_person"


class ProposedFileDecided(Conflict):
    """Somebody has decided about the file already."""

    code = "proposed_file_decided"


def approve(conn: Connection, *, tenant_id: str, proposal_id: str, approved_by: str, now: datetime) -> StatementFile:
    """
    Import a file as its second person and return it; its bytes are then kept by nobody but the importer's lines.

    :raises ProposedFileUnknown: also SamePerson and ProposedFileDecided.
    :raises backend.statements.types.StatementRefused: if another file was imported meanwhile that this one contradicts.
    """
    found = _undecided(conn, tenant_id, proposal_id)
    if approved_by == found.brought_by:
        raise SamePerson
    file = service.import_file(
        conn,
        tenant_id=tenant_id,
        method=found.method,
        day=found.day,
        name=found.name,
        data=repository.content(conn, tenant_id, proposal_id),
        now=now,
        merchant_no=found.merchant_no,
    )
    repository.decide(conn, tenant_id, proposal_id, state="imported", decided_by=approved_by, decided_at=now)
    return file


def reject(conn: Connection, *, tenant_id: str, proposal_id: str, rejected_by: str, now: datetime) -> ProposedFile:
    """
    Return a file after refusing it, or taking back what one brought; nothing of it was ever believed.

    :raises ProposedFileUnknown: also ProposedFileDecided.
    """
    _undecided(conn, tenant_id, proposal_id)
    repository.decide(conn, tenant_id, proposal_id, state="rejected", decided_by=rejected_by, decided_at=now)
    return find(conn, tenant_id, proposal_id)


def _undecided(conn: Connection, tenant_id: str, proposal_id: str) -> ProposedFile:
    found = repository.find(conn, tenant_id, proposal_id, lock=True)
    if found is None:
        raise ProposedFileUnknown(proposal_id=proposal_id)
    if found["state"] != "waiting":
        raise ProposedFileDecided(proposal_id=proposal_id, state=found["state"])
    return ProposedFile(**found)
