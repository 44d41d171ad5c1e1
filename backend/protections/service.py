"""Use cases of the protections slice: draft, submit and approve grants; say what is accepted; count what they did."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, RowMapping

from backend.errors import BackendError, Conflict, Forbidden, NotFound
from backend.fleet import service as fleet
from backend.kit.clock import epoch_ms
from backend.kit.ids import new_id
from backend.protections import repository, rules
from backend.protections.rules import Grant, MethodDecision

__all__ = [
    "Evidence",
    "Grant",
    "GrantMalformed",
    "GrantNotReady",
    "GrantOverlap",
    "GrantUnknown",
    "MethodDecision",
    "MethodNotAccepted",
    "MethodNotOffered",
    "SamePerson",
    "approve",
    "count_refused",
    "draft",
    "evidence",
    "grant",
    "is_termination_asked",
    "list_all",
    "options",
    "require_accepted",
    "submit",
    "terminate",
]

#: A grant begins and ends between these: no conversion between zones then leaves the calendar.
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)
#: How long one person's wish to end a grant waits for a second person.
TERMINATION_ASKED_FOR = timedelta(days=7)
_GRANT_FIELDS = tuple(field.name for field in fields(Grant))


class GrantUnknown(NotFound):
    """No such grant."""

    code = "grant_unknown"


class GrantMalformed(BackendError):
    """The grant does not say what it must."""

    code = "grant_malformed"


class GrantOverlap(Conflict):
    """Another exclusive grant covers the same scenario, place and time."""

    code = "grant_overlap"


class GrantNotReady(Conflict):
    """The grant's status does not allow this step."""

    code = "grant_not_ready"


class SamePerson(Forbidden):
    """A second person must approve."""

    code = "same_person"


class MethodNotAccepted(Forbidden):
    """This payment method is not accepted here."""

    code = "method_not_accepted"

    def __init__(self, decision: MethodDecision) -> None:
        until_ms = None if decision.until is None else epoch_ms(decision.until)
        super().__init__(method=decision.method, brand=decision.brand, grant_id=decision.grant_id, until_ms=until_ms)
        self.decision = decision


class MethodNotOffered(Forbidden):
    """There is no such payment method here, protected or not."""

    code = "method_not_offered"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a grant did in a period: attempts refused by method, acceptances by the exemption that let them through."""

    grant_id: str
    refused: dict[str, int]
    exempted: dict[str, int]


def _grant(row: RowMapping) -> Grant:
    return Grant(**{**{name: row[name] for name in _GRANT_FIELDS}, "exemptions": tuple(row["exemptions"])})


def options(
    conn: Connection,
    tenant_id: str,
    *,
    place_ids: Sequence[str],
    scenario: str,
    person_class: str,
    at: datetime,
    conditions: frozenset[str] = frozenset(),
) -> list[MethodDecision]:
    """Return what is accepted at a place (its path, root first), now or at any other time, as a preview does."""
    rows = repository.find_grants(conn, tenant_id, scenario=scenario, statuses=("approved", "terminated"))
    return rules.decide(
        methods=rules.METHODS,
        grants=[_grant(row) for row in rows],
        place_ids=place_ids,
        scenario=scenario,
        person_class=person_class,
        conditions=conditions,
        at=at,
    )


def require_accepted(
    conn: Connection,
    tenant_id: str,
    *,
    method: str,
    place_ids: Sequence[str],
    scenario: str,
    person_class: str,
    at: datetime,
    conditions: frozenset[str] = frozenset(),
) -> MethodDecision:
    """
    Return the decision on one method if it is accepted; an acceptance by exemption is counted.

    :raises MethodNotOffered: if there is no such method.
    :raises MethodNotAccepted: if a grant refuses it. The caller counts it with `count_refused` in a transaction of its
        own, because the one this was raised in rolls back.
    """
    decisions = options(
        conn,
        tenant_id,
        place_ids=place_ids,
        scenario=scenario,
        person_class=person_class,
        at=at,
        conditions=conditions,
    )
    decision = next((each for each in decisions if each.method == method), None)
    if decision is None:
        raise MethodNotOffered(method=method)
    if not decision.accepted:
        raise MethodNotAccepted(decision)
    if decision.reason.startswith("exempt_"):
        _count(conn, tenant_id, decision, "exempted", place_ids[-1], scenario, person_class, at)
    return decision


def _count(
    conn: Connection,
    tenant_id: str,
    decision: MethodDecision,
    effect: str,
    place_id: str,
    scenario: str,
    person_class: str,
    at: datetime,
) -> None:
    repository.insert_effect(
        conn,
        {
            "tenant_id": tenant_id,
            "effect_id": new_id("eff"),
            "grant_id": decision.grant_id or "",
            "effect": effect,
            "method": decision.method,
            "reason": decision.reason,
            "scenario": scenario,
            "place_id": place_id,
            "person_class": person_class,
            "at": at,
        },
    )


def count_refused(
    conn: Connection,
    tenant_id: str,
    decision: MethodDecision,
    *,
    place_id: str,
    scenario: str,
    person_class: str,
    at: datetime,
) -> None:
    """Count an attempt that was refused, as the grant's evidence."""
    assert not decision.accepted
    _count(conn, tenant_id, decision, "refused", place_id, scenario, person_class, at)


