"""The numbers providers know our orders and steps by: always acceptable, always the same, never another's."""

import re

import pytest

from backend.payments.order_numbers import STEP_NUMBERS_MAX, order_no, step_id, step_nos


class TestOrderNo:
    @pytest.mark.parametrize(
        ("our_id", "number"),
        [
            ("auth_01JB8Z0000000011", "auth01JB8Z0000000011"),
            ("rf_1.refund", order_no("rf_1.refund")),
            ("a", order_no("a")),
        ],
    )
    def test_is_what_every_provider_takes(self, our_id: str, number: str) -> None:
        assert order_no(our_id) == number
        assert re.fullmatch("[A-Za-z0-9]{8,32}", number)

    def test_of_a_number_is_itself(self) -> None:
        assert order_no(order_no("rf_1.refund")) == order_no("rf_1.refund")


class TestStepNos:
    def test_begin_with_the_step_s_own(self) -> None:
        assert step_id("rf_1.refund", 0) == "rf_1.refund"
        assert step_nos("rf_1.refund")[0] == order_no("rf_1.refund")

    def test_are_all_different(self) -> None:
        every = [number for name in ("rf_1.refund", "rf_2.refund", "auth_1.void") for number in step_nos(name)]

        assert len(set(every)) == 3 * STEP_NUMBERS_MAX
