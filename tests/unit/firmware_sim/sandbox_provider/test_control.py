"""The doors for tests: what they take, and what they refuse."""

import json
from datetime import datetime
from typing import Any

import pytest

from tests.unit.firmware_sim.sandbox_provider.rails import House, UnionPayClient


class TestScript:
    @pytest.mark.parametrize(
        "body",
        [
            None, [], 5, "x", {}, {"match": "next"}, {"match": "", "behaviour": "decline"},
            {"match": 5, "behaviour": "decline"}, {"match": "x" * 201, "behaviour": "decline"},
            {"match": "next", "behaviour": "explode"}, {"match": "next", "behaviour": ["decline"]},
            {"match": "next", "behaviour": "decline", "verb": "print"},
            {"match": "next", "behaviour": "delay", "seconds": -1},
            {"match": "next", "behaviour": "delay", "seconds": "1"},
            {"match": "next", "behaviour": "delay", "seconds": 1e9},
            {"match": "next", "behaviour": "delay", "seconds": True},
            {"match": "next", "behaviour": "decline", "reason": 5},
            {"match": "next", "behaviour": "decline", "more": 1},
        ],
        ids=str,
    )  # fmt: skip
    def test_refuses_what_it_does_not_know(self, house: House, body: Any) -> None:
        answer = house.client.post("/script", content=json.dumps(body))

        assert (answer.status_code, list(answer.json())) == (400, ["error"])

    def test_refuses_what_is_no_json(self, house: House) -> None:
        for path in ("/script", "/notify", "/adjustment", "/clock"):
            for content in (b"", b"\xff", b"[", b"null"):
                assert house.client.post(path, content=content).status_code == 400

    def test_serves_one_request_of_its_number_and_verb(self, house: House, unionpay: UnionPayClient) -> None:
        house.script("auth_000001", "decline", verb="charge")
        house.script("auth000002", "decline", verb="refund")

        answers = [unionpay.pay(number, 5)["respCode"] for number in ("auth000002", "auth000001", "auth000003")]

        assert answers == ["00", "64", "00"]

    def test_may_name_a_step_by_its_own_number(self, house: House, unionpay: UnionPayClient) -> None:
        paid = unionpay.pay("order00001", 150)
        house.script("refund_0002", "decline")

        codes = [
            unionpay.send("04", number, 5, origQryId=paid["queryId"])["respCode"]
            for number in ("refund0001", "refund0002")
        ]

        assert codes == ["00", "64"]


class TestOrders:
    def test_tells_orders_with_their_operations(self, house: House, unionpay: UnionPayClient) -> None:
        held = unionpay.pay("hold000001", 300, "02")
        unionpay.send("03", "complete01", 120, origQryId=held["queryId"])

        told = house.client.get("/orders").json()

        assert (told["in_flight"], told["notifying"]) == (0, 0)
        order = told["orders"][0]
        assert {name: order[name] for name in ("brand", "tenant_id", "kind", "status", "times_taken")} == {
            "brand": "unionpay", "tenant_id": "gxu", "kind": "hold", "status": "captured", "times_taken": 1,
        }  # fmt: skip
        assert (order["amount_minor"], order["captured_minor"], order["refunded_minor"]) == (300, 120, 0)
        assert [(each["operation_no"], each["kind"], each["status"]) for each in order["operations"]] == [
            ("complete01", "capture", "done")
        ]

    def test_can_be_asked_for_those_since_a_time(self, house: House, unionpay: UnionPayClient) -> None:
        unionpay.pay("auth000001", 5)
        (order,) = house.client.get("/orders").json()["orders"]
        made_ms = int(datetime.fromisoformat(order["created_at"]).timestamp()) * 1_000

        found = [
            house.client.get("/orders", params={"since_ms": since_ms}).json()["orders"]
            for since_ms in (made_ms - 1_000, made_ms + 1_000)
        ]

        assert found == [[order], []]
        assert house.client.get("/orders", params={"since_ms": "noon"}).status_code == 400

    def test_can_be_asked_for_one_by_our_id(self, house: House, unionpay: UnionPayClient) -> None:
        unionpay.pay("auth000001", 5)
        unionpay.pay("auth000002", 5)

        found = house.client.get("/orders", params={"order_no": "auth_000002"}).json()["orders"]

        assert [order["order_no"] for order in found] == ["auth000002"]


class TestNotify:
    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"order_no": "nobody"}, 404), ({"order_no": ""}, 400), ({"order_no": 5}, 400), ({}, 400),
            ({"order_no": "order00001", "behaviour": "shout"}, 400), ({"order_no": "order00001"}, 409),
        ],
        ids=str,
    )  # fmt: skip
    def test_refuses_what_it_cannot_send(
        self, house: House, unionpay: UnionPayClient, body: dict[str, Any], status: int
    ) -> None:
        unionpay.pay("order00001", 5)  # without an address

        assert house.client.post("/notify", json=body).status_code == status


class TestAdjustment:
    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"order_no": "nobody", "amount_minor": 5}, 404), ({"order_no": "order00001", "amount_minor": 0}, 400),
            ({"order_no": "order00001", "amount_minor": "5"}, 400), ({"order_no": "order00001"}, 400),
            ({"amount_minor": 5}, 400), ({"order_no": "order00001", "amount_minor": -5}, 200),
        ],
        ids=str,
    )  # fmt: skip
    def test_is_about_an_order(self, house: House, unionpay: UnionPayClient, body: dict[str, Any], status: int) -> None:
        unionpay.pay("order00001", 5)

        assert house.client.post("/adjustment", json=body).status_code == status


class TestClock:
    @pytest.mark.parametrize("now", ["", "noon", 5, None, "2026-03-01T12:00:00", "2026-13-01T12:00:00+08:00"])
    def test_wants_a_time_with_its_offset(self, house: House, now: Any) -> None:
        assert house.client.post("/clock", json={"now": now}).status_code == 400

    def test_goes_on_from_there(self, house: House) -> None:
        answer = house.client.post("/clock", json={"now": "2026-03-01T12:00:00+08:00"})

        assert answer.json()["now"].startswith("2026-03-01T12:00:0")
