"""Campus purses: spent in order, held and captured together, given back to the person's own money first."""

from datetime import timedelta

import pytest

from backend.ledger import service as ledger
from backend.ledger.service import StatementLine
from backend.payments import service
from backend.payments.service import Part, Purse, State, Wallet
from tests.unit.backend.payments.books import assert_settled, balance
from tests.unit.backend.payments.conftest import World


def fill(world: World, subsidy: int = 100, voucher: int = 50, wallet: int = 1_000) -> None:
    """Put money into all purses."""
    for purse, amount_minor in (("subsidy", subsidy), ("voucher", voucher), ("wallet", wallet)):
        if amount_minor:
            world.credit(amount_minor, purse)


def purses(world: World) -> dict[str, int]:
    """Return what each purse has."""
    with world.db.read() as conn:
        return {each.purse: each.posted_minor for each in service.purses(conn, "gxu", "ch_1")}


def parts(world: World) -> list[Part]:
    """Return the parts of the authorization."""
    with world.db.read() as conn:
        return service.parts(conn, "gxu", "auth_1")


class TestOpenAuthorization:
    def test_it_holds_from_the_purses_in_the_order_they_are_spent(self, world: World) -> None:
        fill(world)

        assert world.open("wallet", 300).state is State.HELD
        assert parts(world) == [Part("subsidy", 100, 0), Part("voucher", 50, 0), Part("wallet", 150, 0)]
        with world.db.read() as conn:
            assert service.wallet(conn, "gxu", "ch_1") == Wallet(1_150, 300, 850)
            assert service.purses(conn, "gxu", "ch_1")[0] == Purse("subsidy", 100, 100, 0)

    def test_a_purse_that_has_enough_is_not_joined_by_others(self, world: World) -> None:
        fill(world, subsidy=300)
        world.open("wallet", 300)

        assert parts(world) == [Part("subsidy", 300, 0)]

    def test_what_all_have_together_is_enough(self, world: World) -> None:
        fill(world, 100, 100, 100)

        assert world.open("wallet", 300).state is State.HELD
        assert world.open("wallet", 1, "auth_2").reason == "insufficient"

    def test_less_than_that_holds_nothing_anywhere(self, world: World) -> None:
        fill(world, 100, 100, 99)

        assert world.open("wallet", 300).state is State.DECLINED
        assert parts(world) == []
        with world.db.read() as conn:
            assert service.wallet(conn, "gxu", "ch_1") == Wallet(299, 0, 299)


class TestCapture:
    @pytest.mark.parametrize(
        ("amount_minor", "captured", "left"),
        [
            (60, [60, 0, 0], {"subsidy": 40, "voucher": 50, "wallet": 1_000}),
            (120, [100, 20, 0], {"subsidy": 0, "voucher": 30, "wallet": 1_000}),
            (300, [100, 50, 150], {"subsidy": 0, "voucher": 0, "wallet": 850}),
        ],
    )
    def test_the_first_purses_pay_first_and_the_rest_is_released(
        self, world: World, amount_minor: int, captured: list[int], left: dict[str, int]
    ) -> None:
        fill(world)
        world.open("wallet", 300)
        world.capture(amount_minor)

        assert [part.captured_minor for part in parts(world)] == captured
        assert purses(world) == left
        assert balance(world.db, "water_revenue") == amount_minor
        assert_settled(world.db)

    def test_the_same_again_takes_once(self, world: World) -> None:
        fill(world)
        world.open("wallet", 300)

        assert world.capture(120) == world.capture(120)
        assert sum(purses(world).values()) == 1_030

    def test_nothing_used_gives_every_purse_its_part_back(self, world: World) -> None:
        fill(world)
        world.open("wallet", 300)
        world.capture(0)

        assert purses(world) == {"subsidy": 100, "voucher": 50, "wallet": 1_000}
        assert_settled(world.db)


class TestVoid:
    def test_every_purse_gets_its_part_back(self, world: World) -> None:
        fill(world)
        world.open("wallet", 300)
        world.void()

        with world.db.read() as conn:
            assert service.wallet(conn, "gxu", "ch_1") == Wallet(1_150, 0, 1_150)
        assert_settled(world.db)


