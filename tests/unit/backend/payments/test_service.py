"""Authorizing, capturing and releasing, from the wallet and from a provider."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from backend.ledger import service as ledger
from backend.payments import service
from backend.payments.service import State, Wallet
from tests.factories import NOW
from tests.unit.backend.payments.books import assert_settled, balance
from tests.unit.backend.payments.conftest import World


def wallet_of(world: World) -> Wallet:
    """Return the payer's wallet."""
    with world.db.read() as conn:
        return service.wallet(conn, "gxu", "ch_1")


class TestOpenAuthorization:
    def test_the_wallet_holds_at_once(self, world: World) -> None:
        world.credit(1_000)

        assert world.open("wallet", 300).state is State.HELD
        assert wallet_of(world) == Wallet(1_000, 300, 700)

    def test_too_little_in_the_wallet_is_declined_and_stays_so(self, world: World) -> None:
        world.credit(200)
        first = world.open("wallet", 300)
        world.credit(5_000)

        assert (first.state, first.reason) == (State.DECLINED, "insufficient")
        assert world.open("wallet", 300) == first
        assert wallet_of(world).held_minor == 0

    def test_the_same_again_holds_once(self, world: World) -> None:
        world.credit(1_000)
        first = world.open("wallet", 300)
        world.now += timedelta(minutes=1)

        assert world.open("wallet", 300) == first
        assert wallet_of(world).held_minor == 300

    def test_another_body_is_refused(self, world: World) -> None:
        world.credit(1_000)
        world.open("wallet", 300)

        with pytest.raises(service.AuthorizationDiffers):
            world.open("wallet", 301)

    def test_many_at_once_hold_once(self, world: World) -> None:
        world.credit(1_000)

        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: world.open("wallet", 300), range(4)))
        assert {auth.state for auth in found} == {State.HELD}
        assert wallet_of(world).held_minor == 300

    def test_with_a_provider_only_the_intent_is_stored(self, world: World) -> None:
        assert world.open().state is State.REQUESTED
        assert world.provider.calls == []

    def test_an_unknown_method_is_refused(self, world: World) -> None:
        with pytest.raises(service.MethodUnknown):
            world.open("seashells")

    def test_free_water_needs_no_ledger_row(self, world: World) -> None:
        assert world.open("wallet", 0).state is State.HELD
        assert world.capture(0).state is State.CAPTURED
        assert_settled(world.db)


class TestPerform:
    @pytest.mark.parametrize(
        ("behaviour", "state"),
        [
            ("ok", State.HELD),
            ("decline", State.DECLINED),
            ("lost_answer", State.UNKNOWN),
            ("lost_request", State.UNKNOWN),
        ],
    )
    def test_the_answer_decides(self, world: World, behaviour: str, state: State) -> None:
        world.provider.behave(behaviour)
        world.open()

        assert world.perform().state is state

    def test_it_sends_once_whoever_calls_it(self, world: World) -> None:
        world.provider.behave("lost_request")
        world.open()

        with ThreadPoolExecutor(4) as pool:
            states = {auth.state for auth in pool.map(lambda _: world.perform(), range(4))}
        assert states == {State.UNKNOWN}
        assert [verb for verb, _ in world.provider.calls] == ["authorize"]

    def test_the_wallet_has_nothing_to_ask(self, world: World) -> None:
        world.credit()
        world.open("wallet")

        assert world.perform().state is State.HELD
        assert world.provider.calls == []

    def test_an_unknown_authorization_is_told(self, world: World) -> None:
        with pytest.raises(service.AuthorizationUnknown):
            world.perform("auth_nothing")


