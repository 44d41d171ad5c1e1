"""The capability matrix picks the flow."""

from dataclasses import replace

import pytest

from backend.payments.capabilities import EXTERNAL_METHODS, MATRIX


class TestCapabilities:
    @pytest.mark.parametrize(
        ("method", "flow"),
        [
            ("wallet", "ledger_hold"),
            ("unionpay", "provider_hold"),
            ("alipay", "provider_hold"),
            ("wechat", "charge_and_refund"),
        ],
    )
    def test_the_flow_follows_from_what_a_method_can_do(self, method: str, flow: str) -> None:
        assert MATRIX[method].flow == flow

    def test_a_brand_without_holds_takes_a_deposit(self) -> None:
        assert replace(MATRIX["alipay"], hold=False).flow == "charge_and_refund"

    def test_the_wallet_is_ours(self) -> None:
        assert EXTERNAL_METHODS == ("unionpay", "alipay", "wechat")