class TestRequestRefund:
    @pytest.mark.parametrize(
        ("amount_minor", "left"),
        [
            (100, {"subsidy": 0, "voucher": 0, "wallet": 950}),
            (180, {"subsidy": 0, "voucher": 30, "wallet": 1_000}),
            (300, {"subsidy": 100, "voucher": 50, "wallet": 1_000}),
        ],
    )
    def test_the_persons_own_money_comes_back_first(
        self, world: World, amount_minor: int, left: dict[str, int]
    ) -> None:
        fill(world)
        world.open("wallet", 300)
        world.capture(300)
        sixth = amount_minor // 6
        for number, share in enumerate((*[sixth] * 5, amount_minor - 5 * sixth)):
            assert world.refund(share, f"rf_{number}").state == "done"

        assert purses(world) == left
        assert balance(world.db, "water_revenue") == 300 - amount_minor
        assert_settled(world.db)


class TestParts:
    def test_with_a_provider_there_is_one(self, world: World) -> None:
        world.held("unionpay")
        assert parts(world) == [Part("unionpay", 300, 0)]

        world.capture(120)
        assert parts(world) == [Part("unionpay", 300, 120)]

    def test_what_holds_nothing_has_none(self, world: World) -> None:
        world.open("unionpay")

        assert parts(world) == []


class TestWalletEntries:
    def test_they_stand_by_when_they_happened_and_their_balances_add_up(self, world: World) -> None:
        fill(world, 0, 0, 1_000)
        world.open("wallet", 300)
        closed_at = world.now + timedelta(minutes=4)
        world.now += timedelta(hours=1)
        world.credit(50)
        world.now += timedelta(hours=1)

        with world.db.write() as conn:  # the gateway was away: the shower is told of after the gift
            service.capture(
                conn,
                tenant_id="gxu",
                auth_id="auth_1",
                capture_id="cap_1",
                amount_minor=300,
                now=world.now,
                at=closed_at,
            )

        with world.db.read() as conn:
            entries = service.wallet_entries(conn, "gxu", "ch_1", 9)
            pages: list[StatementLine] = []
            for _ in range(len(entries) + 2):  # pages that never end fail instead of hanging
                page = service.purse_entries(
                    conn, "gxu", "ch_1", "wallet", 1, before=pages[-1].place if pages else None
                )
                pages += page
            noon = ledger.period(
                conn,
                "gxu",
                "cardholder_wallet/ch_1",
                closed_at - timedelta(seconds=1),
                closed_at + timedelta(seconds=1),
            )
        assert pages == entries
        assert [(each.change_minor, each.balance_minor) for each in entries if each.change_minor] == [
            (50, 750),
            (-300, 700),
            (1_000, 1_000),
        ]
        assert [(each.event_at, each.recorded_at) for each in entries if each.change_minor == -300] == [
            (closed_at, world.now)
        ]
        assert (noon.opening_minor, noon.out_minor, noon.closing_minor) == (1_000, 300, 700)

    def test_two_purses_are_merged_by_when_things_happened(self, world: World) -> None:
        fill(world, 100, 0, 1_000)
        world.open("wallet", 300)
        closed_at = world.now + timedelta(minutes=4)
        world.now += timedelta(hours=1)
        world.credit(50)
        world.now += timedelta(hours=1)
        with world.db.write() as conn:
            service.capture(
                conn,
                tenant_id="gxu",
                auth_id="auth_1",
                capture_id="cap_1",
                amount_minor=300,
                now=world.now,
                at=closed_at,
            )

        with world.db.read() as conn:
            newest = service.wallet_entries(conn, "gxu", "ch_1", 3)

        assert [each.change_minor for each in newest] == [50, -200, -100]

    def test_all_purses_are_told_of_newest_first(self, world: World) -> None:
        fill(world, 100, 0, 1_000)
        world.open("wallet", 300)
        world.now = world.auth().expires_at
        world.capture(300)

        with world.db.read() as conn:
            entries = service.wallet_entries(conn, "gxu", "ch_1", 2)
            assert sorted(entry.change_minor for entry in entries) == [-200, -100]
            assert len(service.wallet_entries(conn, "gxu", "ch_1", 50)) == 6
            assert [entry.change_minor for entry in service.purse_entries(conn, "gxu", "ch_1", "subsidy", 1)] == [-100]
