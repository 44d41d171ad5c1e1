"""What must be so after everything that can happen to payments, told a second time and without a database."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from backend.payments.service import Authorization, Refund, State, TopUp, TopUpState

#: Where an authorization may go from where it is. What is captured, voided or declined stays so.
MOVES = {
    State.REQUESTED: {State.UNKNOWN, State.HELD, State.DECLINED, State.VOIDED},
    State.UNKNOWN: {State.HELD, State.DECLINED, State.VOIDED},
    State.HELD: {State.CAPTURED, State.VOIDED},
    State.CAPTURED: set(),
    State.VOIDED: set(),
    State.DECLINED: set(),
}


@dataclass
class Model:
    """What has been seen of authorizations, refunds and top-ups so far."""

    start_minor: int
    authorizations: dict[str, Authorization] = field(default_factory=dict)
    refunds: dict[str, Refund] = field(default_factory=dict)
    top_ups: dict[str, TopUp] = field(default_factory=dict)

    def see(self, now: Authorization) -> None:
        """Check how an authorization changed since it was last seen."""
        assert 0 <= now.captured_minor <= now.amount_minor
        before = self.authorizations.get(now.auth_id)
        if before is not None and before.state is not now.state:
            assert now.state in MOVES[before.state] | _through(before.state), (before, now)
        if before is not None and before.state is State.CAPTURED:
            assert before.captured_minor == now.captured_minor
        self.authorizations[now.auth_id] = now

    def see_refund(self, now: Refund) -> None:
        """Check how a refund changed since it was last seen, and that all together are covered by the capture."""
        before = self.refunds.get(now.refund_id)
        if before is not None and before.state != now.state:
            assert before.state == "requested"
        self.refunds[now.refund_id] = now
        assert self.refunded_minor(now.auth_id) <= self.authorizations[now.auth_id].captured_minor

    def see_top_up(self, now: TopUp) -> None:
        """Check how a top-up changed since it was last seen."""
        before = self.top_ups.get(now.top_up_id)
        assert before is None or before.state in (TopUpState.CHECKING, now.state)
        self.top_ups[now.top_up_id] = now

    def refunded_minor(self, auth_id: str) -> int:
        """Return what was given back or is owed back of an authorization."""
        return sum(refund.amount_minor for refund in self.refunds.values() if refund.auth_id == auth_id)

    def kept_minor(self, name: str) -> int:
        """Return what was taken from an authorization and not given back."""
        return self.authorizations[name].captured_minor - self.refunded_minor(name)

    def revenue_minor(self) -> int:
        """Return what water has brought in."""
        return sum(self.kept_minor(name) for name in self.authorizations)

    def held_minor(self) -> int:
        """Return what is held in the campus purses."""
        return sum(
            each.amount_minor
            for each in self.authorizations.values()
            if each.method == "wallet" and each.state is State.HELD
        )

    def purses_minor(self) -> int:
        """Return what the campus purses have together."""
        topped = sum(each.amount_minor for each in self.top_ups.values() if each.state is TopUpState.SUCCEEDED)
        spent = sum(self.kept_minor(name) for name, each in self.authorizations.items() if each.method == "wallet")
        return self.start_minor + topped - spent

    def deposits(self) -> Mapping[str, int]:
        """Return what is in clearing, by water session: the deposits of showers that run."""
        return {
            each.water_session_id: each.amount_minor
            for each in self.authorizations.values()
            if each.method == "wechat" and each.state is State.HELD
        }


def _through(state: State) -> set[State]:
    """Return where two moves lead that were made between two looks."""
    return {after for between in MOVES[state] for after in MOVES[between]} | (
        {State.CAPTURED} if state is State.REQUESTED else set()
    )
