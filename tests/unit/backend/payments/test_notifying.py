"""Notifications: verified, stored once, applied like an answer; the forged and the strange change nothing."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select

from backend.payments import cases, service
from backend.payments.models import notifications
from backend.payments.order_numbers import order_no
from backend.payments.port import Notification, NotificationRefused
from backend.payments.service import Ack, State, TopUpState
from tests.fakes.provider import FakeOrder
from tests.unit.backend.payments.books import assert_settled, balance
from tests.unit.backend.payments.conftest import World

BELIEVED, REFUSED = Ack(200, "text/plain", b"ok"), Ack(400, "text/plain", b"fail")
#: Details that both databases share; what they could do differently has no such mark.
SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
BOTH = pytest.mark.parametrize("method", ["unionpay", "wechat"])


def send(world: World, method: str, message: tuple[dict[str, str], bytes], tenant_id: str = "gxu") -> Ack:
    """Let a message arrive."""
    headers, body = message
    return service.take_notification(
        world.db, world.providers, method=method, tenant_id=tenant_id, headers=headers, body=body, clock=world.clock
    )


def stored(world: World) -> list[tuple[str, str, int]]:
    """Return id, outcome and repeats of the stored notifications."""
    with world.db.read() as conn:
        query = select(notifications.c.notify_id, notifications.c.outcome, notifications.c.repeats)
        return [tuple(row) for row in conn.execute(query.order_by(notifications.c.notify_id))]


def lost(world: World, method: str) -> None:
    """Have an order whose answer was lost."""
    world.at(method).behave("lost_answer")
    world.held(method)
    assert world.auth().state is State.UNKNOWN


class TestTakeNotification:
    @BOTH
    def test_it_settles_what_was_unknown_once(self, world: World, method: str) -> None:
        lost(world, method)
        message = world.at(method).message("gxu", "auth_1")

        assert [send(world, method, message) for _ in range(3)] == [BELIEVED] * 3
        assert world.auth().state is State.HELD
        assert stored(world) == [("n1", "applied", 2)]
        world.capture(300)
        world.settle()
        assert balance(world.db, f"provider_receivable/{method}") == 300
        assert world.cases() == []
        assert_settled(world.db)

    def test_many_at_once_apply_once(self, world: World) -> None:
        lost(world, "wechat")
        message = world.wechat.message("gxu", "auth_1")

        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(lambda _: send(world, "wechat", message), range(4))) == {BELIEVED}
        assert balance(world.db, "provider_receivable/wechat") == 300
        assert stored(world) == [("n1", "applied", 3)]

    @SQLITE
    def test_header_names_come_in_any_case(self, world: World) -> None:
        lost(world, "wechat")
        headers, body = world.wechat.message("gxu", "auth_1")

        assert send(world, "wechat", ({name.upper(): value for name, value in headers.items()}, body)) == BELIEVED

    @SQLITE
    @BOTH
    @pytest.mark.parametrize("forgery", ["signature", "body", "header", "another tenant", "not json"])
    def test_a_forged_one_changes_nothing_and_is_counted(self, world: World, method: str, forgery: str) -> None:
        lost(world, method)
        headers, body = world.at(method).message("gxu", "auth_1")
        if forgery == "signature":
            headers = {"X-Signature": "0" * 64}
        elif forgery == "body":
            body = body.replace(b"300", b"301")
        elif forgery == "header":
            headers = {}
        elif forgery == "not json":
            body = b"\xff\x00"
        tenant_id = "gux" if forgery == "another tenant" else "gxu"

        assert [send(world, method, (headers, body), tenant_id) for _ in range(2)] == [REFUSED] * 2
        assert world.auth().state is State.UNKNOWN
        assert stored(world) == []
        with world.db.read() as conn:
            (case,) = cases.cases(conn, tenant_id, limit=9)
        assert (case.kind, case.subject_id, case.times_seen) == (
            "notification_forged",
            f"{method}/{world.now.date()}",
            2,
        )

    @SQLITE
    @pytest.mark.parametrize("said", [{"amount_minor": 299}, {"status": "charged"}, {"status": "waiting"}])
    def test_the_same_id_with_other_words_is_not_believed(self, world: World, said: dict[str, Any]) -> None:
        world.held("unionpay")
        send(world, "unionpay", world.provider.message("gxu", "auth_1"))

        assert send(world, "unionpay", world.provider.message("gxu", "auth_1", **said)) == BELIEVED

        assert world.cases() == [("amount_differs", f"unionpay/{order_no('auth_1')}")]
        assert stored(world) == [("n1", "applied", 1)]

    @SQLITE
    def test_the_same_id_about_another_step_is_not_believed(self, world: World) -> None:
        world.held("unionpay")
        world.capture(120)
        world.settle(seconds=60)
        for number in (1, 2):
            world.refund(10, f"rf_{number}")
        world.settle(seconds=60)
        for number in (1, 2):
            message = world.provider.message("gxu", "auth_1", operation_id=f"rf_{number}.refund")
            send(world, "unionpay", message)

        assert world.cases() == [("amount_differs", f"unionpay/{order_no('rf_2.refund')}")]

    @SQLITE
    def test_a_refusal_of_an_order_nobody_knows_is_no_case(self, world: World) -> None:
        world.provider.orders["gxu", "auth_stray"] = FakeOrder("hold", 300, "declined", "no_money")
        send(world, "unionpay", world.provider.message("gxu", "auth_stray"))

        assert stored(world) == [("n1", "unknown_order", 0)]
        assert world.cases() == []

    @SQLITE
    def test_every_reason_of_forged_ones_is_kept_with_its_count(self, world: World) -> None:
        lost(world, "wechat")
        _, body = world.wechat.message("gxu", "auth_1")
        world.wechat.orders["gux", "auth_1"] = world.wechat.orders["gxu", "auth_1"]
        forged = ({"X-Signature": "0" * 64}, body)
        for message in (forged, world.wechat.message("gux", "auth_1"), forged):
            assert send(world, "wechat", message) == REFUSED

        with world.db.read() as conn:
            (case,) = cases.cases(conn, "gxu", limit=9)
        assert case.evidence == {
            "method": "wechat",
            "first_reason": "signature",
            "reasons": {"signature": 2, "merchant": 1},
        }
        assert case.times_seen == 3

    @SQLITE
    def test_the_reasons_of_forged_ones_are_bounded(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        numbers = iter(range(100))

        def refuse(*_: object) -> Notification:
            raise NotificationRefused(f"reason {next(numbers)} " + "x" * 300)

        monkeypatch.setattr(world.wechat, "read_notification", refuse)
        for _ in range(30):
            assert send(world, "wechat", ({}, b"")) == REFUSED

        with world.db.read() as conn:
            (case,) = cases.cases(conn, "gxu", limit=9)
        assert (case.times_seen, len(case.evidence["reasons"])) == (30, 20)
        assert max(len(each) for each in case.evidence["reasons"]) == 200

    @SQLITE
    @BOTH
    def test_a_late_waiting_after_the_success_changes_nothing(self, world: World, method: str) -> None:
        world.held(method)
        message = world.at(method).message("gxu", "auth_1", status="waiting")

        assert send(world, method, message) == BELIEVED
        assert world.auth().state is State.HELD

    @SQLITE
    def test_a_waiting_one_before_leaves_it_open(self, world: World) -> None:
        world.wechat.behave("waiting")
        world.held("wechat")
        before = world.wechat.message("gxu", "auth_1", notify_id="n1")
        world.wechat.confirm()
        after = world.wechat.message("gxu", "auth_1", notify_id="n2")

        send(world, "wechat", after)
        send(world, "wechat", before)
        assert world.auth().state is State.HELD

    @SQLITE
    @BOTH
    def test_another_amount_is_not_believed_and_is_a_case(self, world: World, method: str) -> None:
        lost(world, method)
        message = world.at(method).message("gxu", "auth_1", amount_minor=30_000)

        assert send(world, method, message) == BELIEVED
        assert world.auth().state is State.UNKNOWN
        assert world.cases() == [("amount_differs", "auth_1")]

    @SQLITE
    def test_another_amount_after_the_fact_changes_nothing_and_is_a_case(self, world: World) -> None:
        world.held("wechat")
        send(world, "wechat", world.wechat.message("gxu", "auth_1", amount_minor=1))

        assert world.auth().amount_minor == 300
        assert world.cases() == [("amount_differs", "auth_1")]

    def test_another_message_under_a_known_id_is_not_believed(self, world: World) -> None:
        world.wechat.behave("waiting")
        world.held("wechat")
        send(world, "wechat", world.wechat.message("gxu", "auth_1"))
        world.wechat.confirm()

        assert send(world, "wechat", world.wechat.message("gxu", "auth_1")) == BELIEVED
        assert world.auth().state is State.UNKNOWN
        assert world.cases() == [("amount_differs", f"wechat/{order_no('auth_1')}")]

    @SQLITE
    def test_a_decline_is_taken_too(self, world: World) -> None:
        world.wechat.behave("waiting")
        world.held("wechat")
        order = world.wechat.orders["gxu", "auth_1"]
        order.status, order.reason = "declined", "payer_refused"

        send(world, "wechat", world.wechat.message("gxu", "auth_1"))
        assert (world.auth().state, world.auth().reason) == (State.DECLINED, "payer_refused")
        world.settle()
        assert_settled(world.db)

    @SQLITE
    @BOTH
    @pytest.mark.parametrize("end", ["captured", "voided", "refunded"])
    def test_for_an_order_that_is_over_it_changes_nothing(self, world: World, method: str, end: str) -> None:
        world.held(method)
        message = world.at(method).message("gxu", "auth_1")
        if end == "voided":
            world.void()
        else:
            world.capture(200)
        if end == "refunded":
            world.refund(200)
        world.settle(seconds=600)
        before = world.auth()

        assert send(world, method, message) == BELIEVED
        world.settle()
        assert world.auth() == before
        assert world.cases() == []
        assert_settled(world.db)
        assert balance(world.db, f"provider_receivable/{method}") == world.at(method).owed_minor("gxu")

    @SQLITE
    @BOTH
    def test_for_an_order_we_gave_up_it_is_undone_and_a_case(self, world: World, method: str) -> None:
        provider = world.at(method)
        provider.tombstones = False
        provider.behave("late_request")
        world.held(method)
        world.void()
        world.settle(seconds=30)
        provider.deliver_late()

        for number in range(3):
            send(world, method, provider.message("gxu", "auth_1", notify_id=f"n{number}"))
        world.settle(seconds=5)
        assert provider.orders["gxu", "auth_1"].status == "voided"
        assert world.auth().late_success
        assert world.cases() == [("late_success", "auth_1")]
        assert_settled(world.db)

    @SQLITE
    def test_a_success_after_a_decline_is_undone_and_a_case(self, world: World) -> None:
        world.wechat.behave("decline")
        world.held("wechat")
        world.wechat.orders["gxu", "auth_1"].status = "charged"

        send(world, "wechat", world.wechat.message("gxu", "auth_1"))
        world.settle(seconds=5)
        assert (world.auth().state, world.wechat.owed_minor("gxu")) == (State.DECLINED, 0)
        assert world.cases() == [("late_success", "auth_1")]

    @SQLITE
    def test_about_an_unknown_order_it_is_a_case(self, world: World) -> None:
        world.held("wechat")
        world.wechat.orders["gxu", "auth_9"] = world.wechat.orders["gxu", "auth_1"]

        assert send(world, "wechat", world.wechat.message("gxu", "auth_9")) == BELIEVED
        assert stored(world) == [("n1", "unknown_order", 0)]
        assert world.cases() == [("statement_only", f"wechat/{order_no('auth_9')}")]

    @SQLITE
    def test_an_order_of_another_method_is_unknown(self, world: World) -> None:
        lost(world, "wechat")
        world.provider.orders["gxu", "auth_1"] = world.wechat.orders["gxu", "auth_1"]

        send(world, "unionpay", world.provider.message("gxu", "auth_1"))
        assert world.auth().state is State.UNKNOWN
        assert stored(world) == [("n1", "unknown_order", 0)]

    @SQLITE
    def test_a_top_up_is_credited_once(self, world: World) -> None:
        world.provider.behave("lost_answer")
        service.top_up(world.db, world.providers, "gxu", "ch_1", "unionpay", 500, "request-0001", world.clock)
        for number in range(2):
            message = world.provider.message("gxu", "tu_request-0001", notify_id=f"n{number}")
            send(world, "unionpay", message)
        world.settle()

        with world.db.read() as conn:
            assert service.find_top_up(conn, "gxu", "tu_request-0001").state is TopUpState.SUCCEEDED
            assert service.wallet(conn, "gxu", "ch_1").posted_minor == 500

    @SQLITE
    def test_a_refund_is_settled_by_it_and_not_again_by_asking(self, world: World) -> None:
        world.held("wechat")
        world.capture(200)
        world.wechat.behave("lost_answer")
        world.resolve()
        message = world.wechat.message("gxu", "auth_1", operation_id="cap_1.rest")

        assert [send(world, "wechat", message) for _ in range(2)] == [BELIEVED] * 2
        assert balance(world.db, "refunds_payable/wechat") == 0
        world.settle()
        assert balance(world.db, "provider_receivable/wechat") == 200
        assert [verb for verb, _ in world.wechat.calls] == ["charge", "refund"]

    @SQLITE
    def test_a_refund_over_another_amount_is_a_case_and_stays_owed(self, world: World) -> None:
        world.held("wechat")
        world.capture(200)
        world.wechat.behave("lost_answer")
        world.resolve()

        send(world, "wechat", world.wechat.message("gxu", "auth_1", operation_id="cap_1.rest", amount_minor=99))
        assert balance(world.db, "refunds_payable/wechat") == 100
        assert world.cases() == [("amount_differs", "cap_1.rest")]

    def test_a_method_without_a_provider_is_not_found(self, world: World) -> None:
        with pytest.raises(service.NotifierUnknown):
            send(world, "alipay", ({}, b""))
