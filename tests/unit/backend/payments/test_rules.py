"""The pure rules: what an answer means, which purse pays what, what a payment code looks like."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.payments import rules
from backend.payments.port import NOT_FOUND, Answer, Declined, Succeeded, Unknown
from backend.payments.rules import Source, Verdict
from backend.payments.types import Part
from tests.factories import NOW

_LATER = NOW + rules.GIVE_UP_AFTER


class TestJudge:
    @pytest.mark.parametrize("source", list(Source))
    @pytest.mark.parametrize(
        ("answer", "verdict"),
        [
            (Succeeded("held", 300), Verdict.TAKE),
            (Succeeded("charged", 300), Verdict.TAKE),
            (Succeeded("charged", 299), Verdict.DIFFERS),
            (Succeeded("held", 30_000), Verdict.DIFFERS),
            (Succeeded("voided", 300), Verdict.DECLINE),
            (Succeeded("refunded", 300), Verdict.DECLINE),
            (Unknown("timeout"), Verdict.WAIT),
        ],
    )
    def test_an_answer_means_the_same_whoever_gives_it(self, source: Source, answer: Answer, verdict: Verdict) -> None:
        assert rules.judge(answer, amount_minor=300, source=source, sent_at=NOW, now=_LATER) is verdict

    @pytest.mark.parametrize(
        ("source", "after", "verdict"),
        [
            (Source.STATEMENT, timedelta(0), Verdict.GIVE_UP),
            (Source.CALL, timedelta(0), Verdict.DECLINE),
            (Source.QUERY, timedelta(seconds=44), Verdict.WAIT),
            (Source.QUERY, timedelta(seconds=45), Verdict.GIVE_UP),
        ],
    )
    def test_not_found_is_believed_when_nothing_can_be_under_way(
        self, source: Source, after: timedelta, verdict: Verdict
    ) -> None:
        found = rules.judge(Declined(NOT_FOUND), amount_minor=300, source=source, sent_at=NOW, now=NOW + after)

        assert found is verdict

    @pytest.mark.parametrize("source", [Source.CALL, Source.QUERY, Source.NOTIFICATION])
    def test_a_provider_that_declines_is_believed(self, source: Source) -> None:
        found = rules.judge(Declined("no_money"), amount_minor=300, source=source, sent_at=NOW, now=NOW)

        assert found is Verdict.DECLINE


class TestIsPayerCode:
    @pytest.mark.parametrize(
        ("method", "code"),
        [
            ("wechat", "134524350966727175"),
            ("wechat", "101234567890123456"),
            ("alipay", "2812345678901234"),
            ("alipay", "301234567890123456789012"),
            ("unionpay", "6212345678901234567"),
            ("unionpay", "6212345678901234"),
        ],
    )
    def test_a_code_of_the_brand_is_one(self, method: str, code: str) -> None:
        assert rules.is_payer_code(method, code)

    @pytest.mark.parametrize(
        ("method", "code"),
        [
            ("wechat", "2812345678901234"),
            ("wechat", "1345243509667271"),
            ("wechat", "164524350966727175"),
            ("wechat", "1345243509667271755"),
            ("wechat", "134524350966727175\n"),
            ("wechat", "13452435096672717٥"),
            ("alipay", "134524350966727175"),
            ("unionpay", "62123456789012345678901"),
            ("unionpay", "agr_1"),
            ("wallet", "134524350966727175"),
            ("seashells", "134524350966727175"),
        ],
    )
    def test_anything_else_is_none(self, method: str, code: str) -> None:
        assert not rules.is_payer_code(method, code)


_AMOUNTS = st.integers(0, 500)


class TestSpread:
    @given(amount=st.integers(1, 1_200), subsidy=_AMOUNTS, voucher=_AMOUNTS, wallet=_AMOUNTS)
    def test_the_amount_is_found_in_the_order_of_spending_or_not_at_all(
        self, amount: int, subsidy: int, voucher: int, wallet: int
    ) -> None:
        has = {"wallet": wallet, "subsidy": subsidy, "voucher": voucher}
        shares = rules.spread(amount, has)

        if subsidy + voucher + wallet < amount:
            assert shares is None
            return
        assert shares is not None
        assert sum(share for _, share in shares) == amount
        assert [purse for purse in rules.SPEND_ORDER if purse in dict(shares)] == [purse for purse, _ in shares]
        assert all(share == has[purse] for purse, share in shares[:-1])
        assert all(0 < share <= has[purse] for purse, share in shares)

    def test_a_purse_below_zero_gives_nothing(self) -> None:
        assert rules.spread(10, {"subsidy": -5, "wallet": 10}) == [("wallet", 10)]


class TestSplitCapture:
    @given(held=st.lists(st.integers(1, 300), min_size=1, max_size=3), data=st.data())
    def test_the_first_parts_are_used_up_first(self, held: list[int], data: st.DataObject) -> None:
        amount = data.draw(st.integers(0, sum(held)))
        parts = [Part(purse, each, 0) for purse, each in zip(rules.SPEND_ORDER, held, strict=False)]

        taken = [share for _, share in rules.split_capture(parts, amount)]
        assert sum(taken) == amount
        for before, after, share in zip(taken, taken[1:], held, strict=False):
            assert after == 0 or before == share


class TestBackOff:
    def test_it_grows_to_five_minutes(self) -> None:
        waits = [rules.back_off(attempts) for attempts in range(40)]

        assert waits == sorted(waits)
        assert (waits[0], waits[-1]) == (timedelta(seconds=1), timedelta(minutes=5))


class TestNextQuestion:
    @pytest.mark.parametrize(
        ("after_s", "wait_s"),
        [(0, 15), (30, 15), (31, 14), (44, 1), (45, 15), (60, 15)],
    )
    def test_it_backs_off_but_not_past_the_moment_to_give_up(self, after_s: int, wait_s: int) -> None:
        now = NOW + timedelta(seconds=after_s)

        assert rules.next_question(attempts=4, sent_at=NOW, now=now) == now + timedelta(seconds=wait_s)


class TestHappenedAt:
    @pytest.mark.parametrize(
        ("said_s", "expected_s"),
        [
            (None, 7_200),  # nobody says
            (240, 240),
            (0, 0),
            (7_200, 7_200),
            (-1, 0),  # whole seconds, or a clock that is a little slow
            (-60, 0),
            (-61, 7_200),  # before the money was held: nonsense
            (-(10**9), 7_200),
            (7_201, 7_200),  # never in the future
            (10**9, 7_200),
        ],
    )
    def test_believes_evidence_within_what_is_possible(self, said_s: int | None, expected_s: int) -> None:
        said = None if said_s is None else NOW + timedelta(seconds=said_s)

        found = rules.happened_at(said, not_before=NOW, now=NOW + timedelta(hours=2))

        assert found == NOW + timedelta(seconds=expected_s)

    def test_is_never_after_now_even_where_the_hold_is(self) -> None:
        assert rules.happened_at(NOW, not_before=NOW + timedelta(seconds=5), now=NOW) == NOW


class TestSaidAt:
    def test_only_a_success_has_a_time(self) -> None:
        assert rules.said_at(Succeeded("charged", 300, at=NOW)) == NOW
        assert rules.said_at(Succeeded("charged", 300)) is None
        assert rules.said_at(Declined("no_funds")) is None
        assert rules.said_at(Unknown("timeout")) is None

    def test_does_not_make_another_answer(self) -> None:
        assert Succeeded("charged", 300, "r", NOW) == Succeeded("charged", 300, "r")
