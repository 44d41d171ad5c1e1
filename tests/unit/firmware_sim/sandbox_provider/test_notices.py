"""Notifications as they reach a merchant: when, how often, and spoilt in every way."""

import json
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature

from firmware_sim.payment_codes import payment_code
from firmware_sim.sandbox_provider.alipay import Alipay
from firmware_sim.sandbox_provider.wechat import WeChat
from tests.unit.firmware_sim.sandbox_provider.rails import (
    AlipayClient,
    House,
    Inbox,
    UnionPayClient,
    WeChatClient,
    inbox,
)

OK = {"unionpay": b"ok", "alipay": b"success", "wechat": b'{"code":"SUCCESS"}'}


class Rails:
    """All three brands behind the same two calls, for what they do alike."""

    def __init__(self, house: House, brand: str) -> None:
        self.house = house
        self.brand = brand
        self.unionpay, self.alipay, self.wechat = UnionPayClient(house), AlipayClient(house), WeChatClient(house)

    def pay(self, number: str, url: str) -> None:
        """Take 1.50 yuan for an order."""
        if self.brand == "unionpay":
            self.unionpay.pay(number, 150, backUrl=url)
        elif self.brand == "alipay":
            self.alipay.call(
                "alipay.trade.pay", out_trade_no=number, total_amount="1.50", subject="热水",
                auth_code=payment_code("alipay"), scene="bar_code", notify_url=url,
            )  # fmt: skip
        else:
            self.wechat.pay(number, 150, payment_code("wechat"), notify_url=url)

    def refund(self, number: str, refund_no: str, url: str) -> None:
        """Give 0.50 yuan of an order back."""
        if self.brand == "unionpay":
            reference = self.house.order(number)["reference"]
            self.unionpay.send("04", refund_no, 50, origQryId=reference, backUrl=url)
        elif self.brand == "alipay":
            self.alipay.call(
                "alipay.trade.refund", out_trade_no=number, refund_amount="0.50", out_request_no=refund_no,
                notify_url=url,
            )  # fmt: skip
        else:
            self.wechat.refund(number, refund_no, 50, 150, notify_url=url)

    def read(self, box: Inbox, place: int = 0) -> tuple[str, str, int]:
        """Return the merchant, the number and the amount that a verified notification tells."""
        headers, body = box.received[place]
        if self.brand == "unionpay":
            told = self.unionpay.verified(body)
            return told["merId"], told["orderId"], int(told["txnAmt"])
        if self.brand == "alipay":
            told = self.alipay.verified(body)
            number = told.get("out_biz_no") or told["out_trade_no"]
            return told["app_id"], number, int(told.get("refund_fee", told["total_amount"]).replace(".", ""))
        self.wechat.verify(headers, body)
        opened = self.wechat.opened(body)
        number = opened.get("out_refund_no") or opened["out_trade_no"]
        return opened["mchid"], number, opened["amount"].get("refund", opened["amount"]["total"])

    @property
    def merchant_id(self) -> str:
        """Return who we are at the brand."""
        values: dict[str, dict[str, Any]] = {
            "unionpay": self.unionpay.values, "alipay": self.alipay.values, "wechat": self.wechat.values,
        }  # fmt: skip
        return str(values[self.brand][{"unionpay": "mer_id", "alipay": "app_id", "wechat": "mch_id"}[self.brand]])


@pytest.fixture(params=["unionpay", "alipay", "wechat"])
def rails(request: pytest.FixtureRequest, house: House) -> Rails:
    """Return each brand in turn."""
    return Rails(house, request.param)


class TestRun:
    def test_tells_payment_and_refund_once_each(self, rails: Rails) -> None:
        with inbox((200, OK[rails.brand])) as box:
            rails.pay("order00001", box.url)
            box.wait_for(1)
            rails.refund("order00001", "refund0001", box.url)
            box.wait_for(2)

        assert rails.read(box, 0) == (rails.merchant_id, "order00001", 150)
        assert rails.read(box, 1) == (rails.merchant_id, "refund0001", 50)

    def test_repeats_the_same_until_it_is_acknowledged(self, rails: Rails) -> None:
        with inbox(
            (500, b""), (200, b"what?") if rails.brand != "unionpay" else (503, b""), (200, OK[rails.brand])
        ) as box:
            rails.pay("order00001", box.url)
            bodies = box.wait_for(3)
            rails.pay("order00002", box.url)
            box.wait_for(4)

        assert len(set(bodies)) == 1
        assert [rails.read(box, place)[1] for place in range(4)] == ["order00001"] * 3 + ["order00002"]

    def test_tells_nothing_of_a_decline(self, rails: Rails) -> None:
        rails.house.script("order00001", "decline")
        with inbox((200, OK[rails.brand])) as box:
            rails.pay("order00001", box.url)
            rails.pay("order00002", box.url)
            box.wait_for(1)

        assert rails.read(box)[1] == "order00002"

    def test_tells_when_a_waiting_payment_is_paid(self, rails: Rails) -> None:
        rails.house.script("order00001", "waiting", seconds=0.1)
        with inbox((200, OK[rails.brand])) as box:
            rails.pay("order00001", box.url)
            box.wait_for(1)

        assert rails.read(box) == (rails.merchant_id, "order00001", 150)

    def test_gives_up_when_nobody_is_there(self, house: House) -> None:
        rails = Rails(house, "unionpay")
        rails.pay("order00001", "http://127.0.0.1:1/notify")

        assert house.order("order00001")["status"] == "charged"