def evidence(
    conn: Connection, tenant_id: str, grant_id: str, *, since: datetime | None = None, until: datetime | None = None
) -> Evidence:
    """
    Return what a grant did in a half-open period, or ever.

    :raises GrantUnknown: if this tenant has none with this id.
    """
    grant(conn, tenant_id, grant_id)
    refused: dict[str, int] = {}
    exempted: dict[str, int] = {}
    for effect, method, reason, count in repository.count_effects(conn, tenant_id, grant_id, since=since, until=until):
        tally, name = (refused, method) if effect == "refused" else (exempted, reason.removeprefix("exempt_"))
        tally[name] = tally.get(name, 0) + count
    return Evidence(grant_id, refused, exempted)


def grant(conn: Connection, tenant_id: str, grant_id: str) -> Grant:
    """
    Return a grant.

    :raises GrantUnknown: if this tenant has none with this id.
    """
    row = repository.find_grant(conn, tenant_id, grant_id)
    if row is None:
        raise GrantUnknown(f"no grant {grant_id!r}")
    return _grant(row)


def list_all(conn: Connection, tenant_id: str) -> list[Grant]:
    """Return all grants of a tenant by start."""
    return [_grant(row) for row in repository.find_grants(conn, tenant_id)]


def _check_form(conn: Connection, new: Grant) -> None:
    fleet.place(conn, new.tenant_id, new.place_id)
    if not (_EARLIEST <= new.active_from <= _LATEST and _EARLIEST <= new.active_to <= _LATEST):
        raise GrantMalformed("the period must lie between the years 2000 and 2100")
    if new.active_from >= new.active_to:
        raise GrantMalformed("the period must end after it starts")
    if new.mode not in rules.MODES:
        raise GrantMalformed(f"mode must be one of {', '.join(rules.MODES)}")
    if new.brand not in rules.METHODS or new.brand == rules.WALLET:
        raise GrantMalformed("the brand must be a payment method other than the wallet")
    if not new.scenario or not new.grantor.strip():
        raise GrantMalformed("scenario and grantor must be named")
    unknown = [name for name in new.exemptions if name not in rules.EXEMPTIONS]
    if unknown:
        raise GrantMalformed(f"unknown exemption {unknown[0]}")


def draft(conn: Connection, new: Grant, now: datetime) -> Grant:
    """
    Store a new grant as a draft and return it.

    :raises GrantMalformed: if period, mode, brand, scenario, grantor or an exemption is not what it must be.
    :raises backend.fleet.service.PlaceUnknown: if the place is not one of the tenant's.
    """
    _check_form(conn, new)
    stored = replace(
        new,
        status="draft",
        approved_by=None,
        terminated_at=None,
        termination_asked_by=None,
        termination_asked_at=None,
    )
    repository.insert_grant(conn, {**asdict(stored), "exemptions": list(stored.exemptions), "created_at": now})
    return stored


