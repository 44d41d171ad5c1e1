"""Use cases of the access slice: decide at a door, count passages, show them to the desk."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Connection, RowMapping

from backend.access import repository, rules
from backend.access.context import AccessContext
from backend.access.rules import DoorPolicy, OpenHours
from backend.cardholders import service as cardholders
from backend.errors import BackendError, NotFound
from backend.fleet import service as fleet
from backend.kit.clock import epoch_ms, from_epoch_ms
from backend.kit.ids import new_id
from backend.tenants import keys
from backend.tenants import service as tenants
from gateway.contract.commands import Command, GrantPassage
from gateway.contract.events import CommandRefused, PassageCounted
from gateway.contract.faults import BLOCKING
from gateway.contract.messages import CredentialPresented, Decision
from gateway.contract.signing import Signed, sign

__all__ = [
    "DoorPolicy",
    "DoorUnknown",
    "OpenHours",
    "PassageRow",
    "RequestMalformed",
    "decide",
    "door",
    "occupancy",
    "on_passage",
    "on_refused",
    "recent_passages",
    "set_door",
]

#: A grant that has not reached the door by then is worth nothing: the person has tapped again or gone.
_GRANT_LIFE = timedelta(seconds=10)
_REQUEST_ID_CHARS_MAX = 128


class DoorUnknown(NotFound):
    """No such door."""

    code = "door_unknown"


class RequestMalformed(BackendError):
    """The reader's request cannot be answered."""

    code = "request_malformed"


@dataclass(frozen=True, slots=True)
class PassageRow:
    """A line of the desk's list: a decision with what the door saw afterwards, or a passage without a decision."""

    at: datetime
    device_id: str
    direction: str
    #: masked; empty when nobody was recognized
    name: str
    name_en: str
    person_class: str
    granted: bool
    #: of the decision; `no_grant` for a passage without one
    reason: str
    #: None until the door has reported
    outcome: str | None
    passed_at: datetime | None
    latency_ms: int | None


def set_door(conn: Connection, policy: DoorPolicy) -> None:
    """Store who may pass a door and when."""
    hours = [[each.weekday, each.from_minute, each.to_minute] for each in policy.hours]
    repository.save_door(
        conn,
        {
            "tenant_id": policy.tenant_id,
            "device_id": policy.device_id,
            "person_classes": sorted(policy.person_classes),
            "minimum_assurance": policy.minimum_assurance,
            "hours": hours,
            "open_ms": policy.open_ms,
        },
    )


def door(conn: Connection, tenant_id: str, device_id: str) -> DoorPolicy:
    """Return a door's policy; a door without one lets nobody in."""
    row = repository.find_door(conn, tenant_id, device_id)
    if row is None:
        return DoorPolicy(tenant_id, device_id, frozenset())
    return DoorPolicy(
        tenant_id=tenant_id,
        device_id=device_id,
        person_classes=frozenset(row["person_classes"]),
        minimum_assurance=row["minimum_assurance"],
        hours=tuple(OpenHours(*each) for each in row["hours"]),
        open_ms=row["open_ms"],
    )


def _resolve(
    conn: Connection, ctx: AccessContext, tenant_id: str, presented: CredentialPresented, now: datetime
) -> cardholders.ResolvedCredential | str:
    """Return who presented a credential, or the reason it is worth nothing."""
    try:
        return cardholders.resolve(
            conn, ctx.secrets_dir, tenant_id, kind=presented.kind.value, value=presented.value, now=now
        )
    except BackendError as refusal:
        return rules.CREDENTIAL_REASONS[refusal.code]


def _grant(conn: Connection, ctx: AccessContext, device: fleet.Device, passage: GrantPassage, now: datetime) -> Signed:
    kid, key = keys.command_key(ctx.secrets_dir, device.tenant_id)
    command = Command(
        cmd_id=new_id("cmd"),
        tenant=device.tenant_id,
        gateway=device.gateway_id,
        device=device.device_id,
        sequence=fleet.next_command_sequence(conn, device.tenant_id, device.device_id),
        issued_at_ms=epoch_ms(now),
        not_after_ms=epoch_ms(now + _GRANT_LIFE),
        body=passage,
    )
    return sign(command, key=key, kid=kid)


def _decide_new(
    conn: Connection, ctx: AccessContext, device: fleet.Device, presented: CredentialPresented, now: datetime
) -> Decision:
    tenant_id = device.tenant_id
    who = _resolve(conn, ctx, tenant_id, presented, now)
    resolved = None if isinstance(who, str) else who
    policy = door(conn, tenant_id, device.device_id)
    reason = rules.decide_door(
        credential_reason=who if isinstance(who, str) else None,
        person_class=resolved.cardholder.person_class if resolved else "",
        assurance=resolved.assurance if resolved else 0,
        policy=policy,
        zone=tenants.get(conn, tenant_id).time_zone,
        direction=presented.direction,
        is_faulty=device.state == "mismatch" or any(fault in BLOCKING for fault in device.faults),
        now=now,
    )
    if reason == "ok" and resolved and not cardholders.consume_use(conn, tenant_id, resolved.credential_id):
        reason = "visitor_not_valid"
    command = passage_id = None
    if reason == "ok":
        passage_id = new_id("pg")
        passage = GrantPassage(passage_id=passage_id, direction=presented.direction, open_ms=policy.open_ms)
        command = _grant(conn, ctx, device, passage, now)
    answer = Decision(
        request_id=presented.request_id,
        device=device.device_id,
        granted=reason == "ok",
        reason=reason,
        display=rules.DISPLAYS[reason],
        command=command,
    )
    decided_at = max(now, ctx.clock())
    repository.finish_request(
        conn,
        tenant_id,
        presented.request_id,
        {
            "cardholder_id": resolved.cardholder.cardholder_id if resolved else None,
            "credential_id": resolved.credential_id if resolved else None,
            "granted": answer.granted,
            "reason": reason,
            "passage_id": passage_id,
            "decided_at": decided_at,
            "latency_ms": min(max(0, epoch_ms(decided_at) - presented.at_ms), 2**31 - 1),
            "answer": msgspec.json.encode(answer).decode(),
        },
    )
    return answer


