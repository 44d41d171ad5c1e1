"""The decision, case by case, without a database."""

from datetime import timedelta

import pytest

from backend.ledger.decision import decide
from backend.ledger.rules import (
    AMOUNT_MINOR_MAX,
    Account,
    Code,
    Decision,
    Rows,
    TransferKind,
    TransferRequest,
)
from tests.factories import NOW
from tests.unit.backend.ledger.requests import pending, resolve, single

WALLET = Account("wallet", "credit", may_go_negative=False, credits_posted=100)
CLEARING = Account("clearing", "credit", may_go_negative=False)
REVENUE = Account("revenue", "credit", may_go_negative=True)
LOSS = Account("loss", "debit", may_go_negative=False)
ROWS = Rows({account.account_id: account for account in (WALLET, CLEARING, REVENUE, LOSS)}, {}, {})


def codes(*requests: TransferRequest, rows: Rows = ROWS) -> list[str]:
    """Return what becomes of requests, in words."""
    return [result.code.value for result in decide(rows, requests, now=NOW).results]


def after(rows: Rows, decision: Decision) -> Rows:
    """Return the rows once a decision is stored."""
    return Rows(
        {**rows.accounts, **{account.account_id: account for account in decision.accounts}},
        {**rows.transfers, **{transfer.transfer_id: transfer for transfer in decision.transfers}},
        {**rows.resolutions, **{t.pending_id: t.transfer_id for t in decision.transfers if t.pending_id}},
    )


class TestDecide:
    @pytest.mark.parametrize(
        ("request_", "code"),
        [
            (single("t", "wallet", "revenue", 100), "ok"),
            (single("t", "wallet", "revenue", 101), "insufficient"),
            (single("t", "revenue", "wallet", 10**9), "ok"),
            (single("t", "wallet", "revenue", 0), "invalid_amount"),
            (single("t", "wallet", "revenue", -1), "invalid_amount"),
            (single("t", "revenue", "wallet", AMOUNT_MINOR_MAX + 1), "invalid_amount"),
            (single("t", "wallet", "wallet", 1), "same_account"),
            (single("t", "wallet", "nobody", 1), "account_unknown"),
            (single("t", "wallet", "revenue", 1, pending_id="h"), "not_pending"),
            (single("t", "wallet", "loss", 1), "insufficient"),
            (single("t", "loss", "wallet", 1), "ok"),
            (pending("t", "wallet", "clearing", 100), "ok"),
            (pending("t", "wallet", "clearing", 101), "insufficient"),
            (pending("t", "clearing", "revenue", 1), "insufficient"),
            (resolve("t", TransferKind.POST, "nothing", 1), "not_pending"),
            (resolve("t", TransferKind.VOID, "nothing"), "not_pending"),
        ],
    )
    def test_one_request_is_answered(self, request_: TransferRequest, code: str) -> None:
        assert codes(request_) == [code]

    def test_what_is_held_cannot_be_taken_twice(self) -> None:
        assert codes(pending("h1", "wallet", "clearing", 60), pending("h2", "wallet", "clearing", 41)) == [
            "ok",
            "insufficient",
        ]

    def test_expected_money_cannot_be_spent(self) -> None:
        assert codes(pending("h", "wallet", "clearing", 60), single("t", "clearing", "revenue", 60)) == [
            "ok",
            "insufficient",
        ]

    def test_a_credit_limit_can_be_used_up(self) -> None:
        student = Account("wallet", "credit", may_go_negative=False, credit_limit_minor=50)
        rows = Rows({"wallet": student, "revenue": REVENUE}, {}, {})

        assert codes(single("a", "wallet", "revenue", 51), single("b", "wallet", "revenue", 50), rows=rows) == [
            "insufficient",
            "ok",
        ]

    @pytest.mark.parametrize("taken", [1, 40, 60])
    def test_posting_takes_a_part_and_releases_the_rest(self, taken: int) -> None:
        decision = decide(
            ROWS, [pending("h", "wallet", "clearing", 60), resolve("p", TransferKind.POST, "h", taken)], now=NOW
        )

        wallet, clearing = (
            next(account for account in decision.accounts if account.account_id == name)
            for name in ("wallet", "clearing")
        )
        assert (wallet.posted_minor, wallet.held_minor, wallet.available_minor) == (100 - taken, 0, 100 - taken)
        assert (clearing.posted_minor, clearing.credits_pending) == (taken, 0)

    @pytest.mark.parametrize(
        ("request_", "code"),
        [
            (resolve("p", TransferKind.POST, "h", 61), "exceeds_pending"),
            (resolve("p", TransferKind.POST, "h", 0), "invalid_amount"),
            (resolve("p", TransferKind.POST, "h", -1), "invalid_amount"),
            (resolve("p", TransferKind.VOID, "h", 59), "invalid_amount"),
            (resolve("p", TransferKind.EXPIRE, "h"), "not_due"),
            (resolve("p", TransferKind.VOID, "h"), "ok"),
        ],
    )
    def test_a_hold_is_resolved_within_its_bounds(self, request_: TransferRequest, code: str) -> None:
        hold = pending("h", "wallet", "clearing", 60, NOW + timedelta(seconds=1))

        assert codes(hold, request_) == ["ok", code]

    @pytest.mark.parametrize("first", [TransferKind.POST, TransferKind.VOID, TransferKind.EXPIRE])
    @pytest.mark.parametrize("second", [TransferKind.POST, TransferKind.VOID, TransferKind.EXPIRE])
    def test_a_hold_is_resolved_once(self, first: TransferKind, second: TransferKind) -> None:
        amounts = {TransferKind.POST: 60}
        hold = pending("h", "wallet", "clearing", 60, NOW)

        assert codes(
            hold,
            resolve("r1", first, "h", amounts.get(first, 0)),
            resolve("r2", second, "h", amounts.get(second, 0)),
        ) == ["ok", "ok", "already_resolved"]

    def test_a_hold_past_its_time_stands_until_it_is_expired(self) -> None:
        hold = pending("h", "wallet", "clearing", 60, NOW - timedelta(days=1))

        assert codes(hold, resolve("p", TransferKind.POST, "h", 60)) == ["ok", "ok"]

    def test_a_resolution_can_not_be_resolved(self) -> None:
        assert codes(single("s", "wallet", "revenue", 5), resolve("p", TransferKind.POST, "s", 5)) == [
            "ok",
            "not_pending",
        ]

    def test_the_rows_given_are_not_changed(self) -> None:
        decide(ROWS, [single("t", "wallet", "revenue", 100)], now=NOW)

        assert ROWS.accounts["wallet"] is WALLET
        assert ROWS.transfers == {}


