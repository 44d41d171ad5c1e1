"""What really became of a water session's money: taken, spent, and on its way back, as far as the provider has said."""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection

from backend.payments import queue_repository, repository
from backend.payments.authorizing import authorization
from backend.payments.capabilities import MATRIX, WALLET
from backend.payments.types import Authorization, Operation, Part, State

#: `requested`: the provider has been or will be told; `refused`: it would not, and a person sees to it.
BackState = Literal["done", "requested", "refused"]
_BACK: dict[str, BackState] = {"done": "done", "pending": "requested", "refused": "refused", "abandoned": "refused"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was held or taken at first, what of it was spent, and what goes back: let go, or a deposit's rest."""

    taken_minor: int
    spent_minor: int
    back_minor: int
    back_state: BackState = "done"


def outcome(conn: Connection, tenant_id: str, auth_id: str) -> Outcome:
    """
    Return what became of an authorization's money.

    What the provider never took is zero, and what it refused to pay out was not spent by anybody.

    :raises AuthorizationUnknown: if there is none.
    """
    found = authorization(conn, tenant_id, auth_id)
    is_over = found.state in (State.CAPTURED, State.VOIDED)
    if found.method == WALLET:
        held_minor = sum(part.held_minor for part in repository.parts(conn, tenant_id, auth_id))
        back_minor = held_minor - found.captured_minor if is_over else 0
        return Outcome(held_minor, found.captured_minor, back_minor)
    intent = queue_repository.find(conn, tenant_id, auth_id)
    if intent is None or intent.answer != "taken":
        return Outcome(0, 0, 0)
    captures = queue_repository.of_order(conn, tenant_id, auth_id, "capture")
    spent_minor = 0 if any(each.status == "refused" for each in captures) else found.captured_minor
    back_minor = found.amount_minor - spent_minor if is_over else 0
    state = _back_state(conn, found, captures) if back_minor else "done"
    return Outcome(found.amount_minor, spent_minor, back_minor, state)


def _back_state(conn: Connection, found: Authorization, captures: list[Operation]) -> BackState:
    back = queue_repository.of_order(conn, found.tenant_id, found.auth_id, "void")
    if not back and MATRIX[found.method].flow == "charge_and_refund":
        rest = queue_repository.find(conn, found.tenant_id, f"{found.capture_id}.rest")
        back = [rest] if rest is not None else []
    told = back or captures  # a provider lets go of what a capture leaves
    return _BACK[told[-1].status] if told else "done"


def parts(conn: Connection, tenant_id: str, auth_id: str) -> list[Part]:
    """
    Return which purse gave how much and how much of that was spent; with a provider there is one part, the provider's.

    :raises AuthorizationUnknown: if there is none.
    """
    found = authorization(conn, tenant_id, auth_id)
    if found.method == WALLET:
        return repository.parts(conn, tenant_id, auth_id)
    if found.state not in (State.HELD, State.CAPTURED) or found.amount_minor == 0:
        return []
    return [Part(found.method, found.amount_minor, outcome(conn, tenant_id, auth_id).spent_minor)]