class TestManner:
    @pytest.mark.parametrize(
        ("behaviour", "amount", "is_ours"),
        [("notify_changed_amount", 151, True), ("notify_other_merchant", 150, False)],
    )
    def test_spoilt_news_is_signed_all_the_same(self, rails: Rails, behaviour: str, amount: int, is_ours: bool) -> None:
        rails.house.script("order00001", behaviour)
        with inbox((200, OK[rails.brand])) as box:
            rails.pay("order00001", box.url)
            box.wait_for(1)

        merchant_id, number, told = rails.read(box)
        assert (number, told, merchant_id == rails.merchant_id) == ("order00001", amount, is_ours)

    def test_forged_news_does_not_verify(self, rails: Rails) -> None:
        rails.house.script("order00001", "notify_forged")
        with inbox((200, OK[rails.brand])) as box:
            rails.pay("order00001", box.url)
            box.wait_for(1)

        with pytest.raises(InvalidSignature):
            rails.read(box)

    def test_duplicates_share_their_id(self, rails: Rails) -> None:
        rails.house.script("order00001", "notify_duplicate")
        with inbox((200, OK[rails.brand])) as box:
            rails.pay("order00001", box.url)
            bodies = box.wait_for(2)

        assert bodies[0] == bodies[1]

    def test_reordered_news_follows_the_next(self, rails: Rails) -> None:
        rails.house.script("order00001", "notify_reordered")
        with inbox((200, OK[rails.brand])) as box:
            rails.pay("order00001", box.url)
            rails.refund("order00001", "refund0001", box.url)
            box.wait_for(2)

        assert [rails.read(box, place)[1] for place in range(2)] == ["refund0001", "order00001"]

    def test_late_news_comes_late(self, rails: Rails) -> None:
        rails.house.script("order00001", "notify_late", seconds=30)
        with inbox((200, OK[rails.brand])) as box:
            rails.pay("order00001", box.url)
            rails.pay("order00002", box.url)
            box.wait_for(1)
            rails.house.pass_time(31)
            box.wait_for(2)

        assert [rails.read(box, place)[1] for place in range(2)] == ["order00002", "order00001"]

    def test_news_withheld_can_be_sent_by_hand(self, rails: Rails) -> None:
        rails.house.script("order00001", "notify_none")
        with inbox((200, OK[rails.brand])) as box:
            rails.pay("order00001", box.url)
            assert box.received == []
            sent = rails.house.client.post("/notify", json={"order_no": "order00001"}).json()["sent"]

        assert [(each["status"], each["acknowledged"]) for each in sent] == [(200, True)]
        assert rails.read(box) == (rails.merchant_id, "order00001", 150)

    @pytest.mark.parametrize("behaviour", ["forged", "notify_changed_amount", "other_merchant", "reordered", "again"])
    def test_any_news_can_be_sent_by_hand(self, rails: Rails, behaviour: str) -> None:
        with inbox((200, OK[rails.brand])) as box:
            rails.pay("order00001", box.url)
            box.wait_for(1)
            asked = {"order_no": "order_00001", "behaviour": behaviour}
            sent = rails.house.client.post("/notify", json=asked).json()["sent"]

        assert len(sent) == 1
        assert len(box.received) == 2


class TestSchedule:
    def test_is_each_provider_s(self) -> None:
        assert sum(Alipay.schedule_s) + 0 == 240 + 600 + 600 + 3_600 + 7_200 + 21_600 + 54_000
        assert sum(WeChat.schedule_s) == 24 * 3_600 + 4 * 60
        assert WeChat.schedule_s[:6] == (15, 15, 30, 180, 600, 1_200)


class TestWeChatAcknowledgement:
    @pytest.mark.parametrize(
        ("status", "body", "ends"),
        [
            (200, b'{"code":"SUCCESS"}', True), (200, b"", True), (204, b"", True), (200, b'{"code":"FAIL"}', False),
            (200, b"success", False), (500, b'{"code":"SUCCESS"}', False), (200, b"[]", True),
        ],
    )  # fmt: skip
    def test_is_a_code(self, status: int, body: bytes, ends: bool) -> None:
        assert WeChat.acknowledged(None, status, body) is ends  # type: ignore[arg-type]


class TestEnvelope:
    def test_of_a_sealed_notification_names_event_and_key(self, house: House) -> None:
        rails = Rails(house, "wechat")
        with inbox((200, OK["wechat"])) as box:
            rails.pay("order00001", box.url)
            notice = json.loads(box.wait_for(1)[0])

        assert (notice["event_type"], notice["resource_type"]) == ("TRANSACTION.SUCCESS", "encrypt-resource")
        assert notice["resource"]["algorithm"] == "AEAD_AES_256_GCM"
        assert len(notice["resource"]["nonce"]) == 12
