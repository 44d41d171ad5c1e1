"""Whatever a merchant with good keys sends, the provider answers it and takes no money it should not."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firmware_sim.sandbox_provider.kit import read_json
from tests.unit.firmware_sim.sandbox_provider.rails import AlipayClient, House, UnionPayClient, WeChatClient

FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))
METHODS = (
    "alipay.fund.auth.order.freeze", "alipay.fund.auth.order.unfreeze", "alipay.fund.auth.operation.cancel",
    "alipay.fund.auth.operation.detail.query", "alipay.trade.pay", "alipay.trade.query", "alipay.trade.cancel",
    "alipay.trade.refund", "alipay.trade.fastpay.refund.query", "alipay.data.dataservice.bill.downloadurl.query",
)  # fmt: skip
NAMES = (
    "out_trade_no", "trade_no", "out_order_no", "out_request_no", "auth_no", "operation_id", "amount", "total_amount",
    "refund_amount", "auth_code", "agreement_params", "bill_type", "bill_date", "subject",
)  # fmt: skip
FIELDS = (
    "txnType", "orderId", "txnTime", "txnAmt", "origQryId", "qrNo", "settleDate", "fileType", "backUrl", "tokenPayData",
)  # fmt: skip
FITTING = ("01", "04", "76", "0229", "00", "order00001")
VALUES = st.one_of(
    JSON, st.sampled_from(["order001", "1.00", "trade", "2026-03-01", "agr_1", {"agreement_no": "agr_1"}])
)


class TestNonsense:
    @FEW
    @given(method=st.sampled_from(METHODS), biz=st.dictionaries(st.sampled_from(NAMES), VALUES))
    def test_is_answered_by_alipay(self, alipay: AlipayClient, method: str, biz: dict[str, Any]) -> None:
        answer = alipay.post(alipay.fields(method, biz))

        assert answer.status_code == 200
        assert answer.json()[f"{method.replace('.', '_')}_response"]["code"] in ("10000", "10003", "40002", "40004")

    @FEW
    @given(change=st.dictionaries(st.sampled_from(FIELDS), st.text(max_size=30) | st.sampled_from(FITTING)))
    @pytest.mark.parametrize("path", ["/gateway/api/backTransReq.do", "/gateway/api/queryTrans.do", "/"])
    def test_is_answered_by_unionpay(self, unionpay: UnionPayClient, path: str, change: dict[str, str]) -> None:
        fields = unionpay.fields("01", "order00001", txnAmt="5", currencyCode="156") | change
        signed = unionpay.signed({name: value for name, value in fields.items() if _encodes(value)})

        assert len(unionpay.post(path, signed)["respCode"]) == 2

    @FEW
    @given(
        body=JSON | st.dictionaries(
            st.sampled_from(["appid", "mchid", "out_trade_no", "payer", "amount", "description", "out_refund_no",
                             "transaction_id", "notify_url", "attach"]), VALUES,
        ),
        path=st.sampled_from(["/v3/pay/transactions/codepay", "/v3/refund/domestic/refunds",
                              "/v3/pay/transactions/out-trade-no/x/reverse"]),
    )  # fmt: skip
    def test_is_answered_by_wechat(self, wechat: WeChatClient, path: str, body: Any) -> None:
        status = wechat.raw("POST", path, json.dumps(body).encode()).status_code

        assert status in (200, 202, 400, 403, 404)

    @FEW
    @given(body=st.binary(max_size=80), path=st.sampled_from(["/script", "/notify", "/adjustment", "/clock"]))
    def test_is_refused_at_the_doors(self, house: House, path: str, body: bytes) -> None:
        assert house.client.post(path, content=body).status_code == 400

    @FEW
    @given(body=JSON, path=st.sampled_from(["/script", "/notify", "/adjustment", "/clock"]))
    def test_is_refused_at_the_doors_as_json_too(self, house: House, path: str, body: Any) -> None:
        assert house.client.post(path, content=json.dumps(body)).status_code == 400

    def test_is_refused_when_it_is_too_much(self, house: House) -> None:
        for path in ("/unionpay/", "/alipay/gateway.do", "/wechat/v3/refund/domestic/refunds", "/script"):
            assert house.client.post(path, content=urlencode({"a": "x" * 70_000})).status_code == 413


def _encodes(text: str) -> bool:
    return all(not 0xD800 <= ord(character) < 0xE000 for character in text)


class TestReadJson:
    @pytest.mark.parametrize("text", [b"[" * 60_000, b'{"a":"\\ud800"}', b'"\xff"', b"", b"1" * 5_000, "\ud800"])
    def test_takes_nothing_that_could_not_be_said_again(self, text: bytes | str) -> None:
        assert read_json(text) is None