def decide(
    ctx: AccessContext,
    tenant_id: str,
    presented: CredentialPresented,
    now: datetime,
    *,
    gateway_id: str | None = None,
) -> Decision:
    """
    Return the answer to a credential shown at a door, with a signed command if it may open. A repeat of a request is
    answered as before, down to the command, whatever has changed since. Every decision is stored with its reason.

    :raises DoorUnknown: if the device is not a door of this tenant, or not of the gateway that asks.
    :raises RequestMalformed: if the request's id or direction cannot be stored.
    """
    if not 0 < len(presented.request_id) <= _REQUEST_ID_CHARS_MAX or presented.direction not in ("in", "out"):
        raise RequestMalformed
    with ctx.db.write() as conn:
        device = fleet.device(conn, tenant_id, presented.device)
        if device.kind != "door" or gateway_id not in (None, device.gateway_id):
            raise DoorUnknown(f"{presented.device!r} is not a door of this gateway")
        claimed = repository.claim_request(
            conn,
            {
                "tenant_id": tenant_id,
                "request_id": presented.request_id,
                "device_id": device.device_id,
                "direction": presented.direction,
                "credential_kind": presented.kind.value,
                "granted": False,
                "reason": "undecided",
                "presented_at": from_epoch_ms(presented.at_ms),
                "decided_at": now,
                "latency_ms": 0,
                "answer": "",
            },
        )
        if not claimed:
            answer = repository.find_answer(conn, tenant_id, presented.request_id)
            return msgspec.json.decode(answer, type=Decision)
        return _decide_new(conn, ctx, device, presented, now)


def on_passage(conn: Connection, tenant_id: str, event: PassageCounted, now: datetime) -> bool:
    """Store what a door saw, once an event; return whether it is new."""
    return repository.insert_passage(
        conn,
        {
            "tenant_id": tenant_id,
            "event_id": event.event_id,
            "device_id": event.device,
            "passage_id": event.passage_id,
            "direction": event.direction,
            "outcome": event.outcome,
            "passed_at": from_epoch_ms(event.at_ms),
            "recorded_at": now,
        },
    )


def on_refused(conn: Connection, tenant_id: str, event: CommandRefused, now: datetime) -> bool:
    """Store that a door did not carry out a grant, once an event; return whether it is new."""
    return repository.insert_passage(
        conn,
        {
            "tenant_id": tenant_id,
            "event_id": event.event_id,
            "device_id": event.device,
            "passage_id": event.subject_id,
            "direction": "in",
            "outcome": "refused",
            "passed_at": from_epoch_ms(event.at_ms),
            "recorded_at": now,
        },
    )


def _row_of_decision(row: RowMapping, person: cardholders.Cardholder | None) -> PassageRow:
    return PassageRow(
        at=row["decided_at"],
        device_id=row["device_id"],
        direction=row["direction"],
        name=rules.masked_name(person.name) if person else "",
        name_en=rules.masked_name(person.name_en) if person else "",
        person_class=person.person_class if person else "",
        granted=row["granted"],
        reason=row["reason"],
        outcome=row["outcome"],
        passed_at=row["passed_at"],
        latency_ms=row["latency_ms"],
    )


def _row_of_passage(row: RowMapping) -> PassageRow:
    return PassageRow(
        at=row["passed_at"],
        device_id=row["device_id"],
        direction=row["direction"],
        name="",
        name_en="",
        person_class="",
        granted=False,
        reason="no_grant",
        outcome=row["outcome"],
        passed_at=row["passed_at"],
        latency_ms=None,
    )


def recent_passages(conn: Connection, tenant_id: str, device_id: str | None, limit: int) -> list[PassageRow]:
    """Return the latest decisions and passages at one door or all, latest first, with masked names."""
    decided = repository.find_decisions(conn, tenant_id, device_id, limit)
    people = {
        cardholder_id: cardholders.cardholder(conn, tenant_id, cardholder_id)
        for cardholder_id in {row["cardholder_id"] for row in decided if row["cardholder_id"]}
    }
    lines = [_row_of_decision(row, people.get(row["cardholder_id"])) for row in decided]
    lines += [_row_of_passage(row) for row in repository.find_ungranted_passages(conn, tenant_id, device_id, limit)]
    return sorted(lines, key=lambda line: line.at, reverse=True)[:limit]


def occupancy(conn: Connection, tenant_id: str, device_ids: list[str], now: datetime) -> int:
    """Return how many people are inside some doors, from the passages since the school's last midnight."""
    local = now.astimezone(tenants.get(conn, tenant_id).time_zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    return rules.inside_after(repository.find_passages_since(conn, tenant_id, device_ids, midnight))