class TestCapture:
    @pytest.mark.parametrize("method", ["wallet", "unionpay"])
    @pytest.mark.parametrize("amount_minor", [1, 120, 300])
    def test_part_or_all_is_taken_and_the_rest_released(self, world: World, method: str, amount_minor: int) -> None:
        world.credit(1_000)
        world.open(method, 300)
        if method == "unionpay":
            world.perform()
        captured = world.capture(amount_minor)
        world.settle()

        assert (captured.state, captured.captured_minor) == (State.CAPTURED, amount_minor)
        assert balance(world.db, "water_revenue") == amount_minor
        assert wallet_of(world).posted_minor == (1_000 - amount_minor if method == "wallet" else 1_000)
        assert balance(world.db, "provider_receivable/unionpay") == (0 if method == "wallet" else amount_minor)
        assert_settled(world.db)
        if method == "unionpay":
            assert world.provider.orders["gxu", "auth_1"].captured_minor == amount_minor

    def test_the_same_again_takes_once(self, world: World) -> None:
        world.credit(1_000)
        world.open("wallet", 300)

        assert world.capture(120) == world.capture(120)
        assert balance(world.db, "water_revenue") == 120

    @pytest.mark.parametrize(("amount_minor", "capture_id"), [(121, "cap_1"), (120, "cap_2")])
    def test_another_capture_is_refused(self, world: World, amount_minor: int, capture_id: str) -> None:
        world.credit(1_000)
        world.open("wallet", 300)
        world.capture(120)

        with pytest.raises(service.CaptureDiffers):
            world.capture(amount_minor, capture_id)

    def test_more_than_the_hold_is_refused(self, world: World) -> None:
        world.credit(1_000)
        world.open("wallet", 300)

        with pytest.raises(service.CaptureExceedsHold):
            world.capture(301)
        assert wallet_of(world) == Wallet(1_000, 300, 700)

    def test_zero_releases_the_hold(self, world: World) -> None:
        world.open()
        world.perform()

        assert world.capture(0).captured_minor == 0
        world.settle()
        assert world.provider.orders["gxu", "auth_1"].status == "voided"
        assert_settled(world.db)

    def test_what_is_not_held_is_refused(self, world: World) -> None:
        world.open()
        with pytest.raises(service.AuthorizationNotHeld):
            world.capture(1)
        world.void()
        with pytest.raises(service.AuthorizationNotHeld):
            world.capture(1)

    def test_of_capture_and_void_at_once_one_wins(self, world: World) -> None:
        world.credit(1_000)
        world.open("wallet", 300)

        def act(name: str) -> str:
            try:
                return (world.capture(100) if name == "capture" else world.void()).state.value
            except (service.AuthorizationNotHeld, service.AuthorizationCaptured):
                return "refused"

        with ThreadPoolExecutor(2) as pool:
            outcomes = set(pool.map(act, ["capture", "void"]))
        assert outcomes in ({"captured", "refused"}, {"voided", "refused"})
        assert_settled(world.db)

    @pytest.mark.parametrize("behaviours", [["lost_request"], ["lost_answer"], ["lost_request", "lost_answer"]])
    def test_a_lost_capture_is_repeated_until_answered(self, world: World, behaviours: list[str]) -> None:
        world.open()
        world.perform()
        world.capture(120)
        world.provider.behave(*behaviours)
        world.settle()

        assert world.provider.orders["gxu", "auth_1"].captured_minor == 120
        assert_settled(world.db)
        with world.db.read() as conn:
            assert service.unknowns(conn, "gxu") == []

    def test_a_capture_the_provider_refuses_is_our_loss(self, world: World) -> None:
        world.open()
        world.perform()
        world.capture(120)
        world.provider.behave("decline")
        world.settle()

        assert balance(world.db, "operator_loss") == 120
        assert balance(world.db, "provider_receivable/unionpay") == 0
        assert_settled(world.db)
        with world.db.read() as conn:
            assert [(row.status, row.answer) for row in service.unknowns(conn, "gxu")] == [("refused", "do_not_honor")]


