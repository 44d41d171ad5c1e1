"""Each invariant finds exactly the wrong it is named after."""

from collections.abc import Callable
from typing import Any

import pytest

from firmware_sim.scenarios import invariants
from firmware_sim.scenarios.invariants import ALWAYS, IN_THE_END, Evidence
from firmware_sim.scenarios.words import INVARIANTS

PLAN = {
    "devices": [{"device_id": "dev_1", "k_factor_pulses_per_m3": 450_000}],
    "tariffs": [{"price_minor_per_m3": 3_200, "fixed_minor": 0, "minimum_minor": 0, "free_below_ml": 100}],
}
#: 4,500 pulses are 10 liters, 32 fen
SESSION = {
    "water_session_id": "ws_1", "device_id": "dev_1", "auth_id": "auth_1", "state": "settled", "method": "unionpay",
    "opening_pulses": 100, "closing_pulses": 4_600, "volume_ml": 10_000, "charge_minor": 32, "hold_minor": 50,
    "captured_minor": 32, "overrun_minor": 0, "stop_reason": "user",
}  # fmt: skip
ORDER = {
    "order_no": "o1", "brand": "unionpay", "kind": "hold", "status": "captured", "amount_minor": 50,
    "captured_minor": 32, "refunded_minor": 0, "times_taken": 1,
}  # fmt: skip
GAP = {"kind": "register_gap", "subject": "dev_1", "pulses": 100, "cause": "flow that nothing reported"}


def evidence(**changes: Any) -> Evidence:
    """Return a look at which everything holds, with changes."""
    seen: dict[str, Any] = {
        "plan": PLAN,
        "sessions": [SESSION],
        "ledger": {"debits_posted": 64, "credits_posted": 64, "debits_pending": 0, "credits_pending": 0},
        "devices": [{"device": "dev_1", "total_pulses": 4_600, "valve_open": False}, {"device": "dev_door"}],
        "orders": [ORDER],
        "breaks": [GAP],
        "device_log": [{"device_id": "dev_1", "opening_pulses": 100, "closing_pulses": 4_600, "log_seq": 1}],
    }
    return Evidence(**seen | changes)


LEDGER = evidence().ledger
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("books_balance", {"ledger": {**LEDGER, "debits_posted": 65}}),
    ("books_balance", {"ledger": {**LEDGER, "credits_pending": 1}}),
    ("captured_within_hold", {"sessions": [{**SESSION, "captured_minor": 51}]}),
    ("captured_within_hold", {"sessions": [{**SESSION, "state": "voided"}]}),
    ("captured_within_hold", {"sessions": [SESSION, {**SESSION, "water_session_id": "ws_2"}]}),
    ("nothing_held", {"sessions": [{**SESSION, "state": "flowing"}]}),
    ("nothing_held", {"ledger": {**LEDGER, "debits_pending": 50, "credits_pending": 50}}),
    ("billed_as_counted", {"sessions": [{**SESSION, "charge_minor": 33}]}),
    ("billed_as_counted", {"device_log": []}),
    ("every_pulse_explained", {"breaks": []}),
    ("every_pulse_explained", {"breaks": [GAP, {**GAP, "kind": "register_sum"}]}),
    ("every_pulse_explained", {"devices": [{"device": "dev_1", "total_pulses": 4_700, "valve_open": False}]}),
    ("every_pulse_explained", {"sessions": []}),
    ("no_breaks", {}),
    ("valves_shut", {"devices": [{"device": "dev_1", "total_pulses": 4_600, "valve_open": True}]}),
    ("provider_agrees", {"orders": [{**ORDER, "times_taken": 2}]}),
    ("provider_agrees", {"orders": [{**ORDER, "captured_minor": 31}]}),
    ("provider_agrees", {"orders": []}),
    ("provider_agrees", {"orders": None}),
    ("cheats_fail", {"cheated": ["got water"]}),
    ("everybody_served", {"refused": {"outlet_busy": 1}}),
    ("everybody_served", {"failed": ["hung"]}),
    ("nothing_held", {"orders": [ORDER, {**ORDER, "order_no": "o2", "status": "held", "captured_minor": 0}]}),
    ("every_pulse_explained", {"devices": [], "sessions": [], "breaks": [], "device_log": []}),
    ("every_pulse_explained", {"devices": [{"device": "dev_1", "powered": False}]}),
    ("every_pulse_explained", {"sessions": [], "device_log": [], "breaks": [{**GAP, "pulses": 4_600}]}),
    ("most_served", {"came": 4, "served": 1, "served_share": 0.5}),
    ("most_served", {"came": 0, "served": 0, "served_share": 0.5}),
    ("everything_tried", {"untried": ["lost_card by s9: not tried, outlet_offline"]}),
]