def _path(conn: Connection, of: Grant) -> list[str]:
    return [place.place_id for place in fleet.place_path(conn, of.tenant_id, of.place_id)]


def _refuse_overlap(conn: Connection, one: Grant) -> None:
    """Raise GrantOverlap if an exclusive grant that is submitted or approved conflicts with one."""
    own_path = _path(conn, one)
    rows = repository.find_grants(
        conn, one.tenant_id, scenario=one.scenario, statuses=("submitted", "approved", "terminated")
    )
    for other in (_grant(row) for row in rows):
        in_force_once = other.status != "terminated" or other.approved_by is not None
        if in_force_once and rules.conflicts(one, own_path, other, _path(conn, other)):
            raise GrantOverlap(
                f"grant {other.grant_id} covers the same scenario, place and time",
                grant_id=other.grant_id,
                brand=other.brand,
                place_id=other.place_id,
                from_ms=epoch_ms(other.active_from),
                to_ms=epoch_ms(other.ends_at),
            )


def _step(conn: Connection, tenant_id: str, grant_id: str, *, wanted: str) -> Grant:
    repository.lock(conn, tenant_id)
    found = grant(conn, tenant_id, grant_id)
    if found.status != wanted:
        raise GrantNotReady(f"the grant is {found.status}, not {wanted}", status=found.status)
    return found


def submit(conn: Connection, tenant_id: str, grant_id: str, by: str, now: datetime) -> Grant:
    """
    Hand a draft in for approval and return it.

    :raises GrantNotReady: if it is not a draft.
    :raises GrantOverlap: if it is exclusive and another one covers the same; the details name it.
    """
    assert by, "someone submits"
    found = _step(conn, tenant_id, grant_id, wanted="draft")
    _refuse_overlap(conn, found)
    repository.update_grant(conn, tenant_id, grant_id, status="submitted", submitted_at=now)
    return grant(conn, tenant_id, grant_id)


def approve(conn: Connection, tenant_id: str, grant_id: str, by: str, now: datetime) -> Grant:
    """
    Approve a submitted grant and return it; it counts from its first instant on, which may be past.

    :raises SamePerson: if the one who drafted it tries.
    :raises GrantNotReady: if it is not submitted.
    :raises GrantOverlap: if it is exclusive and another one covers the same; the details name it.
    """
    found = _step(conn, tenant_id, grant_id, wanted="submitted")
    if by == found.created_by:
        raise SamePerson
    _refuse_overlap(conn, found)
    repository.update_grant(conn, tenant_id, grant_id, status="approved", approved_by=by, approved_at=now)
    return grant(conn, tenant_id, grant_id)


def is_termination_asked(found: Grant, now: datetime) -> bool:
    """Return whether somebody asked for a grant's end who still waits for a second person."""
    asked_at = found.termination_asked_at
    return found.status == "approved" and asked_at is not None and now - asked_at < TERMINATION_ASKED_FOR


def terminate(conn: Connection, tenant_id: str, grant_id: str, by: str, now: datetime) -> Grant:
    """
    Ask for the end of a grant or, as a second person, end it now, and return it; what it did until now stays true.

    A draft and what is only submitted bind nobody, and one person ends them. The first person's question is good for a
    week; until a second one agrees the grant stays in force.

    :raises GrantNotReady: if it has been terminated.
    :raises SamePerson: if the one who asked tries to end it.
    """
    assert by, "someone terminates"
    repository.lock(conn, tenant_id)
    found = grant(conn, tenant_id, grant_id)
    if found.status == "terminated":
        raise GrantNotReady("the grant is terminated", status="terminated")
    if found.status == "approved" and not is_termination_asked(found, now):
        repository.update_grant(conn, tenant_id, grant_id, termination_asked_by=by, termination_asked_at=now)
        return grant(conn, tenant_id, grant_id)
    if found.status == "approved" and by == found.termination_asked_by:
        raise SamePerson
    repository.update_grant(conn, tenant_id, grant_id, status="terminated", terminated_at=now)
    return grant(conn, tenant_id, grant_id)