class TestIdempotency:
    HOLD = pending("h", "wallet", "clearing", 60, NOW + timedelta(hours=1), reference="ws_1")

    @pytest.mark.parametrize("same_batch", [True, False])
    def test_the_same_again_answers_exists_and_moves_nothing(self, same_batch: bool) -> None:
        if same_batch:
            decision = decide(ROWS, [self.HOLD, self.HOLD], now=NOW)
            assert [result.code for result in decision.results] == [Code.OK, Code.EXISTS]
            assert len(decision.transfers) == 1
        else:
            rows = after(ROWS, decide(ROWS, [self.HOLD], now=NOW))
            decision = decide(rows, [self.HOLD], now=NOW + timedelta(hours=9))
            assert decision.results[0].code is Code.EXISTS
            assert decision.results[0].recorded_at == NOW
            assert (decision.transfers, decision.accounts) == ((), ())

    @pytest.mark.parametrize(
        "other",
        [
            pending("h", "wallet", "clearing", 61, NOW + timedelta(hours=1), reference="ws_1"),
            pending("h", "wallet", "revenue", 60, NOW + timedelta(hours=1), reference="ws_1"),
            pending("h", "wallet", "clearing", 60, NOW + timedelta(hours=2), reference="ws_1"),
            pending("h", "wallet", "clearing", 60, None, reference="ws_1"),
            pending("h", "wallet", "clearing", 60, NOW + timedelta(hours=1), reference="ws_2"),
            pending("h", "wallet", "clearing", 60, NOW + timedelta(hours=1), reference="ws_1", memo="x"),
            single("h", "wallet", "clearing", 60, reference="ws_1"),
            resolve("h", TransferKind.VOID, "h"),
        ],
    )
    def test_another_body_is_refused(self, other: TransferRequest) -> None:
        assert codes(self.HOLD, other) == ["ok", "exists_different"]

    def test_a_resolution_is_compared_as_it_was_asked_for(self) -> None:
        post = resolve("p", TransferKind.POST, "h", 30)

        assert codes(
            self.HOLD,
            post,
            post,
            resolve("p", TransferKind.POST, "h", 31),
            resolve("p", TransferKind.POST, "h", 0),
            resolve("p", TransferKind.VOID, "h"),
        ) == ["ok", "ok", "exists", "exists_different", "exists_different", "exists_different"]

    def test_a_refusal_is_not_remembered(self) -> None:
        much = single("t", "wallet", "revenue", 150)

        assert codes(much, single("in", "revenue", "wallet", 50), much) == ["insufficient", "ok", "ok"]