class TestInTheEnd:
    @pytest.mark.parametrize("name", sorted(IN_THE_END))
    def test_holds_when_all_is_well(self, name: str) -> None:
        registers = {"opening_pulses": 0, "closing_pulses": 4_500}
        well = evidence(
            breaks=[],
            sessions=[SESSION | registers],
            devices=[{"device": "dev_1", "total_pulses": 4_500}],
            device_log=[{"device_id": "dev_1", "log_seq": 1, **registers}],
        )

        assert IN_THE_END[name](well) == []

    @pytest.mark.parametrize(("name", "changes"), WRONG, ids=[f"{n}-{i}" for i, (n, _) in enumerate(WRONG)])
    def test_finds_its_wrong(self, name: str, changes: dict[str, Any]) -> None:
        assert IN_THE_END[name](evidence(**changes)) != []

    def test_are_the_words_of_the_language(self) -> None:
        assert set(IN_THE_END) == set(INVARIANTS)
        assert set(ALWAYS) <= set(INVARIANTS)

    def test_accepts_a_gap_that_reconciliation_lists_to_the_pulse(self) -> None:
        assert invariants.every_pulse_explained(evidence()) == []
        assert invariants.every_pulse_explained(evidence(breaks=[{**GAP, "pulses": 99}])) != []

    def test_accepts_a_charge_that_was_partly_given_back(self) -> None:
        deposit = {**ORDER, "kind": "charge", "captured_minor": 0, "refunded_minor": 18}

        assert invariants.provider_agrees(evidence(orders=[deposit])) == []

    def test_accepts_a_charge_that_was_taken_back_whole(self) -> None:
        voided = {**ORDER, "order_no": "o2", "kind": "charge", "status": "voided", "captured_minor": 0}

        assert invariants.provider_agrees(evidence(orders=[ORDER, voided])) == []
        assert invariants.provider_agrees(evidence(orders=[ORDER, {**voided, "status": "charged"}])) != []

    def test_does_not_look_for_wallets_at_a_provider(self) -> None:
        paid_by_wallet = {**SESSION, "water_session_id": "ws_2", "auth_id": "auth_2", "method": "wallet"}

        assert invariants.provider_agrees(evidence(sessions=[SESSION, paid_by_wallet])) == []

    def test_accepts_a_large_gap_where_the_pipe_was_broken_on_purpose(self) -> None:
        leaked = evidence(
            sessions=[], device_log=[], breaks=[{**GAP, "pulses": 4_600}], broken_pipes=frozenset({"dev_1"})
        )

        assert invariants.every_pulse_explained(leaked) == []

    @pytest.mark.parametrize(("came", "served", "share"), [(4, 2, 0.5), (0, 0, 0.0), (5, 6, 1.0)])
    def test_is_content_with_the_share_it_was_given(self, came: int, served: int, share: float) -> None:
        assert invariants.most_served(evidence(came=came, served=served, served_share=share)) == []


class TestAtAnyMoment:
    @pytest.mark.parametrize(
        ("name", "changes"),
        [
            ("books_balance", {"ledger": {**LEDGER, "debits_posted": 65}}),
            ("captured_within_hold", {"sessions": [{**SESSION, "captured_minor": 51}]}),
            ("billed_as_counted", {"devices": [{"device": "dev_1", "total_pulses": 4_499}]}),
            ("provider_agrees", {"orders": [{**ORDER, "times_taken": 2}]}),
        ],
    )
    def test_is_asked_at_every_look(self, name: str, changes: dict[str, Any]) -> None:
        assert [each for each, check in ALWAYS.items() if check(evidence(**changes))] == [name]

    @pytest.mark.parametrize(
        ("check", "changes"),
        [
            (invariants.billed_within_register, {"devices": [{"device": "dev_1", "total_pulses": 4_499}]}),
            (invariants.taken_twice, {"orders": [{**ORDER, "times_taken": 3}]}),
            (invariants.open_without_session, {"devices": [{"device": "dev_1", "valve_open": True}]}),
        ],
    )
    def test_finds_its_wrong(self, check: Callable[[Evidence], list[str]], changes: dict[str, Any]) -> None:
        assert check(evidence()) == []
        assert check(evidence(**changes)) != []

    def test_forgives_what_it_cannot_see(self) -> None:
        dark = evidence(orders=None, devices=[{"device": "dev_1", "powered": False}])

        assert all(check(dark) == [] for check in ALWAYS.values())
