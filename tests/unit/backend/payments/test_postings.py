"""How payments look in the ledger."""

from dataclasses import replace

from backend.ledger import service as ledger
from backend.ledger.rules import TransferKind, TransferRequest
from backend.payments import postings, service
from tests.unit.backend.payments.books import assert_settled, balance
from tests.unit.backend.payments.conftest import World


class TestCapture:
    def test_both_legs_stand_or_neither(self, world: World) -> None:
        world.credit(1_000)
        auth = world.open("wallet")

        with world.db.write() as conn:
            held = service.parts(conn, "gxu", "auth_1")
            postings.release(conn, auth, held, TransferKind.VOID, world.now)
            assert not postings.capture(conn, auth, held, "cap_1", 100, world.now)
        assert balance(world.db, "water_revenue") == 0
        assert_settled(world.db)

    def test_a_purse_whose_hold_lapsed_keeps_the_others_from_paying(self, world: World) -> None:
        world.credit(100, "subsidy")
        world.credit(1_000)
        auth = world.open("wallet")

        with world.db.write() as conn:
            held = service.parts(conn, "gxu", "auth_1")
            postings.release(conn, auth, held[1:], TransferKind.VOID, world.now)
            assert not postings.capture(conn, auth, held, "cap_1", 300, world.now)
            postings.release(conn, auth, held, TransferKind.EXPIRE, auth.expires_at)
        assert balance(world.db, "subsidy_fund/ch_1") == 100
        assert_settled(world.db)


class TestGivenBack:
    def test_it_is_booked_once_per_operation(self, world: World) -> None:
        auth = replace(world.held("wechat"), captured_minor=0)
        world.void()

        for _ in range(2):
            with world.db.write() as conn:
                postings.given_back(conn, auth, "auth_1.void", 300, world.now)
        assert balance(world.db, "refunds_payable/wechat") == 0
        assert balance(world.db, "provider_receivable/wechat") == 0

    def test_what_was_paid_another_way_meanwhile_goes_to_suspense_once(self, world: World) -> None:
        auth = replace(world.held("wechat"), captured_minor=0)
        world.void()
        with world.db.write() as conn:
            paid = TransferRequest(
                transfer_id="paid",
                kind=TransferKind.SINGLE,
                debit_account_id="refunds_payable/wechat",
                credit_account_id="cash",
                amount_minor=1,
                event_at=world.now,
            )
            assert ledger.execute(conn, "gxu", [paid], now=world.now)[0].stands

        for _ in range(2):
            with world.db.write() as conn:
                assert not postings.given_back(conn, auth, "auth_1.void", 300, world.now)
        assert balance(world.db, "refunds_payable/wechat") == 299
        assert balance(world.db, "suspense") == -300
        assert balance(world.db, "provider_receivable/wechat") == 0