class TestChains:
    def test_all_stand_or_none(self) -> None:
        good = single("a", "wallet", "clearing", 10, linked=True), single("b", "clearing", "revenue", 10)
        bad = (
            single("c", "wallet", "clearing", 10, linked=True),
            single("d", "clearing", "revenue", 11, linked=True),
            single("e", "wallet", "revenue", 1),
        )
        decision = decide(ROWS, [*bad, *good], now=NOW)

        assert [result.code.value for result in decision.results] == [
            "linked_failed",
            "insufficient",
            "linked_failed",
            "ok",
            "ok",
        ]
        assert [transfer.transfer_id for transfer in decision.transfers] == ["a", "b"]
        assert next(a for a in decision.accounts if a.account_id == "wallet").posted_minor == 90

    def test_the_same_chain_again_exists(self) -> None:
        chain = single("a", "wallet", "clearing", 10, linked=True), single("b", "clearing", "revenue", 10)

        assert codes(*chain, *chain) == ["ok", "ok", "exists", "exists"]

    def test_a_chain_with_a_member_from_before_does_not_half_happen(self) -> None:
        assert codes(
            single("a", "wallet", "clearing", 10),
            single("a", "wallet", "clearing", 10, linked=True),
            single("b", "clearing", "revenue", 10),
        ) == ["ok", "exists", "linked_failed"]

    def test_an_id_twice_in_a_chain_fails_it(self) -> None:
        twice = single("a", "wallet", "clearing", 10, linked=True), single("a", "wallet", "clearing", 10)

        assert codes(*twice) == ["linked_failed", "linked_failed"]

    def test_an_unfinished_chain_is_our_bug(self) -> None:
        with pytest.raises(AssertionError):
            codes(single("a", "wallet", "clearing", 10, linked=True))


class TestSameBody:
    @pytest.mark.parametrize(
        ("reference", "code"),
        [("", "exists"), ("ws_1", "exists"), ("ws_2", "exists_different"), ("ws", "exists_different")],
    )
    @pytest.mark.parametrize(("kind", "amount_minor"), [(TransferKind.POST, 40), (TransferKind.VOID, 0)])
    def test_a_resolution_may_leave_its_holds_reference_out_and_name_no_other(
        self, kind: TransferKind, amount_minor: int, reference: str, code: str
    ) -> None:
        held = decide(ROWS, [pending("h", "wallet", "clearing", 50, reference="ws_1")], now=NOW)
        rows = after(ROWS, held)
        rows = after(rows, decide(rows, [resolve("p", kind, "h", amount_minor)], now=NOW))

        assert codes(resolve("p", kind, "h", amount_minor, reference=reference), rows=rows) == [code]

    def test_a_resolution_with_a_reference_of_its_own_is_asked_for_by_it_or_by_none(self) -> None:
        rows = after(ROWS, decide(ROWS, [pending("h", "wallet", "clearing", 50, reference="ws_1")], now=NOW))
        rows = after(rows, decide(rows, [resolve("p", TransferKind.POST, "h", 40, reference="bill_7")], now=NOW))

        asked = [resolve("p", TransferKind.POST, "h", 40, reference=one) for one in ("bill_7", "", "ws_1")]

        assert codes(*asked, rows=rows) == ["exists", "exists", "exists_different"]