class TestVoid:
    @pytest.mark.parametrize("method", ["wallet", "unionpay"])
    def test_the_whole_hold_is_released_once(self, world: World, method: str) -> None:
        world.credit(1_000)
        world.open(method)
        if method == "unionpay":
            world.perform()

        assert world.void() == world.void()
        world.settle()
        assert wallet_of(world) == Wallet(1_000, 0, 1_000)
        assert_settled(world.db)
        with world.db.read() as conn:
            assert service.late_successes(conn, "gxu") == 0
        if method == "unionpay":
            assert world.provider.orders["gxu", "auth_1"].status == "voided"

    def test_what_was_taken_is_not_released(self, world: World) -> None:
        world.credit()
        world.open("wallet")
        world.capture(1)

        with pytest.raises(service.AuthorizationCaptured):
            world.void()

    def test_what_was_declined_stays_so(self, world: World) -> None:
        world.open("wallet")

        assert world.void().state is State.DECLINED

    def test_what_was_not_sent_is_never_sent(self, world: World) -> None:
        world.open()
        world.void()

        assert world.perform().state is State.VOIDED
        world.settle()
        assert world.provider.calls == []

    @pytest.mark.parametrize("behaviour", ["lost_answer", "lost_request"])
    def test_what_is_unknown_is_undone_at_the_provider(self, world: World, behaviour: str) -> None:
        world.provider.behave(behaviour)
        world.open()
        world.perform()
        world.void()
        world.settle()

        taken = behaviour == "lost_answer"
        assert world.provider.orders["gxu", "auth_1"].status == ("voided" if taken else "declined")
        assert (world.auth().state, world.auth().late_success) == (State.VOIDED, taken)
        assert_settled(world.db)


class TestExpireDue:
    @pytest.mark.parametrize("method", ["wallet", "unionpay"])
    def test_a_hold_past_its_time_is_released(self, world: World, method: str) -> None:
        world.credit(1_000)
        world.open(method)
        if method == "unionpay":
            world.perform()
        with world.db.write() as conn:
            assert service.expire_due(conn, "gxu", NOW + timedelta(hours=5), 10) == []
            expired = service.expire_due(conn, "gxu", NOW + timedelta(hours=6), 10)
            assert service.expire_due(conn, "gxu", NOW + timedelta(hours=6), 10) == []

        assert [(auth.auth_id, auth.state, auth.reason) for auth in expired] == [("auth_1", State.VOIDED, "expired")]
        with pytest.raises(service.AuthorizationNotHeld):
            world.capture(1)
        world.settle()
        assert_settled(world.db)

    def test_a_hold_the_ledger_expired_itself_is_not_captured(self, world: World) -> None:
        world.credit(1_000)
        world.open("wallet")
        with world.db.write() as conn:
            ledger.expire_due(conn, "gxu", NOW + timedelta(hours=6), 10)

        with pytest.raises(service.AuthorizationNotHeld):
            world.capture(1)
        assert world.void().state is State.VOIDED
        assert_settled(world.db)


class TestRecordOverrun:
    def test_it_is_the_operators_loss_once(self, world: World) -> None:
        for _ in range(2):
            with world.db.write() as conn:
                service.record_overrun(conn, "gxu", "ws_1", 45, "tr_overrun", NOW)

        assert (balance(world.db, "operator_loss"), balance(world.db, "water_revenue")) == (45, 45)
        assert_settled(world.db)


class TestCreditWallet:
    def test_the_same_transfer_credits_once(self, world: World) -> None:
        world.credit(1_000)
        world.credit(1_000)

        assert wallet_of(world) == Wallet(1_000, 0, 1_000)
        with world.db.read() as conn:
            entries = service.wallet_entries(conn, "gxu", "ch_1", 10)
        assert [(entry.change_minor, entry.memo) for entry in entries] == [(1_000, "opening balance")]

    def test_another_amount_under_its_id_is_refused(self, world: World) -> None:
        world.credit(1_000)

        with pytest.raises(service.TransferDiffers), world.db.write() as conn:
            service.credit_wallet(
                conn,
                tenant_id="gxu",
                cardholder_id="ch_1",
                amount_minor=1,
                transfer_id="opening-1000",
                now=NOW,
                memo="",
            )


class TestWallet:
    def test_one_never_used_is_empty(self, world: World) -> None:
        assert wallet_of(world) == Wallet(0, 0, 0)
