"""What tests say shall happen to requests to come."""

import json
from dataclasses import dataclass, field
from typing import Any

from firmware_sim.sandbox_provider.kit import number_of
from firmware_sim.sandbox_provider.store import Store

#: What happens to the request itself.
OUTCOMES = (
    "decline", "delay", "timeout_before", "timeout_after", "duplicate", "waiting", "success_after_cancel",
)  # fmt: skip
#: What happens to the notifications that follow from it.
MANNERS = (
    "notify_none", "notify_late", "notify_duplicate", "notify_reordered", "notify_forged", "notify_changed_amount",
    "notify_other_merchant",
)  # fmt: skip
VERBS = ("", "authorize", "charge", "capture", "void", "refund", "query", "statement")
_SECONDS_MAX = 86_400
_TEXT_MAX = 200
_DEFAULT_SECONDS = {"waiting": 5, "success_after_cancel": 1, "notify_late": 5}
_SILENCE_S = 30


@dataclass(frozen=True, slots=True)
class Plan:
    """
    How one request is treated. Milliseconds; `decline` is a reason to say no.

    `wait_ms`: the payer must confirm first, and does after that long. `late_ms`: the payer confirms that long after
    the order was canceled. `manner` is the script of the notifications that follow.
    """

    behaviour: str = ""
    seconds: float = 0
    decline: str = ""
    wait_ms: int | None = None
    late_ms: int | None = None
    manner: dict[str, Any] = field(default_factory=dict)


def problem(wanted: Any) -> str:
    """Return what is wrong with a script, or nothing."""
    if not isinstance(wanted, dict):
        return "an object with match and behaviour is wanted"
    match, verb, reason = (wanted.get(name, "") for name in ("match", "verb", "reason"))
    seconds = wanted.get("seconds", 0)
    if not isinstance(match, str) or not 0 < len(match) <= _TEXT_MAX:
        return "match: an order number, an id, or next"
    if verb not in VERBS:
        return f"verb: nothing or one of {', '.join(VERBS[1:])}"
    if wanted.get("behaviour") not in OUTCOMES + MANNERS:
        return f"behaviour: one of {', '.join(OUTCOMES + MANNERS)}"
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= _SECONDS_MAX:
        return f"seconds: 0 to {_SECONDS_MAX}"
    if not isinstance(reason, str) or len(reason) > _TEXT_MAX:
        return "reason: a word"
    unknown = set(wanted) - {"match", "verb", "behaviour", "seconds", "reason"}
    return f"unknown: {', '.join(sorted(map(str, unknown)))}" if unknown else ""


class Scripts:
    """The scripts not used yet; each serves one request."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, wanted: dict[str, Any]) -> None:
        """Remember a script that has no `problem`."""
        side = "notify" if wanted["behaviour"] in MANNERS else "outcome"
        match = wanted["match"]
        script = {name: wanted[name] for name in ("behaviour", "seconds", "reason") if name in wanted}
        self._store.run(
            "INSERT INTO scripts (raw, matches, verb, side, script) VALUES (?, ?, ?, ?, ?)",
            (match, number_of(match), wanted.get("verb", ""), side, json.dumps(script)),
        )

    def _take(self, side: str, numbers: tuple[str, str], verb: str) -> dict[str, Any]:
        row = self._store.row(
            "SELECT number, script FROM scripts WHERE side = ? AND verb IN (?, '')"
            " AND (raw IN (?, ?, 'next') OR matches IN (?, ?)) ORDER BY number LIMIT 1",
            (side, verb, *numbers, *numbers),
        )
        if row is None:
            return {}
        self._store.run("DELETE FROM scripts WHERE number = ?", (row["number"],))
        script: dict[str, Any] = json.loads(row["script"])
        return script

    def take(self, order_no: str, operation_no: str, verb: str) -> Plan:
        """Return how to treat a request and forget it; the oldest script that matches, at most one of either side."""
        outcome = self._take("outcome", (order_no, operation_no or order_no), verb)
        manner = {} if verb == "query" else self._take("notify", (order_no, operation_no or order_no), verb)
        if "behaviour" in manner:
            manner.setdefault("seconds", _DEFAULT_SECONDS.get(manner["behaviour"], 0))
        behaviour = outcome.get("behaviour", "")
        seconds = outcome.get("seconds", _DEFAULT_SECONDS.get(behaviour, _SILENCE_S))
        decline = str(outcome.get("reason", "insufficient_funds" if behaviour == "decline" else ""))
        return Plan(
            behaviour=behaviour,
            seconds=seconds,
            decline=decline,
            wait_ms=int(seconds * 1000) if behaviour == "waiting" else None,
            late_ms=int(seconds * 1000) if behaviour == "success_after_cancel" else None,
            manner=manner,
        )
