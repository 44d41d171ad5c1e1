"""
What is accepted here, now or at a time, for whom, and why. One pure function feeds page, authorizer and preview.

- The wallet is the school's own and always accepted.
- A grant counts where its place is the place asked for or one it lies in, for its scenario, from `active_from` up to,
  not including, its end. Its end is `active_to`, or its termination if that came first. Only approved grants count.
- While an exclusive grant counts, other brands are refused, unless one of its exemptions applies.
- While a preferred grant counts and nothing exclusive does, its brand is marked and the others stay accepted.
- Exclusive beats preferred; of several, the one on the innermost place speaks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

WALLET = "wallet"
#: All payment methods there are.
METHODS = (WALLET, "unionpay", "alipay", "wechat")
MODES = ("exclusive", "preferred")
#: Conditions a grant may name as exemptions: nobody is denied hot water by one of these.
EXEMPTIONS = ("visitor", "minor", "no_bank_account", "provider_outage", "phone_dead")


@dataclass(frozen=True, slots=True)
class Grant:
    """A protection granted to a brand for a scenario in a subtree of places during a half-open period."""

    tenant_id: str
    grant_id: str
    grantor: str
    brand: str
    scenario: str
    place_id: str
    active_from: datetime
    active_to: datetime
    #: exclusive or preferred
    mode: str
    exemptions: tuple[str, ...] = ()
    #: what the school got for it, in words
    consideration: str = ""
    document_sha256: str = ""
    #: draft, submitted, approved or terminated; active and expired follow from the period
    status: str = "draft"
    created_by: str = ""
    approved_by: str | None = None
    terminated_at: datetime | None = None
    #: who asked for its end, and when; a second person ends it
    termination_asked_by: str | None = None
    termination_asked_at: datetime | None = None

    @property
    def ends_at(self) -> datetime:
        """Return the first instant at which the grant no longer counts."""
        if self.terminated_at is None:
            return self.active_to
        return max(self.active_from, min(self.active_to, self.terminated_at))

    def counts_at(self, at: datetime) -> bool:
        """Return whether the grant is in force at an instant."""
        was_approved = self.status == "approved" or (self.status == "terminated" and self.approved_by is not None)
        return was_approved and self.active_from <= at < self.ends_at


@dataclass(frozen=True, slots=True)
class MethodDecision:
    """
    Whether a method is accepted and why.

    `reason` is `wallet`, `open`, `protected` (its own grant), `preferred`, `exempt_<exemption>` or `exclusive_other`.
    """

    method: str
    accepted: bool
    preferred: bool
    reason: str
    grant_id: str | None = None
    #: when the grant that speaks ends
    until: datetime | None = None
    #: the brand that grant protects
    brand: str | None = None


def _innermost(grants: Iterable[Grant], place_ids: Sequence[str]) -> Grant | None:
    return min(
        grants, key=lambda grant: (-place_ids.index(grant.place_id), grant.active_from, grant.grant_id), default=None
    )


def _decide_one(
    method: str, exclusive: list[Grant], preferred: list[Grant], place_ids: Sequence[str], conditions: frozenset[str]
) -> MethodDecision:
    own = _innermost((grant for grant in exclusive if grant.brand == method), place_ids)
    if own is not None:
        return MethodDecision(method, True, True, "protected", own.grant_id, own.ends_at, own.brand)
    other = _innermost(exclusive, place_ids)
    if other is not None and method != WALLET:
        # every exclusive grant must let the exemption through, not just the innermost
        applying = [[name for name in grant.exemptions if name in conditions] for grant in exclusive]
        if all(applying):
            reason = f"exempt_{applying[exclusive.index(other)][0]}"
            return MethodDecision(method, True, False, reason, other.grant_id, other.ends_at, other.brand)
        return MethodDecision(method, False, False, "exclusive_other", other.grant_id, other.ends_at, other.brand)
    mark = _innermost((grant for grant in preferred if grant.brand == method), place_ids)
    if mark is not None and not exclusive:
        return MethodDecision(method, True, True, "preferred", mark.grant_id, mark.ends_at, mark.brand)
    return MethodDecision(method, True, False, "wallet" if method == WALLET else "open")


def decide(
    *,
    methods: Sequence[str],
    grants: Iterable[Grant],
    place_ids: Sequence[str],
    scenario: str,
    person_class: str,
    conditions: frozenset[str],
    at: datetime,
) -> list[MethodDecision]:
    """Return one decision a method, in the order given. `place_ids` is the path to the place asked for, root first."""
    if person_class == "visitor":
        conditions = conditions | {"visitor"}
    in_force = [
        grant for grant in grants if grant.scenario == scenario and grant.place_id in place_ids and grant.counts_at(at)
    ]
    exclusive = [grant for grant in in_force if grant.mode == "exclusive"]
    preferred = [grant for grant in in_force if grant.mode == "preferred"]
    return [_decide_one(method, exclusive, preferred, place_ids, conditions) for method in methods]


def conflicts(one: Grant, one_path: Sequence[str], other: Grant, other_path: Sequence[str]) -> bool:
    """
    Return whether two exclusive grants overlap in scenario, place and time.

    A path is the places from the root to the grant's own; two subtrees meet when one's root lies on the other's path.
    """
    return (
        one.grant_id != other.grant_id
        and one.mode == other.mode == "exclusive"
        and one.scenario == other.scenario
        and (one.place_id in other_path or other.place_id in one_path)
        and one.active_from < other.ends_at
        and other.active_from < one.ends_at
    )
